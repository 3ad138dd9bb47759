"""The plan: every decision about one host, as a value. Applying it makes no choice."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

from hermeion.records import Record


class MemoryBudget(Record):
    """Bytes on the fullest GPU of a service, term by term.

    Attributes:
        total: Memory the engine may take: its share of what CUDA sees, less the margin.
        weights: Weights and rotary-embedding cache.
        activations: Peak of the activations.
        communication: CUDA context beyond the weights, and NCCL with several GPUs.
        graphs: CUDA graphs.
        margin: Left free on purpose.
        kv_per_token: KV cache of one token.
    """

    total: int
    weights: int
    activations: int
    communication: int
    graphs: int
    margin: int
    kv_per_token: int

    @property
    def kv_cache(self) -> int:
        """Bytes left for the KV cache; negative when the weights do not even fit."""
        return self.total - self.weights - self.activations - self.communication - self.graphs - self.margin

    @property
    def kv_tokens(self) -> int:
        """Tokens the KV cache holds. vLLM allots blocks of 16 and keeps one for itself."""
        return max(0, self.kv_cache // (16 * self.kv_per_token) * 16 - 16)


class PlannedGpu(Record):
    """A GPU of a service. ``uuid`` is ``None`` only before the driver has answered for the first time."""

    pci_address: str
    uuid: str | None
    model: str
    memory: int


class Image(Record):
    """A container image.

    Attributes:
        registry: Host and port of the registry, or ``docker.io``.
        repository: ``vllm/vllm-openai``.
        tag: For people.
        digest: ``sha256:…``, or ``None`` until it was resolved.
    """

    registry: str
    repository: str
    tag: str
    digest: str | None

    @property
    def name(self) -> str:
        """Registry and repository as Docker names them."""
        return self.repository if self.registry == "docker.io" else f"{self.registry}/{self.repository}"

    @property
    def reference(self) -> str:
        """What Docker pulls and runs."""
        return f"{self.name}@{self.digest}"


class Service(Record):
    """Every decision about one service: what a release is made from.

    Attributes:
        wanted: Hash of what the inventory asked for; as long as it is the same, the plan stays.
        revision: Commit of the weights, or ``None`` until it was resolved.
        weights_bytes: Size of the weights in bytes.
        context: Tokens of context served.
        sequences: Requests served at the same time.
        kv_tokens: KV cache the plan promises, in tokens: ``context × sequences`` where that fits, else what fits.
        config: The engine's configuration file, without secrets.
        cache: Folder of the weights on the host.
    """

    name: str
    host: str
    wanted: str
    model: str
    variant: str
    repo: str
    revision: str | None
    precision: str
    weights_bytes: int
    engine: str
    engine_version: str
    image: Image
    gpus: tuple[PlannedGpu, ...]
    context: int
    sequences: int
    kv_tokens: int
    memory: MemoryBudget
    port: int
    served_names: tuple[str, ...]
    thinking: bool
    cache: str
    config: dict[str, Any]
    environment: dict[str, str]
    start_seconds: int

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to be resolved."""
        return bool(self.revision and self.image.digest and all(gpu.uuid for gpu in self.gpus))

    @property
    def snapshot(self) -> str:
        """Name of the weights in the cache: ``models--org--name@revision``."""
        return f"models--{self.repo.replace('/', '--')}@{self.revision}"

    @property
    def folder(self) -> PurePosixPath:
        """Folder of the service's releases on the host."""
        return PurePosixPath("/opt/hermeion") / self.name

    @property
    def unit(self) -> str:
        """Name of the systemd unit."""
        return f"hermeion-{self.name}.service"

    @property
    def decisions(self) -> dict[str, object]:
        """The plan without what only a driver can tell: equal before and after the driver's installation."""
        data = self.to_json()
        data["gpus"] = [{**gpu.to_json(), "uuid": None} for gpu in self.gpus]
        return data

    @property
    def release_id(self) -> str:
        """Hash of the plan, 12 hexadecimal digits: same plan, same id."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class DriverPlan(Record):
    """What happens to the driver, and why."""

    action: str  # "leave alone" | "install" | "reboot"
    reason: str
    packages: tuple[str, ...] = ()


class Rejection(Record):
    """An option that was tried, and why it was not taken."""

    service: str
    option: str
    reason: str


class Plan(Record):
    """Everything about one host."""

    host: str
    driver: DriverPlan
    services: tuple[Service, ...]
    rejections: tuple[Rejection, ...] = ()
