"""Which GPUs and which variant a service gets: every option tried, with the reason of each that was not taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hermeion.engines import vllm
from hermeion.errors import PlacementError
from hermeion.hosts import Gpu, Host
from hermeion.inventory import ServiceSpec
from hermeion.plans import MemoryBudget, Rejection, Service
from hermeion.units import format_bytes
from hermeion.variants import Variant

COMFORTABLE_CONTEXT = 32768
"""With ``context="max"`` a variant with fewer bits is taken only if the better one does not reach this many tokens."""

CONTEXT_STEP = 256
"""A context that memory limits is rounded down to this many tokens."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant on GPUs, with the context that fits there."""

    variant: Variant
    gpus: tuple[Gpu, ...]
    sequences: int
    context: int
    memory: MemoryBudget


def _gpu_sets(spec: ServiceSpec, free: Sequence[Gpu], current: Service | None, leave: int) -> list[tuple[Gpu, ...]]:
    """The sets of GPUs to try, fewest first; the set that serves now stands before others of its size."""
    if isinstance(spec.gpus, tuple):
        named = tuple(gpu for gpu in free if gpu.uuid in spec.gpus)
        return [named if len(named) == len(set(spec.gpus)) else ()]
    # A GPU on which others hold more than the engine leaves comes last; a display's few megabytes move nothing.
    free = sorted(free, key=lambda gpu: gpu.free < gpu.memory * vllm.UTILISATION)
    most = max(1, len(free) - leave)
    counts = [count for count in (1, 2, 4, 8) if count <= most] if spec.gpus == "auto" else [int(spec.gpus)]
    models = list(dict.fromkeys(gpu.model for gpu in free))
    sets = []
    for count in counts:
        now = {gpu.pci_address for gpu in current.gpus} if current else set()
        running = tuple(gpu for gpu in free if gpu.pci_address in now)
        if len(running) == count:
            sets.append(running)
        sets += [
            like[:count] for model in models if len(like := tuple(gpu for gpu in free if gpu.model == model)) >= count
        ]
    return sets


def _try(spec: ServiceSpec, variant: Variant, gpus: tuple[Gpu, ...]) -> Candidate | str:
    """The candidate, or one sentence why there is none."""
    if reason := vllm.accepts(variant, gpus):
        return reason
    sequences = spec.sequences or min(vllm.default_sequences(gpu) for gpu in gpus)
    memory = vllm.budget(variant, gpus, sequences)
    for gpu in gpus:
        if gpu.free < memory.total:
            return (
                f"others hold {format_bytes(gpu.memory - gpu.free)} of the memory of {gpu.uuid}; the engine "
                f"needs {format_bytes(memory.total)} free"
            )
    if memory.kv_cache <= 0:
        return (
            f"weights and overhead need {format_bytes(memory.total - memory.kv_cache)} per GPU, "
            f"{format_bytes(memory.total)} may be used"
        )
    longest = variant.shape.max_context
    fits = longest if memory.kv_tokens >= longest else memory.kv_tokens // CONTEXT_STEP * CONTEXT_STEP
    if spec.context != "max":
        if spec.context > longest:
            return f"the model was made for {longest} tokens of context, {spec.context} are wanted"
        if spec.context > memory.kv_tokens:
            return f"the largest context that fits is {fits} tokens, {spec.context} are wanted"
        fits = spec.context
    elif fits < min(spec.min_context, longest):
        return f"the largest context that fits is {fits} tokens, at least {spec.min_context} are wanted"
    return Candidate(variant, gpus, sequences, fits, memory)


def _choose(candidates: Sequence[Candidate]) -> Candidate:
    """The first with a comfortable context on the fewest GPUs that reach all of it; else the longest context."""
    for candidate in candidates:
        variant = candidate.variant
        longest = max(c.context for c in candidates if c.variant is variant)
        if longest >= min(COMFORTABLE_CONTEXT, variant.shape.max_context) and candidate.context == longest:
            return candidate
    return max(candidates, key=lambda c: c.context)


def _not_named(free: Sequence[Gpu]) -> str:
    if any(gpu.uuid is None for gpu in free):
        return "GPUs are named by UUID, which only a driver tells: use a number or 'auto' for the first run"
    return "not all of the GPUs named are here and free"


def place(
    spec: ServiceSpec,
    host: Host,
    free: Sequence[Gpu],
    variants: Sequence[Variant],
    current: Service | None = None,
    later: Sequence[ServiceSpec] = (),
) -> tuple[Candidate, list[Rejection]]:
    """The best candidate for a service among the free GPUs, and what was tried and not taken.

    Args:
        current: What serves now under this name.
        later: Services that come after this one: it leaves them the GPUs that they name, and enough of the others.

    Raises:
        PlacementError: Nothing fits; every option is listed with its reason.
    """
    named = {uuid for other in later if isinstance(other.gpus, tuple) for uuid in other.gpus}
    free = [gpu for gpu in free if gpu.uuid is None or gpu.uuid not in named]
    leave = sum(1 if other.gpus == "auto" else other.gpus for other in later if not isinstance(other.gpus, tuple))
    rejections: list[Rejection] = []
    candidates: list[Candidate] = []
    for variant in variants:
        for gpus in _gpu_sets(spec, free, current, leave):
            option = f"{variant.name} on {len(gpus)} × {gpus[0].model if gpus else 'no such GPU'}"
            result = _try(spec, variant, gpus) if gpus else _not_named(free)
            if isinstance(result, str):
                rejections.append(Rejection(service=spec.name, option=option, reason=result))
            else:
                candidates.append(result)
    if not candidates:
        tried = "\n".join(f"  - {r.option}: {r.reason}" for r in rejections)
        raise PlacementError(
            f"{host.name}: {spec.name}: {spec.model} fits on no free GPU of this host.\n"
            f"{tried or '  - no GPU is free'}\n"
            "Ask for a shorter context, a smaller variant, or more GPUs."
        )
    chosen = _choose(candidates)
    return chosen, rejections
