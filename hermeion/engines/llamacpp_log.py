"""What the log of llama-server says of its last start.

Lines are those of build 11669. At its own verbosity (3) it tells slots, context and failures; bytes of weights and
cache come with ``log-verbosity`` 4, which also shows the last four characters of a key and is therefore not asked for.
"""

from __future__ import annotations

import re

from hermeion.engines.failures import Failure, failure_of
from hermeion.engines.protocol import Said
from hermeion.units import MIB

START = re.compile(r"llama_server: initializing \.\.\.|starting llama-server")
"""First words of a start: llama-server's own, and Ollama's when it starts one."""

SLOTS = re.compile(r"initializing, n_slots = (\d+), n_ctx_slot = (\d+), kv_unified = '(true|false)'")
CELLS = re.compile(r"llama_kv_cache: size = +[\d.]+ MiB \( *(\d+) cells, +\d+ layers, +\d+/(\d+) seqs\)")
WEIGHTS = re.compile(r"load_tensors: +(\S+) model buffer size = +([\d.]+) MiB")
CACHE = re.compile(r"llama_kv_cache: +(\S+) KV buffer size = +([\d.]+) MiB")

FAILURES: tuple[Failure, ...] = (
    Failure(
        r"allocating (?P<a>[\d.]+ MiB) on device (?P<b>\d+): cudaMalloc failed: out of memory",
        "GPU {b} has no {a} left: see with nvidia-smi who else uses it, lower context or sequences, or raise gpus",
    ),
    Failure(
        r"cudaMalloc failed: out of memory|unable to allocate CUDA\d+ buffer|failed to allocate buffer for kv cache",
        "a GPU has too little free memory: see with nvidia-smi who else uses it, lower context or sequences, or raise "
        "gpus",
    ),
    Failure(
        r"CUDA driver version is insufficient for CUDA runtime version",
        "the NVIDIA driver is too old for the CUDA of this build: set upgrade in hermes_driver, or an image or archive "
        "that is built on an older CUDA",
    ),
    Failure(
        r"ggml_cuda_init: failed to initialize CUDA: (?P<a>.+)",
        "CUDA does not start ({a}), and it would go on without GPUs: see with nvidia-smi whether the driver answers",
    ),
    Failure(
        r"unknown model architecture: '(?P<a>[^']*)'",
        "this build does not know the architecture {a!r}: set a newer engine_version, or another variant",
    ),
    Failure(
        r"tensor '(?P<a>[^']*)' data is not within the file bounds",
        "the GGUF file is cut off ({a} lies beyond its end): remove it from hermes_cache, or from its folder (path), "
        "and deploy again",
    ),
    Failure(
        r"invalid magic characters|failed to read magic|failed to read header",
        "the file is no GGUF file, or a damaged one: remove it from hermes_cache, or from its folder (path), and "
        "deploy again",
    ),
    Failure(
        r"failed to open GGUF file '(?P<a>[^']*)' \((?P<b>[^)]*)\)",
        "{a} cannot be opened ({b}): check variant, and in hermes_catalog path and files",
    ),
    Failure(
        r"couldn't bind HTTP server socket, hostname: (?P<a>\S+), port: (?P<b>\d+)",
        "port {b} of {a} is taken: set another port, or stop who listens there (ss -ltnp)",
    ),
    Failure(
        r"listen tcp (?P<a>\S+): bind: address already in use",
        "{a} is taken: set another port, or stop who listens there",
    ),
    Failure(
        r"error: invalid argument: (?P<a>\S+)",
        "this build does not know {a}: remove it from extra_args, or set another engine_version",
    ),
    Failure(
        r"\"--api-key-file\": error: failed to open file",
        "its keys cannot be read: see that /etc/hermeion/<service>/api-keys is root's and holds a key, and deploy "
        "again",
    ),
    Failure(
        r"error while handling argument \"--(?P<a>[^\"]+)\": (?P<b>[^\n]+)",
        "it does not take the value of {a} ({b}): correct it in extra_args",
    ),
)
"""Patterns, the most telling first, each with its sentence."""


def last_start(log: str) -> str:
    """The log from the beginning of the last start that it shows; all of it if it shows none."""
    begun = [match.start() for match in START.finditer(log)]
    return log[begun[-1] :] if begun else log


def _largest(pattern: re.Pattern[str], log: str) -> int | None:
    """Bytes on the device that has most; GPUs before the host, whose part is a mapped file."""
    sizes = [(not device.startswith("CPU"), round(float(mib) * MIB)) for device, mib in pattern.findall(log)]
    return max(sizes)[1] if sizes else None


def read_log(log: str) -> Said:
    """What the log tells of the last start."""
    own = last_start(log)
    slots, cells = SLOTS.search(own), CELLS.search(own)
    kv_tokens = None
    if cells:
        kv_tokens = int(cells[1]) * int(cells[2])
    elif slots and slots[3] == "false":
        kv_tokens = int(slots[1]) * int(slots[2])
    return Said(
        kv_tokens=kv_tokens,
        kv_bytes=_largest(CACHE, own),
        weights_bytes=_largest(WEIGHTS, own),
        context=int(slots[2]) if slots else None,
        failure=failure_of(own, FAILURES),
    )
