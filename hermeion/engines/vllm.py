"""vLLM: what it accepts, how much it takes, how it is configured and asked.

Sources: the parser and workers of vLLM 0.12.0, 0.32.0 and 0.33.0; docs 0.33.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hermeion.engines.protocol import Layout, Load
from hermeion.hosts import Gpu
from hermeion.inventory import ServiceSpec
from hermeion.memory import vllm as memory
from hermeion.memory.kv_cache import KvPrecision, kv_per_request
from hermeion.plans import KV_BLOCK, MemoryBudget, margin
from hermeion.units import GIB
from hermeion.variants import Variant
from hermeion.weights import published_bytes, stage_layers

NAME = "vllm"
LABEL = "vLLM"
RUNNABLE = True
DIVIDES_CACHE = False
VERSIONS = ("0.32.0", "0.33.0")
"""Versions whose options were checked, oldest first."""

IMAGE = "vllm/vllm-openai:v{version}"
CONTAINER_PORT = 8000
LOCAL_MODEL = "/models/local"
"""Where the container sees a model that lies in a folder of the host's own."""

USER = "2000:0"
"""User of the image (``vllm`` and group root)."""

UTILISATION = 0.92
"""vLLM's default share of GPU memory since 0.20; rendered all the same, so that a new default changes nothing."""

FREE_RESERVE = GIB // 4
"""Bytes that stay free on a GPU when the margin is taken from what vLLM leaves alone."""

MIN_DRIVER = 580
"""The images are built on CUDA 13, which needs this driver branch."""

MIN_CAPABILITY = (7, 5)

NATIVE_CAPABILITY = {
    "fp32": (7, 5),
    "fp16": (7, 5),
    "bf16": (8, 0),
    "int8": (7, 5),
    "fp8": (8, 9),
    "fp8-block": (8, 9),
    "mxfp4": (9, 0),
    "nvfp4": (10, 0),
}
"""Compute capability from which the kernels compute in a precision; below it, and for what is not listed, weights are
unpacked to 16 bits (``compressed_tensors`` schemes and ``kernels/linear`` of vLLM 0.32)."""

FP8_KV_CAPABILITY = (8, 9)
"""From here on every attention backend has an FP8 KV cache; Triton's refuses below it."""

KV_TOKENS = re.compile(r"[GC]PU KV cache size: ([\d,]+) tokens")
"""Where the log tells the size of the KV cache; the CPU build prints the same words."""


def _oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    return min(gpu.compute_capability for gpu in gpus)


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if vLLM can load the variant on these GPUs, else one sentence why not."""
    oldest = _oldest(gpus)
    capability = f"compute capability {oldest[0]}.{oldest[1]}"
    if variant.format.container == "gguf":
        return "vLLM reads GGUF files only with a plug-in that is not its own; llama.cpp and Ollama read them"
    if oldest < MIN_CAPABILITY:
        return f"{capability} is older than vLLM's minimum of 7.5"
    if variant.precision == "bf16" and oldest < (8, 0):
        return f"{capability} has no bf16 arithmetic"
    if variant.quant_method == "fbgemm_fp8":
        return "vLLM has given up the format fbgemm_fp8; take a compressed-tensors FP8 variant"
    return None


def is_native(variant: Variant, gpus: Sequence[Gpu]) -> bool:
    """Whether the GPUs compute in the variant's own precision, not only store it."""
    return _oldest(gpus) >= NATIVE_CAPABILITY.get(variant.precision, (99, 0))


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """What a person should know about the variant on these GPUs."""
    if is_native(variant, gpus):
        return ()
    major, minor = _oldest(gpus)
    return (
        f"weight-only: compute capability {major}.{minor} stores {variant.precision} weights and computes in 16 bits; "
        "this saves memory and not time",
    )


def layout(variant: Variant, count: int) -> Layout | str:
    """Tensor parallel where the heads can be split, else with a pipeline; or one sentence why not."""
    shape = variant.shape
    sizes = shape.tensor_parallel_sizes(count)
    tensor_parallel = max(size for size in sizes if count % size == 0)
    stages = count // tensor_parallel
    if stages > shape.layers:
        return f"{shape.layers} layers cannot be a pipeline of {stages} stages"
    return Layout(tensor_parallel, stages)


def kv_precisions(gpus: Sequence[Gpu]) -> tuple[KvPrecision, ...]:
    """16 bits, and FP8 where every backend has it."""
    return ("bf16", "fp8") if _oldest(gpus) >= FP8_KV_CAPABILITY else ("bf16",)


def _is_a100(gpu: Gpu) -> bool:
    return "A100" in gpu.model


def default_sequences(gpus: Sequence[Gpu]) -> int:
    """vLLM's ``max-num-seqs`` for the smallest of the GPUs."""
    return min(memory.default_sequences(gpu.memory, is_a100=_is_a100(gpu)) for gpu in gpus)


def batched_tokens(gpu: Gpu) -> int:
    """vLLM's ``max-num-batched-tokens`` of its OpenAI server for a GPU."""
    return memory.default_batched_tokens(gpu.memory, is_a100=_is_a100(gpu))


