"""An option of the ladder that holds: a variant on GPUs with an engine, its memory, and how it is called."""

from __future__ import annotations

from dataclasses import dataclass

from hermeion.engines.protocol import Engine, Layout, Load
from hermeion.gpu_sets import GpuSet, describe
from hermeion.memory.kv_cache import KvPrecision
from hermeion.plans import MemoryBudget
from hermeion.variants import Variant

COMFORTABLE_CONTEXT = 32768
"""With ``context="max"`` a variant with fewer bits is taken only if the better one does not reach this many tokens."""

LEAST_CONTEXT = 2048
"""With ``context="max"`` the least that is served unless ``min_context`` says otherwise."""

USEFUL_CONTEXT = 8192
"""Tokens that every request of an engine that divides its cache shall have, before it serves several at once."""

CONTEXT_STEP = 256
"""A context that memory limits is rounded down to this many tokens."""

SHARE_FREE = 0.9
"""A GPU on which others hold more than the rest of this is left to them: they compute there. A desktop takes less, and
the engine then takes so much less itself."""

FEWEST_SEQUENCES = 8
"""Where memory is tight, the requests at the same time are halved down to this many, unless the inventory says more."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant on GPUs, with the longest context that fits there, up to the wanted one."""

    engine: Engine
    version: str
    variant: Variant
    gpus: GpuSet
    layout: Layout
    load: Load
    memory: MemoryBudget
    option: str
    remarks: tuple[str, ...] = ()

    @property
    def context(self) -> int:
        """Tokens of context."""
        return self.load.context

    @property
    def sequences(self) -> int:
        """Requests at the same time."""
        return self.load.sequences


@dataclass(frozen=True, slots=True)
class Floor:
    """What is wanted of the context: ``wanted`` if it fits, else as much as fits and at least ``least``, in tokens."""

    wanted: int
    least: int


def with_engine(engine: Engine) -> str:
    """`` with llama.cpp``; vLLM is not said."""
    return "" if engine.NAME == "vllm" else f" with {engine.LABEL}"


def option_text(variant: Variant, gpus: GpuSet, kv: KvPrecision, sequences: int, default: int, engine: Engine) -> str:
    """How an option is called in plans and refusals; what is usual is not said."""
    text = f"{variant.name} on {describe(gpus)}{with_engine(engine)}"
    if kv != "bf16":
        text += f", {kv.upper()} KV cache"
    if sequences < default:
        text += f", {sequences} {'request' if sequences == 1 else 'requests'}"
    return text
