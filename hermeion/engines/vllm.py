"""vLLM: what it accepts, how much it takes, how it is configured and asked.

Sources: the parser and workers of vLLM 0.12.0, 0.32.0 and 0.33.0; docs 0.33.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hermeion.hosts import Gpu
from hermeion.inventory import ServiceSpec
from hermeion.memory import SMI_TO_CUDA, vllm_budget
from hermeion.plans import MemoryBudget
from hermeion.units import GIB
from hermeion.variants import Variant

NAME = "vllm"
VERSIONS = ("0.32.0", "0.33.0")
"""Versions whose options were checked, oldest first."""

IMAGE = "vllm/vllm-openai:v{version}"
CONTAINER_PORT = 8000
USER = "2000:0"
"""User of the image (``vllm`` and group root)."""

UTILISATION = 0.92
"""vLLM's default share of GPU memory since 0.20; rendered all the same, so that a new default changes nothing."""

MIN_DRIVER = 580
"""The images are built on CUDA 13, which needs this driver branch."""

MIN_CAPABILITY = (7, 5)

KV_TOKENS = re.compile(r"[GC]PU KV cache size: ([\d,]+) tokens")
"""Where the log tells the size of the KV cache; the CPU build prints the same words."""


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if vLLM can serve the variant on these GPUs, else one sentence why not."""
    shape, count = variant.shape, len(gpus)
    oldest = min(gpu.compute_capability for gpu in gpus)
    if oldest < MIN_CAPABILITY:
        return f"compute capability {oldest[0]}.{oldest[1]} is older than vLLM's minimum of 7.5"
    if variant.precision == "bf16" and oldest < (8, 0):
        return f"compute capability {oldest[0]}.{oldest[1]} has no bf16 arithmetic"
    if shape.heads % count:
        return f"{shape.heads} attention heads cannot be split over {count} GPUs"
    if shape.kv_heads % count and count % shape.kv_heads:
        return f"{shape.kv_heads} KV heads cannot be split over {count} GPUs"
    return None


def default_sequences(gpu: Gpu) -> int:
    """vLLM's ``max-num-seqs`` for a GPU (``engine/arg_utils.py``)."""
    return 1024 if gpu.memory >= 70 * GIB and "A100" not in gpu.model else 256


def batched_tokens(gpu: Gpu) -> int:
    """vLLM's ``max-num-batched-tokens`` of its OpenAI server for a GPU (``engine/arg_utils.py``)."""
    if gpu.memory >= 160 * GIB:
        return 16384
    return 8192 if gpu.memory >= 70 * GIB and "A100" not in gpu.model else 2048


def budget(variant: Variant, gpus: Sequence[Gpu], sequences: int) -> MemoryBudget:
    """Memory on the smallest of the GPUs."""
    smallest = min(gpus, key=lambda gpu: gpu.memory)
    return vllm_budget(
        variant,
        smallest.memory - SMI_TO_CUDA,
        tensor_parallel=len(gpus),
        sequences=sequences,
        batched_tokens=batched_tokens(smallest),
        utilisation=UTILISATION,
    )


def config(
    spec: ServiceSpec,
    variant: Variant,
    *,
    revision: str | None,
    gpus: Sequence[Gpu],
    context: int,
    sequences: int,
    served_names: Sequence[str],
) -> dict[str, Any]:
    """The configuration file, without keys. ``vllm serve --config`` refuses an unknown option (exit code 2)."""
    options: dict[str, Any] = {
        "model": variant.repo,
        "revision": revision,
        "served-model-name": list(served_names),
        "host": "0.0.0.0",  # noqa: S104  # inside the container; published on 127.0.0.1 alone
        "port": CONTAINER_PORT,
        "tensor-parallel-size": len(gpus),
        "max-model-len": context,
        "max-num-seqs": sequences,
        "max-num-batched-tokens": batched_tokens(min(gpus, key=lambda gpu: gpu.memory)),
        "gpu-memory-utilization": UTILISATION,
        "shutdown-timeout": 60,
        "disable-fastapi-docs": True,
        "disable-access-log-for-endpoints": "/health,/metrics",
    }
    if variant.tool_parser:
        options |= {"enable-auto-tool-choice": True, "tool-call-parser": variant.tool_parser}
    if variant.reasoning_parser:
        options |= {
            "reasoning-parser": variant.reasoning_parser,
            "default-chat-template-kwargs": {"thinking": spec.thinking},
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
