"""What the planner asks of every engine. One engine, one module; the module itself is the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from hermeion.engines.places import Places
from hermeion.hosts import Gpu
from hermeion.inventory import ServiceSpec
from hermeion.memory.kv_cache import KvPrecision
from hermeion.plans import MemoryBudget, Service
from hermeion.records import Record
from hermeion.variants import Variant

NativeKind = Literal["venv", "archive"]
KeysKind = Literal["list", "first", "file", "none"]


class Layout(NamedTuple):
    """How a model is spread over GPUs."""

    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.tensor_parallel * self.pipeline_parallel


class Load(NamedTuple):
    """What a service is to hold at once.

    Attributes:
        context: Tokens of context of one request.
        sequences: Requests served at the same time.
    """

    context: int
    sequences: int
    kv_precision: KvPrecision = "bf16"


class Setup(NamedTuple):
    """What an engine's options are made from: every choice of the planner.

    Attributes:
        version: As the inventory asks for it, or the newest known.
        revision: Commit of the weights, or ``None`` until it was resolved.
        served_names: Names under which requests call the model, the first of which the engine reports.
        start_seconds: How long a start may take.
    """

    spec: ServiceSpec
    variant: Variant
    version: str
    revision: str | None
    gpus: Sequence[Gpu]
    layout: Layout
    load: Load
    served_names: Sequence[str]
    places: Places
    start_seconds: int


class Said(Record):
    """What an engine's log tells of its last start; ``None`` where it does not tell.

    Attributes:
        kv_tokens: Tokens of KV cache.
        kv_bytes: Bytes of KV cache, on one GPU.
        weights_bytes: Bytes of weights, on one GPU.
        context: Tokens of context that it serves.
        failure: Why it does not run, in a sentence with the inventory key that helps where there is one.
    """

    kv_tokens: int | None = None
    kv_bytes: int | None = None
    weights_bytes: int | None = None
    context: int | None = None
    failure: str | None = None


class Engine(Protocol):
    """One engine.

    Attributes:
        NAME: As inventories write it.
        LABEL: As people write it.
        VERSIONS: Versions whose options were checked, oldest first.
        IMAGE: Its official image, with ``{version}``.
        MIN_DRIVER: Oldest driver branch that its image runs on.
        DIVIDES_CACHE: Whether it spreads whole layers over any number of GPUs, and allots a cache of the planned size
            that it divides among its requests. The others split each layer and fill what is left of a GPU.
        NATIVE: How it is installed without a container: in a virtual environment, or from an archive.
        PROGRAM: Words that start it natively, the first a path in the folder of its package.
        ENTRY: Words that the container's command begins with, after the image's own entry point.
        PORT: Where it listens inside its container.
        USER: ``uid:gid`` of its process in the container.
        SHARES_MEMORY: Whether its processes talk through shared memory, of which a container has 64 MiB otherwise.
        KEYS: How it takes API keys: a list of them in its configuration file (``list``), the first of them there
            (``first``), a file of its own (``file``), or not at all (``none``).
        HEALTH: Path that answers with 200 once it is up, without a key.
        LOADS_LATE: Whether the model is loaded by the first request only, and not before ``HEALTH`` answers.
        DEAD: What its log says when it will never answer although its process may stay, as an extended regular
            expression; empty: then its process ends.
        STOP_SECONDS: How long requests in flight may take when it is told to stop.
        PLANNED: Options that the plan sets and ``extra_args`` may not, each with what decides them instead: the
            inventory key, or words that say why nothing does.
    """

    NAME: str
    LABEL: str
    VERSIONS: tuple[str, ...]
    IMAGE: str
    MIN_DRIVER: int
    DIVIDES_CACHE: bool
    NATIVE: NativeKind
    PROGRAM: tuple[str, ...]
    ENTRY: tuple[str, ...]
    PORT: int
    USER: str
    SHARES_MEMORY: bool
    KEYS: KeysKind
    HEALTH: str
    LOADS_LATE: bool
    DEAD: str
    STOP_SECONDS: int
    PLANNED: Mapping[str, str]

    def accepts(self, variant: Variant, gpus: Sequence[Gpu]) -> str | None:
        """``None`` if it can load the variant on these GPUs, else one sentence why not."""

    def remarks(self, variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
        """What a person should know about the variant on these GPUs: weight-only quantisation, a fallback …"""

    def is_native(self, variant: Variant, gpus: Sequence[Gpu]) -> bool:
        """Whether the GPUs compute in the variant's own precision, not only store it."""

    def layout(self, variant: Variant, count: int) -> Layout | str:
        """How it spreads the variant over so many GPUs, or one sentence why it cannot, with the numbers that work."""

    def kv_precisions(self, gpus: Sequence[Gpu]) -> tuple[KvPrecision, ...]:
        """Precisions of the KV cache that it has on these GPUs, the most precise first."""

    def default_sequences(self, gpus: Sequence[Gpu]) -> int:
        """Requests at the same time if nobody says."""

    def budget(
        self, variant: Variant, gpus: Sequence[Gpu], layout: Layout, load: Load, version: str | None = None
    ) -> MemoryBudget:
        """Memory on the fullest of the GPUs."""

    def kv_needed(self, variant: Variant, gpus: Sequence[Gpu], layout: Layout, load: Load) -> int:
        """Bytes of KV cache on the fullest GPU without which it does not start with this context."""

    def start_seconds(self, weights: int) -> int:
        """How long a start may take with so many bytes of weights."""

    def config(self, setup: Setup) -> dict[str, Any]:
        """Its options, without keys; ``extra_args`` come last."""

    def pinned(self, service: Service) -> dict[str, Any]:
        """The options of a service whose commit and files have been resolved since they were made."""

    def environment(self, setup: Setup) -> dict[str, str]:
        """Environment of its process; no secret is in it."""

    def arguments(self, service: Service) -> tuple[str, ...]:
        """Its command line after ``ENTRY`` or ``PROGRAM``; no secret is in it."""

    def files(self, service: Service) -> dict[str, str]:
        """Files of its release that it (or who starts it) reads, by name; no secret is in them.

        A file ``engine.yaml`` is its configuration file, to which the keys are added on the host.
        """

    def read_log(self, log: str) -> Said:
        """What its log tells of its last start."""
