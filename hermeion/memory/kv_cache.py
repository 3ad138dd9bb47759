"""Size of the KV cache: what one token takes, and what one request of a length needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from hermeion.shapes import Shape

KvPrecision = Literal["bf16", "fp8", "fp32", "q8_0", "q4_0"]

ELEMENT_BYTES: dict[KvPrecision, float] = {"fp32": 4, "bf16": 2, "fp8": 1, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes of one cached element; llama.cpp's blocks of 32 carry a 2-byte scale."""


def longest_context(most: int, holds: Callable[[int], bool], step: int = 1) -> int:
    """The longest context for which ``holds`` is true, in tokens: ``most``, or a multiple of ``step`` below it.

    ``holds`` must not become true again once it was false.
    """
    if holds(most):
        return most
    low, high = 0, most // step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle * step) else (low, middle - 1)
    return low * step


def cached_layers(shape: Shape, layers: int | None = None) -> int:
    """Layers' worth of cache that vLLM allots for one token when sliding-window layers stand among others.

    Layers of one kind form groups of equal size, and the last group of a kind is filled up: Gemma 3 27B, with 10 full
    and 52 sliding layers, takes 7 groups of 10 (``kv_cache_utils.py``; the tokens it prints for 62 layers are those
    of 70).

    Args:
        layers: Layers of one pipeline stage. None: all.
    """
    share = 1.0 if layers is None else layers / shape.layers
    sliding = round(shape.sliding_layers * share)
    full = (shape.layers if layers is None else layers) - sliding
    if not sliding or not full:
        return sliding + full
    group = min(sliding, full)
    if max(sliding, full) < 1.25 * group:
        group = max(sliding, full)
    return group * (-(-sliding // group) - (-full // group))


def kv_per_token(
    shape: Shape, precision: KvPrecision = "bf16", tensor_parallel: int = 1, layers: int | None = None
) -> int:
    """Bytes of cache on each GPU for one token that every layer sees."""
    elements = cached_layers(shape, layers) * shape.kv_elements(tensor_parallel)
    return math.ceil(elements * ELEMENT_BYTES[precision])


def kv_per_request(
    shape: Shape, context: int, precision: KvPrecision = "bf16", tensor_parallel: int = 1, batched_tokens: int = 0
) -> int:
    """Bytes of cache on each GPU that one request of ``context`` tokens needs.

    A sliding-window layer keeps its window and the batch that is being read, not the whole context.

    Args:
        batched_tokens: Tokens that one step reads at most (``max-num-batched-tokens``).
    """
    element = shape.kv_elements(tensor_parallel) * ELEMENT_BYTES[precision]
    window = min(context, (shape.sliding_window or context) - 1 + batched_tokens)
    scale = cached_layers(shape) / shape.layers  # groups that are filled up
    tokens = shape.full_layers * context + shape.sliding_layers * window
    return math.ceil(tokens * element * scale)
