"""Ollama: llama.cpp's server behind Ollama's own API. It is planned, not started.

Sources: ``llm/llama_server.go``, ``envconfig/config.go`` and ``docs/gpu.mdx`` of Ollama 0.33. It starts llama-server
with ``OLLAMA_CONTEXT_LENGTH × OLLAMA_NUM_PARALLEL`` tokens of context and hands on its own environment,
``LLAMA_ARG_TENSOR_SPLIT`` included: its memory is llama.cpp's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hermeion.engines import llamacpp
from hermeion.hosts import Gpu
from hermeion.variants import Variant

NAME = "ollama"
LABEL = "Ollama"
RUNNABLE = False
DIVIDES_CACHE = True
VERSIONS: tuple[str, ...] = ("0.33.3",)
"""The newest patch of the release whose options were read."""

IMAGE = "ollama/ollama:{version}"

MIN_DRIVER = 550

OLD_CAPABILITY = (6, 2)
OLD_MIN_DRIVER = 570
"""GPUs up to that compute capability need this driver branch."""

SPLIT_FILE = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
"""Name of one part of a GGUF file."""


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if Ollama can load the variant on these GPUs, else one sentence why not."""
    return llamacpp.refusal(variant, gpus, LABEL)


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """What a person should know about the variant on these GPUs."""
    found = list(llamacpp.remarks(variant, gpus))
    major, minor = llamacpp.oldest(gpus)
    if (major, minor) <= OLD_CAPABILITY:
        found.append(f"compute capability {major}.{minor} needs driver {OLD_MIN_DRIVER} or newer with Ollama's image")
    if any(SPLIT_FILE.search(name) for name in variant.files):
        found.append("Ollama merges the parts of the GGUF file into a new file: the weights are on the disk twice")
    return tuple(found)


def default_sequences(gpus: Sequence[Gpu]) -> int:  # noqa: ARG001  # the same on all of them
    """Ollama's ``OLLAMA_NUM_PARALLEL``."""
    return 1


is_native = llamacpp.is_native
layout = llamacpp.layout
kv_precisions = llamacpp.kv_precisions
"""Q8_0 needs flash attention (``OLLAMA_FLASH_ATTENTION=1``)."""
budget = llamacpp.budget
kv_needed = llamacpp.kv_needed
