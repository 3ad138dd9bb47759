"""The plan: every decision about one host, as a value. Applying it makes no choice."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any, Literal

from hermeion.records import Record
from hermeion.units import GIB

KV_BLOCK = 16
"""Tokens of one block of vLLM's KV cache."""


def kv_tokens(cache: int, per_token: int, block: int = KV_BLOCK) -> int:
    """Tokens in a cache of so many bytes: whole blocks, one of which the engine keeps for itself; or every token."""
    own = block if block > 1 else 0
    return max(0, cache // (block * per_token) * block - own)


def margin(device: int) -> int:
    """Bytes kept against errors of the estimates, of a GPU of which CUDA sees ``device`` bytes: half a GiB or 1 %."""
    return max(GIB // 2, device // 100)


class MemoryBudget(Record):
    """Bytes on the fullest GPU of a service, term by term.

    Attributes:
        device: What CUDA sees of the GPU; a little less than ``nvidia-smi``'s total.
        usable: What the engine may take of it.
        weights: Weights, without their scales.
        scales: Scales and zero points of quantised weights.
        rotary: Cache of the rotary embedding.
        activations: Peak of the activations, or an engine's compute buffers.
        non_torch: CUDA context and libraries beyond the weights.
        nccl: Buffers for talking to other GPUs.
        graphs: CUDA graphs, where the engine sets them aside.
        margin: Kept against errors of this estimate.
        kv_per_token: KV cache of one token.
        kv_block: Tokens of one block of the KV cache; an engine with blocks keeps one for itself.
    """

    device: int
    usable: int
    weights: int
    scales: int = 0
    rotary: int = 0
    activations: int
    non_torch: int
    nccl: int = 0
    graphs: int = 0
    margin: int
    kv_per_token: int
    kv_block: int = KV_BLOCK

    @property
    def fixed(self) -> int:
        """Everything but the KV cache and the margin."""
        terms = (self.weights, self.scales, self.rotary, self.activations, self.non_torch, self.nccl, self.graphs)
        return sum(terms)

    @property
    def kv_cache(self) -> int:
        """Bytes of KV cache that are promised; negative when not even the weights fit."""
        return self.usable - self.fixed - self.margin

    @property
    def kv_expected(self) -> int:
        """Bytes of KV cache that the engine is expected to print: the margin is in it."""
        return self.usable - self.fixed

    @property
    def kv_tokens(self) -> int:
        """Tokens that are promised."""
        return kv_tokens(self.kv_cache, self.kv_per_token, self.kv_block)

    @property
    def kv_tokens_expected(self) -> int:
        """Tokens that the engine is expected to print."""
        return kv_tokens(self.kv_expected, self.kv_per_token, self.kv_block)

    @property
    def idle(self) -> int:
        """What the engine leaves alone."""
        return self.device - self.usable

    @property
    def terms(self) -> dict[str, int]:
        """Every part of the GPU by name, in the order of a picture: they add up to ``device``."""
        return {
            "weights": self.weights,
            "scales": self.scales,
            "rotary cache": self.rotary,
            "activations": self.activations,
            "non-torch": self.non_torch,
            "NCCL": self.nccl,
            "CUDA graphs": self.graphs,
            "KV cache": self.kv_cache,
            "margin": self.margin,
            "left alone": self.idle,
        }


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


class Archive(Record):
    """A file that is downloaded, checked and unpacked. ``sha256`` is hexadecimal."""

    url: str
    sha256: str


class Package(Record):
    """An engine that is installed on the host itself, in a folder of its own.

    Attributes:
        name: Engine and version: ``vllm-0.33.0``.
        kind: A virtual environment made from locked requirements, or archives of a binary release.
        sha256: Of the requirements' text, or of the archives' checksums in their order; hexadecimal.
        program: Words that start it, the first a path in its folder: ``("bin/vllm", "serve")``.
        archives: What is unpacked into its folder, one over the other; empty for a virtual environment.
        download: Bytes that come over the network, or ``None``: not known.
        installed: Bytes that it takes on disk, or ``None``: not known.
    """

    name: str
    kind: Literal["venv", "archive"]
    sha256: str
    program: tuple[str, ...]
    archives: tuple[Archive, ...] = ()
    download: int | None = None
    installed: int | None = None

    @property
    def identity(self) -> str:
        """Name of its folder; another lock or archive is another folder."""
        return f"{self.name}-{self.sha256[:12]}"

    @property
    def folder(self) -> PurePosixPath:
        """Its folder on the host."""
        return PurePosixPath("/opt/hermeion/engines") / self.identity


class Service(Record):
    """Every decision about one service: what a release is made from.

    Attributes:
        wanted: Hash of what the inventory asked for; as long as it is the same, the plan stays.
        path: Folder on the host with the weights, or ``None``: they are pulled from ``repo`` into the cache.
        files: GGUF files of the weights, the first part of a split one first; empty: safetensors. With ``*`` for the
            numbers of a split file until the repository was asked.
        revision: Commit of the weights, or ``None`` until it was resolved; of a folder, a hash of its listing.
        weights_bytes: Size of the weights in bytes.
        gpus: In PCI order.
        tensor_parallel: GPUs over which each layer is split.
        pipeline_parallel: Stages into which the layers are split.
        context: Tokens of context served.
        sequences: Requests served at the same time.
        kv_tokens: KV cache the plan promises, in tokens: ``context × sequences`` where that fits, else what fits.
        kv_needed: KV cache in bytes on the fullest GPU without which the engine does not start with this context.
        kv_precision: Precision of the KV cache: ``bf16``, ``fp8`` or ``q8_0``.
        remarks: What a person should know about the choice, in sentences.
        gpu_access: How its container is given GPUs: by CDI, or by NVIDIA's runtime where Docker is older than 25.
        runtime: Whether it runs in a container of Docker Compose, or natively under systemd.
        image: Image of its container; ``None``: it runs natively.
        package: What it runs from natively; ``None``: it runs in a container.
        config: The engine's options, without secrets, as :func:`hermeion.engines.protocol.Engine.config` made them.
        environment: Environment of its process; no secret is in it.
        cache: Folder of the weights on the host.
    """

    name: str
    host: str
    wanted: str
    model: str
    variant: str
    repo: str
    path: str | None = None
    files: tuple[str, ...] = ()
    revision: str | None
    precision: str
    weights_bytes: int
    engine: str
    engine_version: str
    runtime: Literal["compose", "systemd"] = "compose"
    image: Image | None
    package: Package | None = None
    gpus: tuple[PlannedGpu, ...]
    tensor_parallel: int
    pipeline_parallel: int
    context: int
    sequences: int
    kv_precision: str
    kv_tokens: int
    kv_needed: int
    memory: MemoryBudget
    port: int
    served_names: tuple[str, ...]
    thinking: bool
    cache: str
    remarks: tuple[str, ...] = ()
    gpu_access: Literal["cdi", "runtime"] = "cdi"
    config: dict[str, Any]
    environment: dict[str, str]
    start_seconds: int

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to be resolved."""
        runnable = self.image.digest if self.image else self.package
        split = any("*" in name for name in self.files)
        return bool(self.revision and runnable and not split and all(gpu.uuid for gpu in self.gpus))

    @property
    def snapshot(self) -> str:
        """Name of the weights in the cache: ``models--org--name@revision``, and ``+hash`` of single files' names."""
        name = f"models--{self.repo.replace('/', '--')}@{self.revision}"
        return f"{name}+{hashlib.sha256(chr(10).join(self.files).encode()).hexdigest()[:8]}" if self.files else name

    @property
    def folder(self) -> PurePosixPath:
        """Folder of the service's releases on the host."""
        return PurePosixPath("/opt/hermeion") / self.name

    @property
    def unit(self) -> str:
        """Name of the systemd unit."""
        return f"hermeion-{self.name}.service"

    @property
    def runs_from(self) -> str:
        """Image or package in a word for people: ``vllm/vllm-openai:v0.33.0``, ``vllm-0.33.0``."""
        if self.image:
            return f"{self.image.repository}:{self.image.tag}"
        return self.package.name if self.package else self.engine

    @property
    def build(self) -> str:
        """What exactly it runs from, 12 hexadecimal digits: of the image's digest, or of the package's hash."""
        if self.image:
            return (self.image.digest or "sha256:unresolved")[7:19]
        return self.package.sha256[:12] if self.package else "unresolved"

    @property
    def compile_cache(self) -> str:
        """Folder on the host for what its engine compiles or lays out; another image is another folder."""
        return f"/var/cache/hermeion/{self.name}/{self.build}" if self.image else f"/var/cache/hermeion-{self.name}"

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
    """What happens to the driver, and why.

    Attributes:
        remarks: What a person should know about the driver that is or will be there; one sentence each.
        branch: Branch that will be installed; ``None`` where nothing is.
        version: Version that counts: the one that is there, or ``None`` where the package source decides.
        flavour: Kernel module that will be installed.
        source: Whose packages: NVIDIA's repository, or the distribution's own archive.
        packages: What one transaction installs; ``name`` or ``name=version``.
        units: systemd units to enable afterwards.
        purge: Packages that are purged first, because dpkg could not finish them or they stand in the way.
        finish: Whether a transaction of ours that was cut off is finished first (``dpkg --configure -a``).
        reboot: Why a reboot follows for certain; ``None``: only if the module cannot be loaded without.
    """

    action: Literal["leave alone", "install", "upgrade", "repair", "reboot"]
    reason: str
    remarks: tuple[str, ...] = ()
    branch: int | None = None
    version: str | None = None
    flavour: Literal["open", "proprietary"] | None = None
    source: Literal["nvidia", "debian", "ubuntu"] | None = None
    packages: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    purge: tuple[str, ...] = ()
    finish: bool = False
    reboot: str | None = None


class RuntimePlan(Record):
    """What happens to Docker, NVIDIA's container toolkit and the CDI specification. Empty: all is as it should be.

    Attributes:
        reasons: Why something has to be done, one sentence each.
        remarks: What a person should know and Hermeion leaves alone.
        engine: Whose Docker is installed; ``None``: the one that is there stays.
        packages: Packages of Docker and Compose to install.
        toolkit: Packages of the toolkit to install, as ``name=version``.
        remove: Files that stand in the way: stale specifications, lists of repositories that contradict ours.
        daemon_json: New text of ``/etc/docker/daemon.json``; ``None``: it stays.
        restart: What Docker needs to read it.
        specification: Whether the CDI specification is to be generated anew.
    """

    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    engine: Literal["distribution", "docker"] | None = None
    packages: tuple[str, ...] = ()
    toolkit: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    daemon_json: str | None = None
    restart: Literal["none", "reload", "restart"] = "none"
    specification: bool = False


class Rejection(Record):
    """An option that was tried, and why it was not taken.

    Attributes:
        option: Variant, GPUs, and what else was tried: ``hermes-4-14b-bf16 on 1 × NVIDIA L4, FP8 KV cache``.
        needed: Bytes on each GPU that the option needs, where memory was the reason.
        available: Bytes on each GPU that there are.
    """

    service: str
    option: str
    reason: str
    needed: int | None = None
    available: int | None = None


class Plan(Record):
    """Everything about one host."""

    host: str
    driver: DriverPlan
    services: tuple[Service, ...]
    rejections: tuple[Rejection, ...] = ()