def smallest(gpus: Sequence[Gpu]) -> Gpu:
    """The GPU that limits the others."""
    return min(gpus, key=lambda gpu: gpu.cuda)


def utilisation(gpus: Sequence[Gpu], layout: Layout) -> float:
    """``gpu-memory-utilization``: vLLM's default, and so much of what it would leave alone as the margin needs.

    What has to stay free is the CUDA context, NCCL's buffers, and :data:`FREE_RESERVE`. What others hold (a desktop)
    is not there to be taken: vLLM refuses to start when less is free than its share.
    """
    device = smallest(gpus).cuda
    taken = max(gpu.memory - gpu.free for gpu in gpus)
    outside = memory.CONTEXT_FREE + (memory.NCCL_FREE if layout.tensor_parallel > 1 else 0) + FREE_RESERVE + taken
    most = (device - outside) / device
    return int(min(most, UTILISATION + margin(device) / device) * 1000) / 1000


def budget(
    variant: Variant, gpus: Sequence[Gpu], layout: Layout, load: Load, version: str | None = None
) -> MemoryBudget:
    """Memory on the fullest of the GPUs: the pipeline stage with the least room for the KV cache."""
    gpu = smallest(gpus)
    settings = memory.Settings(
        version=memory.parse_version(version or VERSIONS[-1]),
        utilisation=utilisation(gpus, layout),
        sequences=load.sequences,
        batched_tokens=batched_tokens(gpu),
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        kv_precision=load.kv_precision,
        element=4 if variant.precision == "fp32" else 2,
    )
    factor = variant.bytes / published_bytes(variant.shape, variant.format, settings.element)
    stages = (
        memory.vllm_budget(variant.shape, variant.format, gpu.cuda, settings, factor=factor, stage=stage)
        for stage in range(layout.pipeline_parallel)
    )
    return min(stages, key=lambda stage: stage.kv_cache / stage.kv_per_token)


def kv_needed(variant: Variant, gpus: Sequence[Gpu], layout: Layout, load: Load) -> int:
    """One request of the whole context, in whole blocks, and the block that vLLM keeps for itself.

    Each stage of a pipeline caches its own layers; a sliding-window layer also keeps what one step reads.
    """
    shape, step = variant.shape, batched_tokens(smallest(gpus))
    blocks = -(-load.context // KV_BLOCK) + 1
    whole = kv_per_request(shape, blocks * KV_BLOCK, load.kv_precision, layout.tensor_parallel, step)
    share = max(stage_layers(shape.layers, layout.pipeline_parallel)) / shape.layers
    return -int(-whole * share // 1)


def config(
    spec: ServiceSpec,
    variant: Variant,
    *,
    revision: str | None,
    gpus: Sequence[Gpu],
    layout: Layout,
    load: Load,
    served_names: Sequence[str],
) -> dict[str, Any]:
    """The configuration file, without keys. ``vllm serve --config`` refuses an unknown option (exit code 2)."""
    options: dict[str, Any] = {
        "model": LOCAL_MODEL if variant.path else variant.repo,
        **({} if variant.path else {"revision": revision}),
        "served-model-name": list(served_names),
        "host": "0.0.0.0",  # noqa: S104  # inside the container; published on 127.0.0.1 alone
        "port": CONTAINER_PORT,
        "tensor-parallel-size": layout.tensor_parallel,
        "max-model-len": load.context,
        "max-num-seqs": load.sequences,
        "max-num-batched-tokens": batched_tokens(smallest(gpus)),
        "gpu-memory-utilization": utilisation(gpus, layout),
        "shutdown-timeout": 60,
        "disable-fastapi-docs": True,
        "disable-access-log-for-endpoints": "/health,/metrics",
    }
    if layout.pipeline_parallel > 1:
        options["pipeline-parallel-size"] = layout.pipeline_parallel
    if load.kv_precision != "bf16":
        options["kv-cache-dtype"] = load.kv_precision
    if tool_parser := variant.tool_parsers.get(NAME):
        options |= {"enable-auto-tool-choice": True, "tool-call-parser": tool_parser}
    if reasoning_parser := variant.reasoning_parsers.get(NAME):
        options |= {
            "reasoning-parser": reasoning_parser,
            "default-chat-template-kwargs": {variant.thinking_switch or "thinking": spec.thinking},
        }
    if variant.sampling:
        options["override-generation-config"] = dict(variant.sampling)
    return options | spec.extra_args


def environment(start_seconds: int) -> dict[str, str]:
    """Environment of the container; no secret is in it."""
    return {
        "DO_NOT_TRACK": "1",
        "HF_HUB_CACHE": "/models/hub",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CACHE_ROOT": "/var/cache/vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(start_seconds),
        "VLLM_NO_USAGE_STATS": "1",
    }


def start_seconds(weights: int) -> int:
    """How long a start may take: reading the weights at 200 MB/s, half as much again, and 15 minutes."""
    return 900 + round(1.5 * weights / 200e6)


def printed_kv_tokens(log: str) -> int | None:
    """Tokens of KV cache as the engine printed them at its last start, or ``None``."""
    found = KV_TOKENS.findall(log)
    return int(found[-1].replace(",", "")) if found else None
