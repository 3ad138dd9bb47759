"""SGLang's memory on each GPU: a reserve by rule of thumb, weights, and the KV cache in what is left.

Read in the code of SGLang 0.5.23 (``server_args.py``, ``pool_configurator.py``), not calibrated on its logs. Logs of
earlier 0.5 releases agree: Qwen3-30B-A3B-FP8 on an H100 printed 392,920 tokens, Qwen3-8B on a B200 992,896.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hermeion.memory.kv_cache import ELEMENT_BYTES, KvPrecision
from hermeion.plans import MemoryBudget, margin
from hermeion.precisions import Precision
from hermeion.shapes import Shape
from hermeion.units import GIB, MIB
from hermeion.weights import VOCAB_BLOCK, WeightBytes, published_bytes, stage_layers, weight_bytes

CONTEXT_FREE = round(0.8 * GIB)
"""What the CUDA context takes before SGLang looks at free memory: 0.68 to 0.78 GiB on RTX 5090, H100 and B200
(``Load weight begin``)."""

NCCL_FREE = round(1.1 * GIB)
"""What NCCL takes beyond that with several GPUs (8 H100s: 77.33 of 79.19 GiB are free)."""

LEAST_RESERVE_MIB = 10 * 1024
LEAST_RESERVE_ABOVE = 60 * GIB

LATENT_PREFILL_GRAPHS_MIB = 1536
"""Reserve for CUDA graphs of the prefill with latent attention, whatever their number."""

VISION_SHARE = 0.95
VISION_BASELINE = 12 * 24 * 1024**2
"""Parameters of ViT-L/14 (24 layers, 1024 wide), with which SGLang compares a vision tower."""


class CardDefaults(NamedTuple):
    """What SGLang takes by a card's memory.

    Attributes:
        below: Size of the card in bytes, exclusive.
        chunked_prefill: ``--chunked-prefill-size`` in tokens.
        decode_batch: Largest batch with a CUDA graph, over up to 3 GPUs.
        wide_decode_batch: The same over 4 GPUs or more.
    """

    below: float
    chunked_prefill: int
    decode_batch: int
    wide_decode_batch: int


CARDS = (
    CardDefaults(20 * GIB, 2048, 8, 8),
    CardDefaults(35 * GIB, 4096, 48, 160),
    CardDefaults(60 * GIB, 4096, 32, 160),
    CardDefaults(160 * GIB, 8192, 256, 512),
    CardDefaults(math.inf, 16384, 512, 512),
)
"""``_handle_gpu_memory_settings`` of ``server_args.py``."""


class Settings(NamedTuple):
    """What of SGLang's options decides its memory.

    Attributes:
        total: ``nvidia-smi``'s total of the smallest GPU in bytes, from which SGLang works out its reserve.
        chunked_prefill: Tokens of a prompt that one step reads.
        max_decode_batch: Largest batch with a CUDA graph.
    """

    total: int
    chunked_prefill: int
    max_decode_batch: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    kv_precision: KvPrecision = "bf16"


def default_decode_batch(total: int, tensor_parallel: int = 1) -> int:
    """Largest batch that gets a CUDA graph if nobody says.

    Args:
        total: ``nvidia-smi``'s total in bytes.
    """
    card = next(card for card in CARDS if total < card.below)
    return card.decode_batch if tensor_parallel < 4 else card.wide_decode_batch


def default_settings(
    total: int, tensor_parallel: int = 1, pipeline_parallel: int = 1, kv_precision: KvPrecision = "bf16"
) -> Settings:
    """SGLang's own settings for a card of ``total`` bytes."""
    return Settings(
        total=total,
        chunked_prefill=next(card.chunked_prefill for card in CARDS if total < card.below),
        max_decode_batch=default_decode_batch(total, tensor_parallel),
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        kv_precision=kv_precision,
    )


def prefill_graph_sizes(most: int) -> tuple[int, ...]:
    """Numbers of tokens for which the prefill gets a CUDA graph (``generate_prefill_cuda_graph_batch_sizes``)."""
    sizes = (
        *range(4, 33, 4),
        *range(48, 257, 16),
        *range(288, 513, 32),
        *range(576, 1025, 64),
        *range(1280, 4097, 256),
        *range(4608, most + 1, 512),
    )
    return tuple(size for size in sizes if size <= most)


def reserved_mib(shape: Shape, settings: Settings) -> float:
    """MiB that SGLang leaves for activations, CUDA graphs, NCCL and the rest.

    In a pipeline the prefill has no graphs, and their part is more than is needed.
    """
    graphs = LATENT_PREFILL_GRAPHS_MIB if shape.latent else 8 * len(prefill_graph_sizes(settings.chunked_prefill))
    reserved = (
        512
        + 1.5 * max(settings.chunked_prefill, 2048)
        + 1024 * settings.tensor_parallel * settings.pipeline_parallel / 8
        + 2 * settings.max_decode_batch
        + graphs
    )
    return max(reserved, LEAST_RESERVE_MIB) if settings.total > LEAST_RESERVE_ABOVE else reserved


def vision_factor(tower_parameters: int) -> float:
    """What a vision tower leaves of ``mem-fraction-static``: 0.76 to 0.9975 (``adjust_mem_fraction_for_vlm``).

    SGLang knows the tower's layers and width; here its parameters, which are 12 times layers × width², stand for them.
    """
    larger = tower_parameters / VISION_BASELINE - 1
    return VISION_SHARE * max(0.8, min(1.05, 1 - 0.1 * larger))


