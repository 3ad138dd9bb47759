"""What SGLang's log says of its last start.

Lines are those of 0.5.23. With ``log-level`` ``warning``, which the plan gives because INFO shows the keys, it tells
its failures and nothing of its memory: that is in ``/metrics``.
"""

from __future__ import annotations

import re

from hermeion.engines.failures import Failure, failure_of
from hermeion.engines.protocol import Said
from hermeion.engines.python_failures import PYTHON_FAILURES
from hermeion.units import GIB

READY = "The server is fired up and ready to roll!"

START = re.compile(r"^.*server_args=", re.MULTILINE)
"""The line that a start begins with at INFO."""

POOL = re.compile(r"max_total_num_tokens=(\d+), .*?context_len=(\d+)")
KV_SIZES = re.compile(
    r"KV Cache is allocated\. .*?#tokens: \d+, (?:K size: ([\d.]+) GB, V size: )?(?:KV size: )?([\d.]+) GB"
)
WEIGHTS = re.compile(r"Load weight end\..*?mem usage=([\d.]+) GB")

FAILURES: tuple[Failure, ...] = (
    Failure(
        r"Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=(?P<a>\d\.\d+)",
        "the weights leave no room for a KV cache in {a} of a GPU's memory: see with nvidia-smi who else uses it, "
        "raise gpus, or choose a smaller variant",
    ),
    Failure(
        r"Not enough memory\. Please try to increase --mem-fraction-static",
        "the weights leave no room for a KV cache: see with nvidia-smi who else uses the GPUs, raise gpus, or choose a "
        "smaller variant",
    ),
    Failure(
        r"Unsupported config option '(?P<a>[^']+)'",
        "SGLang does not take {a} from a configuration file: remove it from extra_args",
    ),
    *PYTHON_FAILURES,
)


def read_log(log: str) -> Said:
    """What the log tells of the last start; of one that came up there is no failure until a GPU or the engine dies."""
    begun = [match.start() for match in START.finditer(log)]
    own = log[begun[-1] :] if begun else log
    pool, sizes, weights = POOL.findall(own), KV_SIZES.findall(own), WEIGHTS.findall(own)
    return Said(
        kv_tokens=int(pool[-1][0]) if pool else None,
        kv_bytes=round(sum(float(size) for size in sizes[-1] if size) * GIB) if sizes else None,
        weights_bytes=round(float(weights[-1]) * GIB) if weights else None,
        context=int(pool[-1][1]) if pool else None,
        failure=failure_of(own.rpartition(READY)[2], FAILURES),
    )
