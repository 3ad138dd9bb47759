"""SGLang: what it accepts, how it spreads a model, how much it takes. It is planned, not started.

Sources: ``server_args.py``, ``layers/quantization`` and ``models/registry.py`` of SGLang 0.5.23.
"""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.engines.protocol import Layout, Load
from hermeion.hosts import Gpu
from hermeion.memory import sglang as memory
from hermeion.memory.kv_cache import KvPrecision
from hermeion.plans import MemoryBudget, margin
from hermeion.variants import Variant

NAME = "sglang"
LABEL = "SGLang"
RUNNABLE = False
DIVIDES_CACHE = False
VERSIONS: tuple[str, ...] = ("0.5.23",)
"""Versions whose options were read."""

IMAGE = "lmsysorg/sglang:v{version}"

MIN_DRIVER = 580
"""The image is built on CUDA 13, which needs this driver branch."""

MIN_CAPABILITY = (8, 0)
"""The kernels of the image begin here, those that unpack FP8 and NVFP4 weights too."""

NATIVE_CAPABILITY = {
    "fp16": (8, 0),
    "bf16": (8, 0),
    "int8": (8, 0),
    "fp8": (8, 9),
    "fp8-block": (8, 9),
    "mxfp4": (10, 0),
    "nvfp4": (10, 0),
}
"""Compute capability from which the kernels compute in a precision; what is not listed is unpacked to 16 bits."""

FP8_KV_CAPABILITY = (8, 9)

BLOCK = 128
"""Rows and columns of an FP8 block, which is never split (``is not divisible by weight quantization block_n``)."""

PAGE = 64
"""Tokens of the largest page of the KV cache that a default attention backend takes; one page is SGLang's own."""

TRANSFORMERS_FALLBACK = frozenset({"SeedOssForCausalLM"})
"""Architectures of the catalogue that SGLang itself does not implement (``models/registry.py``)."""


def _oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    return min(gpu.compute_capability for gpu in gpus)


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if SGLang can load the variant on these GPUs, else one sentence why not."""
    major, minor = _oldest(gpus)
    if variant.format.container == "gguf":
        return "GGUF files are planned for llama.cpp and Ollama, not for SGLang"
    if (major, minor) < MIN_CAPABILITY:
        return f"compute capability {major}.{minor} is older than SGLang's practical minimum of 8.0"
    if variant.quant_method == "fbgemm_fp8":
        return "SGLang has no format fbgemm_fp8; take a compressed-tensors FP8 variant"
    return None


def is_native(variant: Variant, gpus: Sequence[Gpu]) -> bool:
    """Whether the GPUs compute in the variant's own precision, not only store it."""
    return _oldest(gpus) >= NATIVE_CAPABILITY.get(variant.precision, (99, 0))


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """What a person should know about the variant on these GPUs."""
    found: list[str] = []
    if variant.precision in NATIVE_CAPABILITY and not is_native(variant, gpus):
        major, minor = _oldest(gpus)
        found.append(
            f"weight-only: compute capability {major}.{minor} stores {variant.precision} weights and computes in "
            "16 bits: no speed-up, memory saving only"
        )
    if variant.precision == "fp32":
        found.append("SGLang loads 32-bit weights as fp16")
    if variant.shape.architecture in TRANSFORMERS_FALLBACK:
        found.append(
            f"SGLang does not implement {variant.shape.architecture} and falls back to the Transformers backend, "
            "which is slower"
        )
    return tuple(found)


def _tensor_parallel_sizes(variant: Variant, most: int) -> tuple[int, ...]:
    """Numbers of GPUs, up to ``most``, over which heads and, where weights have them, FP8 blocks can be split."""
    shape = variant.shape
    sizes = shape.tensor_parallel_sizes(most)
    if variant.precision != "fp8-block":
        return sizes
    widths = [shape.intermediate] if shape.moe_layers < shape.layers else []
    if shape.experts:
        widths += [shape.experts.intermediate, shape.experts.shared_intermediate]
    return tuple(size for size in sizes if size == 1 or all(width % (size * BLOCK) == 0 for width in widths))


def layout(variant: Variant, count: int) -> Layout | str:
    """Tensor parallel where heads can be split, else with a pipeline; or one sentence with the numbers that work."""
    sizes = _tensor_parallel_sizes(variant, count)
    tensor_parallel = max(size for size in sizes if count % size == 0)
    stages = count // tensor_parallel
    if stages > variant.shape.layers:
        return (
            f"{variant.shape.layers} layers cannot be a pipeline of {stages} stages; without one, these numbers of "
            f"GPUs work: {', '.join(map(str, sizes))}"
        )
    return Layout(tensor_parallel, stages)


def kv_precisions(gpus: Sequence[Gpu]) -> tuple[KvPrecision, ...]:
    """16 bits, and FP8 where the GPUs compute in it."""
    return ("bf16", "fp8") if _oldest(gpus) >= FP8_KV_CAPABILITY else ("bf16",)


def default_sequences(gpus: Sequence[Gpu]) -> int:
    """As many requests as have a CUDA graph by default: SGLang's own limit, 2048 and more, follows from the cache."""
    return memory.default_decode_batch(min(gpu.memory for gpu in gpus), len(gpus))


def budget(
    variant: Variant,
    gpus: Sequence[Gpu],
    layout: Layout,
    load: Load,
    version: str | None = None,  # noqa: ARG001  # one version was read
) -> MemoryBudget:
    """Memory on the fullest of the GPUs.

    The number of requests does not change it: what a batch takes is in SGLang's reserve.
    """
    settings = memory.default_settings(
        min(gpu.memory for gpu in gpus), layout.tensor_parallel, layout.pipeline_parallel, load.kv_precision
    )
    # 32-bit weights arrive as 16 bits.
    published = variant.bytes // 2 if variant.precision == "fp32" else variant.bytes
    device = min(gpu.cuda for gpu in gpus)
    # SGLang's share is one of what is free when it starts: what others hold is not there.
    free = min(gpu.cuda - (gpu.memory - gpu.free) for gpu in gpus)
    found = memory.fullest_stage(variant.shape, variant.format, free, settings, published=published)
    return found.model_copy(update={"device": device, "margin": margin(device)})


def kv_needed(
    variant: Variant,
    gpus: Sequence[Gpu],  # noqa: ARG001  # the same on all of them
    layout: Layout,
    load: Load,
) -> int:
    """One request of the whole context in whole pages, and the page that SGLang keeps for itself.

    SGLang starts with less, and then refuses long requests.
    """
    pages = -(-load.context // PAGE) + 1
    layers = max(memory.pipeline_layers(variant.shape.layers, layout.pipeline_parallel))
    return pages * PAGE * memory.kv_per_token(variant.shape, layers, layout.tensor_parallel, load.kv_precision)