def static_fraction(shape: Shape, settings: Settings) -> float:
    """``mem-fraction-static``: the share of memory for weights and KV cache."""
    total = settings.total / MIB
    fraction = round((total - reserved_mib(shape, settings)) / total, 3)
    return fraction * vision_factor(shape.tower_parameters) if shape.tower_parameters else fraction


def free_before_loading(device: int, settings: Settings) -> int:
    """Free bytes of a GPU once CUDA and NCCL are there, before the weights: ``Load weight begin. avail mem``."""
    several = settings.tensor_parallel * settings.pipeline_parallel > 1
    return device - CONTEXT_FREE - (NCCL_FREE if several else 0)


def pipeline_layers(layers: int, pipeline_parallel: int) -> tuple[int, ...]:
    """Layers of each pipeline stage: what is left over goes to the last stages (``get_pp_indices``)."""
    base, over = divmod(layers, pipeline_parallel)
    return (base,) * (pipeline_parallel - over) + (base + 1,) * over


def _added(weights: WeightBytes, other: WeightBytes, times: int) -> WeightBytes:
    return weights.model_copy(
        update={
            "weights": weights.weights + times * other.weights,
            "scales": weights.scales + times * other.scales,
        }
    )


def _last_layer(shape: Shape, precision: Precision, tensor_parallel: int) -> WeightBytes:
    """One layer, as the difference that it makes."""
    shorter = shape.model_copy(update={"layers": shape.layers - 1})
    whole = weight_bytes(shape, precision, tensor_parallel=tensor_parallel)
    return _added(whole, weight_bytes(shorter, precision, tensor_parallel=tensor_parallel), -1)


def stage_weights(shape: Shape, precision: Precision, settings: Settings, stage: int) -> WeightBytes:
    """Weights on each GPU of a pipeline stage.

    Other than vLLM's: left-over layers are on the last stages, the rotary embedding's cache has 32 bits, and the
    vocabulary is padded to a multiple of 64 on each GPU.
    """
    tensor, pipeline = settings.tensor_parallel, settings.pipeline_parallel
    weights = weight_bytes(shape, precision, tensor_parallel=tensor, pipeline_parallel=pipeline, stage=stage)
    more = pipeline_layers(shape.layers, pipeline)[stage] - stage_layers(shape.layers, pipeline)[stage]
    if more:
        weights = _added(weights, _last_layer(shape, precision, tensor), more)
    tables = (stage == 0) + (stage == pipeline - 1 and not (shape.tied_embeddings and pipeline == 1))
    block = VOCAB_BLOCK * tensor
    padding = -(-shape.vocab // block) * block - -(-shape.vocab // VOCAB_BLOCK) * VOCAB_BLOCK
    return weights.model_copy(
        update={
            "weights": weights.weights + tables * padding // tensor * shape.hidden * 2,
            "rotary": 2 * weights.rotary,
        }
    )


def kv_per_token(shape: Shape, layers: int, tensor_parallel: int = 1, precision: KvPrecision = "bf16") -> int:
    """Bytes of cache on each GPU for one token.

    Sliding-window layers count in full. For a few architectures SGLang gives them 0.8 of the tokens and so holds more.

    Args:
        layers: Layers on the GPU.
    """
    return math.ceil(layers * shape.kv_elements(tensor_parallel) * ELEMENT_BYTES[precision])


def sglang_budget(
    shape: Shape,
    precision: Precision,
    device: int,
    settings: Settings,
    *,
    published: int | None = None,
    stage: int = 0,
    own_margin: int | None = None,
) -> MemoryBudget:
    """Add up one GPU of one pipeline stage.

    The cache is ``free after loading - free before loading × (1 - mem-fraction-static)``. Activations, CUDA graphs,
    NCCL and the CUDA context are not terms of their own: SGLang does not measure them but leaves a reserve for them,
    and so they are in ``device - usable``.

    Args:
        device: What CUDA sees of the GPU, in bytes.
        published: Size of the published weights in bytes as SGLang loads them, where it is known.
        stage: Pipeline stage, from 0.
        own_margin: Bytes kept in place of :func:`margin`.
    """
    weights = stage_weights(shape, precision, settings, stage)
    factor = published / published_bytes(shape, precision) if published else 1.0
    layers = pipeline_layers(shape.layers, settings.pipeline_parallel)[stage]
    return MemoryBudget(
        device=device,
        usable=int(free_before_loading(device, settings) * static_fraction(shape, settings)),
        weights=round(weights.weights * factor),
        scales=round(weights.scales * factor),
        rotary=weights.rotary,
        activations=0,
        non_torch=0,
        margin=margin(device) if own_margin is None else own_margin,
        kv_per_token=kv_per_token(shape, layers, settings.tensor_parallel, settings.kv_precision),
    )


def fullest_stage(
    shape: Shape, precision: Precision, device: int, settings: Settings, *, published: int | None = None
) -> MemoryBudget:
    """The budget that counts for a whole pipeline: all stages get the tokens of the one with the fewest.

    SGLang sizes every stage's cache by the least memory that is free on any GPU, so the heaviest stage meets the one
    with the most layers, even where these are two.

    Args:
        device: What CUDA sees of the smallest GPU, in bytes.
        published: Size of the published weights in bytes as SGLang loads them, where it is known.
    """
    stages = [
        sglang_budget(shape, precision, device, settings, published=published, stage=stage)
        for stage in range(settings.pipeline_parallel)
    ]
    heaviest = max(stages, key=lambda budget: budget.fixed)
    return heaviest.model_copy(update={"kv_per_token": max(budget.kv_per_token for budget in stages)})
