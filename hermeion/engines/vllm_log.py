"""What vLLM's log says of its last start. Lines are those of 0.12 to 0.33; the CPU build prints the same."""

from __future__ import annotations

import re

from hermeion.engines.failures import Failure, failure_of
from hermeion.engines.protocol import Said
from hermeion.engines.python_failures import PYTHON_FAILURES
from hermeion.units import GIB

START = re.compile(r"^.*non-default args:", re.MULTILINE)
"""The line that a start begins with, once its arguments were read."""

READY = "Application startup complete"

KV_TOKENS = re.compile(r"[GC]PU KV cache size: ([\d,]+) tokens")
KV_CACHE = re.compile(r"Available KV cache memory: ([\d.]+) GiB|Explicitly set \(([\d.]+)/[\d.]+\) GiB for KV cache")
WEIGHTS = re.compile(r"Model loading took ([\d.]+) GiB")
CONTEXT = re.compile(
    r"Auto-fit max_model_len: reduced from \d+ to (\d+)|full model context length (\d+) fits|"
    r"Maximum concurrency for ([\d,]+) tokens per request|Using max model len (\d+)"
)

FAILURES: tuple[Failure, ...] = (
    Failure(
        r"max seq len \((?P<a>\d+)\), \((?P<b>[\d.]+) GiB KV cache is needed, which is larger than the available KV "
        r"cache memory \((?P<c>[\d.]+) GiB\)[^\n]*?estimated maximum model length is (?P<d>\d+)",
        "a context of {a} tokens needs {b} GiB of KV cache, and {c} GiB are there: set context = {d} or less, and "
        "min_context no higher",
    ),
    Failure(
        r"max seq len \((?P<a>\d+)\), \((?P<b>[\d.]+) GiB KV cache is needed, which is larger than the available KV "
        r"cache memory \((?P<c>[\d.]+) GiB\)",
        "a context of {a} tokens needs {b} GiB of KV cache, and {c} GiB are there: lower context, or raise gpus",
    ),
    Failure(
        r"No available memory for the cache blocks|Cannot auto-fit max_model_len",
        "the weights leave no room for a KV cache: lower sequences, raise gpus, or choose a smaller variant",
    ),
    Failure(
        r"(?:Free memory on device|Available memory on node) (?:\S+ )?\((?P<a>[\d.]+)/(?P<b>[\d.]+) GiB\) on "
        r"startup is less than desired [GC]PU memory utilization \([\d.]+, (?P<c>[\d.]+) GiB\)",
        "{a} of {b} GiB are free, and {c} GiB are wanted: see with nvidia-smi who else uses the GPU, and deploy again "
        "(the plan leaves others their part)",
    ),
    Failure(
        r"invalid (?P<a>tool call parser|reasoning parser): ?(?P<b>\S+)",
        "this version has no {a} {b}: correct it in hermes_catalog",
    ),
    Failure(
        r"Reasoning parser '(?P<a>[^']+)' not found",
        "this version has no reasoning parser {a}: correct it in hermes_catalog",
    ),
    *PYTHON_FAILURES,
    Failure(
        r"WorkerProc initialization failed",
        "one of its processes failed while it started, and the log does not say why: with several GPUs most often for "
        "memory (see with nvidia-smi who else uses them) or for a damaged file of the weights",
    ),
)


def last_start(log: str) -> str:
    """The log from the beginning of the last start that it shows; all of it if it shows none."""
    begun = [match.start() for match in START.finditer(log)]
    return log[begun[-1] :] if begun else log


def _number(found: list[tuple[str, ...]] | list[str]) -> str | None:
    """The last match's group that is not empty, without its commas."""
    if not found:
        return None
    last = found[-1]
    return (last if isinstance(last, str) else next(group for group in last if group)).replace(",", "")


def read_log(log: str) -> Said:
    """What the log tells of the last start; of one that came up there is no failure until a GPU or the engine dies."""
    own = last_start(log)
    tokens, cache, weights, context = (
        _number(pattern.findall(own)) for pattern in (KV_TOKENS, KV_CACHE, WEIGHTS, CONTEXT)
    )
    return Said(
        kv_tokens=int(tokens) if tokens else None,
        kv_bytes=round(float(cache) * GIB) or None if cache else None,
        weights_bytes=round(float(weights) * GIB) if weights else None,
        context=int(context) if context else None,
        failure=failure_of(own.rpartition(READY)[2], FAILURES),
    )
