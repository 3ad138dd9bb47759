"""llama-server's command line: what the plan sets of it, sampling, and options as words.

Source: ``llama-server --help`` of build 11669, and what its parser does: an option's value is the word after it,
whatever that begins with, even empty; ``--option=value`` is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hermeion.engines.tables import Table

PLANNED: Mapping[str, str] = {
    "alias": "served_names",
    "api-key": "keys are lines of /etc/hermeion/<service>/api-keys on the host",
    "api-key-file": "keys are lines of /etc/hermeion/<service>/api-keys on the host",
    "api-prefix": "services answer under /v1",
    "batch-size": "the plan counts the buffers of a step of 512 tokens",
    "cache-type-k": "kv_precision",
    "cache-type-v": "kv_precision",
    "chat-template-kwargs": "thinking",
    "ctx-size": "context and sequences",
    "device": "gpus",
    "docker-repo": "model and variant",
    "fit": "the plan has counted the memory, and what it says is what is served",
    "fit-ctx": "context",
    "fit-target": "the plan has counted the memory, and what it says is what is served",
    "flash-attn": "the plan counts the memory of flash attention",
    "hf-file": "model and variant",
    "hf-repo": "model and variant",
    "hf-token": "weights are pulled before the engine starts",
    "host": "services listen on 127.0.0.1",
    "jinja": "tools and thinking need the model's own template",
    "kv-offload": "the plan puts the cache on the GPUs",
    "kv-unified": "context and sequences",
    "kv-unified-per-slot": "context and sequences",
    "main-gpu": "gpus",
    "mcp-servers-config": "it would let requests act on the host",
    "mcp-servers-json": "it would let requests act on the host",
    "model": "model and variant",
    "model-url": "model and variant",
    "models-dir": "model and variant",
    "models-preset": "model and variant",
    "n-gpu-layers": "the plan puts every layer on the GPUs",
    "offline": "weights are pulled before the engine starts",
    "parallel": "sequences",
    "port": "port",
    "props": "it would let requests change the settings of others",
    "split-mode": "gpus",
    "tensor-split": "gpus",
    "tools-runtime": "it would let requests act on the host",
    "ubatch-size": "the plan counts the buffers of a step of 512 tokens",
}
"""Options that the plan sets, or would have to know of, each with what decides instead."""

SAMPLING: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top-p",
    "top_k": "top-k",
    "min_p": "min-p",
    "repetition_penalty": "repeat-penalty",
    "presence_penalty": "presence-penalty",
    "frequency_penalty": "frequency-penalty",
}
"""What a card says, in the words of ``generation_config.json``, as options."""

NEUTRAL: Mapping[str, int | float] = {"top-p": 1.0, "top-k": 0, "min-p": 0.0, "repeat-penalty": 1.0}
"""Of what a card does not say: llama-server's own defaults (0.95, 40, 0.05) would be mixed into the card's."""


def sampling_options(sampling: Mapping[str, int | float]) -> dict[str, int | float]:
    """The card's sampling as server defaults, which a request overrides. No sampling: the engine's own defaults."""
    known = {SAMPLING[name]: value for name, value in sampling.items() if name in SAMPLING}
    return {**NEUTRAL, **known} if known else {}


def words(known: Table, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options as words, sorted. ``False`` is ``--no-…`` where there is one; else the flag is left out."""
    found: list[str] = []
    for name, value in sorted(options.items()):
        option = known.find(name)
        if value is True:
            found.append(f"--{name}")
        elif value is not False:
            found += [f"--{name}", str(value)]
        elif option and f"no-{name}" in option.aliases:
            found.append(f"--no-{name}")
    return tuple(found)
