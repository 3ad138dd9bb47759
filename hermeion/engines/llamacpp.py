"""llama.cpp's server: what it accepts, how it spreads a model, how much it takes. It is planned, not started.

Sources: the options of llama-server, build 11669; the code of llama.cpp; ``.devops/cuda.Dockerfile``.
"""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.engines.protocol import Layout, Load
from hermeion.hosts import Gpu
from hermeion.memory import llamacpp as memory
from hermeion.memory.kv_cache import KvPrecision
from hermeion.plans import MemoryBudget
from hermeion.variants import Variant

NAME = "llamacpp"
LABEL = "llama.cpp"
RUNNABLE = False
DIVIDES_CACHE = True
VERSIONS: tuple[str, ...] = ("b11669",)
"""Builds whose options were read."""

IMAGE = "ghcr.io/ggml-org/llama.cpp:server-cuda-{version}"

MIN_DRIVER = 525
"""The image is built on CUDA 12.8, which runs on this driver branch too (minor-version compatibility)."""

MIN_CAPABILITY = (5, 0)

DEFAULT_SEQUENCES = 4
"""Slots of llama-server if ``--parallel`` is not given."""


def oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    """The lowest compute capability."""
    return min(gpu.compute_capability for gpu in gpus)


def refusal(variant: Variant, gpus: Sequence[Gpu], label: str) -> str | None:
    """``None`` if llama.cpp can load the variant on these GPUs, else one sentence why not.

    Args:
        label: Name of the engine that runs it.
    """
    major, minor = oldest(gpus)
    if variant.format.container != "gguf":
        return f"{label} reads GGUF files alone; {variant.name} is {variant.precision} in safetensors"
    if (major, minor) < MIN_CAPABILITY:
        return f"compute capability {major}.{minor} is older than {label}'s minimum of 5.0"
    return None


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if llama.cpp can load the variant on these GPUs, else one sentence why not."""
    return refusal(variant, gpus, LABEL)


def is_native(variant: Variant, gpus: Sequence[Gpu]) -> bool:  # noqa: ARG001  # the same on all of them
    """Whether the GPUs compute in the variant's own precision: quantised weights are multiplied as 8-bit integers."""
    return not variant.format.is_quantised


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:  # noqa: ARG001  # the same for all variants
    """What a person should know about the variant on these GPUs."""
    if len(gpus) == 1:
        return ()
    return (f"layers are split over {len(gpus)} GPUs: one request is no faster than on one GPU",)


def layout(variant: Variant, count: int) -> Layout | str:
    """Whole layers on each GPU; or one sentence with the numbers that work."""
    layers = variant.shape.layers
    if count > layers:
        return f"{layers} layers cannot be split over {count} GPUs; 1 to {layers} work"
    return Layout(1, count)


def kv_precisions(gpus: Sequence[Gpu]) -> tuple[KvPrecision, ...]:  # noqa: ARG001  # the same on all of them
    """16 bits (f16 here) and 8; Q4_0 is left out, for answers suffer from it."""
    return ("bf16", "q8_0")


def default_sequences(gpus: Sequence[Gpu]) -> int:  # noqa: ARG001  # the same on all of them
    """llama-server's own number of slots."""
    return DEFAULT_SEQUENCES


def _settings(load: Load) -> memory.Settings:
    return memory.Settings(load.context, load.sequences, load.kv_precision)


def budget(
    variant: Variant,
    gpus: Sequence[Gpu],
    layout: Layout,  # noqa: ARG001  # one part of the layers for each GPU
    load: Load,
    version: str | None = None,  # noqa: ARG001  # one build was read
) -> MemoryBudget:
    """Memory on the GPU with the least room for its layers' cache."""
    devices = [memory.Device(total=gpu.cuda, free=gpu.free) for gpu in gpus]
    return memory.llamacpp_budget(variant.shape, variant.format, variant.bytes, devices, _settings(load))


def kv_needed(
    variant: Variant,
    gpus: Sequence[Gpu],  # noqa: ARG001  # the same on all of them
    layout: Layout,
    load: Load,
) -> int:
    """The whole context of every request: llama-server allots it at the start."""
    return memory.kv_bytes(variant.shape, _settings(load), layout.gpus)
