"""vLLM's memory on each GPU, term by term, as its own start-up measures it.

The terms follow ``gpu_worker.py: determine_available_memory``. Constants were fitted on start-up logs of vLLM 0.19.0 on
H100s; ``python benchmarks/memory_accuracy.py`` prints the error of each row.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hermeion.memory.kv_cache import KvPrecision, kv_per_token
from hermeion.plans import MemoryBudget, margin
from hermeion.precisions import Precision
from hermeion.shapes import Shape
from hermeion.units import GIB
from hermeion.weights import WeightBytes, stage_layers, weight_bytes

Version = tuple[int, ...]

BIG_DEVICE = 70 * GIB
HUGE_DEVICE = 160 * GIB

CONTEXT_FREE = round(0.55 * GIB)
"""What the CUDA context takes before vLLM looks at free memory (H100: 78.68 of 79.19 GiB are free)."""

NCCL_FREE = round(1.0 * GIB)
"""What NCCL takes beyond that with several GPUs (H100: 77.66 of 79.19 GiB are free)."""

MEMORY_OF_PIPELINE_RANK = round(0.07 * GIB)
"""Non-torch memory without tensor parallelism in a pipeline (logs of Llama 3.1 8B over 2 and 4 stages)."""


def parse_version(text: str) -> Version:
    """``0.19.0`` as ``(0, 19, 0)``; what is not a number ends it."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in match[1].split(".")) if match else ()


def default_utilisation(version: Version) -> float:
    """Default of ``gpu-memory-utilization``."""
    return 0.92 if version >= (0, 20) else 0.90


def default_sequences(device: int, *, is_a100: bool) -> int:
    """Default of ``max-num-seqs`` of the OpenAI server (``engine/arg_utils.py``)."""
    return 1024 if device >= BIG_DEVICE and not is_a100 else 256


def default_batched_tokens(device: int, *, is_a100: bool) -> int:
    """Default of ``max-num-batched-tokens`` of the OpenAI server (``engine/arg_utils.py``)."""
    if device >= HUGE_DEVICE:
        return 16384
    return 8192 if device >= BIG_DEVICE and not is_a100 else 2048


class Settings(NamedTuple):
    """What of vLLM's options decides its memory.

    Attributes:
        utilisation: ``gpu-memory-utilization``, a share of all memory that CUDA sees.
        element: Bytes of an unquantised weight: 2, or 4 for ``--dtype float32``.
    """

    version: Version
    utilisation: float
    sequences: int
    batched_tokens: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    kv_precision: KvPrecision = "bf16"
    eager: bool = False
    element: int = 2


def sampler_bytes(shape: Shape, settings: Settings) -> int:
    """Peak of the sampler's first run: logits of every sequence in several copies.

    Until 0.16 the sampler sorted the whole vocabulary (values, indices and workspace): Qwen3 14B took 5.64 GiB on an
    H100 before 0.17 and 2.23 GiB since.
    """
    per_logit = 12 + settings.element if settings.version >= (0, 17) else 37.5
    return round(settings.sequences * shape.vocab * per_logit + 0.17 * GIB)


def expert_workspace(shape: Shape, settings: Settings, precision: Precision | None = None) -> int:
    """Buffers of the fused experts, which stay: one batch times the experts of a token, wide and narrow.

    The kernels of MXFP4 experts do without (gpt-oss-20b: 2.87 GiB at the peak, of which the sampler has 2.85).
    """
    if not shape.experts or (precision and precision.name == "mxfp4"):
        return 0
    inner = shape.experts.intermediate / settings.tensor_parallel
    width = max(2 * inner, shape.hidden) + inner
    return round(settings.batched_tokens * shape.experts.per_token * width * 2)


def layer_bytes(shape: Shape, settings: Settings) -> int:
    """Peak of one batch through the widest dense layer."""
    inner = shape.intermediate
    if shape.experts and not shape.experts.dense_layers:
        inner = shape.experts.shared_intermediate
    width = 3 * shape.hidden + 3 * inner / settings.tensor_parallel
    return round(settings.batched_tokens * width * settings.element + 0.15 * GIB)


def encoder_bytes(shape: Shape, settings: Settings) -> int:
    """What a vision tower's outputs for one batch take while the model is measured.

    Four values per token and hidden element: fitted on the seven starts with a tower (Gemma 3, Granite Vision, Mistral
    Small, Kimi VL).
    """
    return 4 * settings.batched_tokens * shape.hidden * settings.element if shape.tower_parameters else 0


def activation_bytes(
    shape: Shape, settings: Settings, *, last_stage: bool = True, precision: Precision | None = None
) -> int:
    """Peak of the activations on a GPU of a pipeline stage; only the last stage samples."""
    peaks = [layer_bytes(shape, settings)]
    if last_stage:
        peaks.append(sampler_bytes(shape, settings))
    return max(peaks) + expert_workspace(shape, settings, precision) + encoder_bytes(shape, settings)


def graph_bytes(layers: int) -> int:
    """CUDA graphs of a stage's layers."""
    return round((0.35 + 0.0175 * layers) * GIB)


def counts_graphs(version: Version) -> bool:
    """Whether vLLM sets CUDA graphs aside before it sizes the KV cache.

    ``VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS`` is on by default since 0.21.
    """
    return version >= (0, 21)


def non_torch_bytes(settings: Settings) -> tuple[int, int]:
    """Memory outside PyTorch during start-up: the part of every GPU, and NCCL's (measured over NVLink)."""
    if settings.tensor_parallel == 1:
        return (MEMORY_OF_PIPELINE_RANK if settings.pipeline_parallel > 1 else GIB // 4), 0
    return GIB // 4, round((1.85 + 0.03 * (settings.tensor_parallel - 2)) * GIB)


def scaled(weights: WeightBytes, factor: float) -> WeightBytes:
    """Weights corrected by the real size of the published files: an exclusion list or a tower is in them."""
    return weights.model_copy(
        update={"weights": round(weights.weights * factor), "scales": round(weights.scales * factor)}
    )


def vllm_budget(
    shape: Shape,
    precision: Precision,
    device: int,
    settings: Settings,
    *,
    factor: float = 1.0,
    stage: int = 0,
    own_margin: int | None = None,
) -> MemoryBudget:
    """Add up one GPU of one pipeline stage.

    Args:
        device: What CUDA sees of the GPU, in bytes.
        factor: Real size of the published weights over the one that follows from the shape.
        stage: Pipeline stage, from 0.
        own_margin: Bytes kept in place of :func:`margin`.
    """
    layers = stage_layers(shape.layers, settings.pipeline_parallel)[stage]
    weights = weight_bytes(
        shape,
        precision,
        tensor_parallel=settings.tensor_parallel,
        pipeline_parallel=settings.pipeline_parallel,
        stage=stage,
        element=settings.element,
    )
    weights = scaled(weights, factor)
    non_torch, nccl = non_torch_bytes(settings)
    counted = counts_graphs(settings.version) and not settings.eager
    return MemoryBudget(
        device=device,
        usable=int(device * settings.utilisation),
        weights=weights.weights,
        scales=weights.scales,
        rotary=weights.rotary,
        activations=activation_bytes(
            shape, settings, last_stage=stage == settings.pipeline_parallel - 1, precision=precision
        ),
        non_torch=non_torch,
        nccl=nccl,
        graphs=graph_bytes(layers) if counted else 0,
        margin=margin(device) if own_margin is None else own_margin,
        kv_per_token=kv_per_token(
            shape,
            settings.kv_precision,
            settings.tensor_parallel,
            layers if settings.pipeline_parallel > 1 else None,
        ),
    )
