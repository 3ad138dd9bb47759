"""What the planner asks of every engine. One engine, one module; the module itself is the object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hermeion.hosts import Gpu
from hermeion.memory.kv_cache import KvPrecision
from hermeion.plans import MemoryBudget
from hermeion.variants import Variant


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


class Engine(Protocol):
    """One engine.

    Attributes:
        NAME: As inventories write it.
        LABEL: As people write it.
        VERSIONS: Versions whose options were checked, oldest first.
        IMAGE: Its official image, with ``{version}``.
        MIN_DRIVER: Oldest driver branch that its image runs on.
        RUNNABLE: Whether this release can start it, and not only plan it.
        DIVIDES_CACHE: Whether it spreads whole layers over any number of GPUs, and allots a cache of the planned size
            that it divides among its requests. The others split each layer and fill what is left of a GPU.
    """

    NAME: str
    LABEL: str
    VERSIONS: tuple[str, ...]
    IMAGE: str
    MIN_DRIVER: int
    RUNNABLE: bool
    DIVIDES_CACHE: bool

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
