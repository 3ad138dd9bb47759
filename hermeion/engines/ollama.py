"""Ollama: llama.cpp's server behind Ollama's own API: what it accepts, how it is configured and asked.

Sources: Ollama 0.33 (``llm/llama_server.go``, ``server/{create,routes,images,model}.go``, ``manifest/*.go``,
``envconfig/config.go``, ``types/model/name.go``, ``openai/openai.go``, ``docs/gpu.mdx``), read and not run. From them:

It starts llama-server with ``OLLAMA_CONTEXT_LENGTH × OLLAMA_NUM_PARALLEL`` tokens of context and hands on its own
environment: its memory is llama.cpp's, and ``LLAMA_ARG_…`` reaches what it does not set itself.

Where a model has no template of Ollama's own kind, llama-server renders that of the GGUF file and reads tool calls
and thoughts. ``create`` would put in one of Ollama's 20, most of which know no tools, where the file's is nearly the
same as one of 37; :mod:`hermeion.engines.ollama_store` does not, and ``OLLAMA_GO_TEMPLATE=0`` passes over it.

``think`` and ``reasoning_effort`` of a request become ``enable_thinking`` in the template; Hermes reads ``thinking``,
and ``chat_template_kwargs`` of a request are dropped. So the service decides, and in a request the card's words do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hermeion.engines import llamacpp
from hermeion.engines.llamacpp_options import SAMPLING
from hermeion.engines.ollama_store import model_path, store_program
from hermeion.engines.options import normalise
from hermeion.engines.places import places_of
from hermeion.engines.protocol import KeysKind, NativeKind, Setup
from hermeion.errors import InventoryError
from hermeion.hosts import Gpu
from hermeion.plans import Service
from hermeion.variants import Variant

NAME = "ollama"
LABEL = "Ollama"
DIVIDES_CACHE = True
VERSIONS: tuple[str, ...] = ("0.33.3",)
"""The newest patch of the release whose options were read."""

IMAGE = "ollama/ollama:{version}"

MIN_DRIVER = 550

PORT = 11434
USER = "2000:0"
"""The image is made for root and needs nothing of it but a home folder to write in."""

NATIVE: NativeKind = "archive"
PROGRAM: tuple[str, ...] = ("bin/ollama", "serve")
ENTRY: tuple[str, ...] = ("serve",)
"""The image's entry point is ``ollama``."""

SHARES_MEMORY = False
KEYS: KeysKind = "none"
HEALTH = "/api/version"
LOADS_LATE = True
DEAD = ""
STOP_SECONDS = 10
PLANNED: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "gpus",
    "GGML_VK_VISIBLE_DEVICES": "gpus",
    "GPU_DEVICE_ORDINAL": "gpus",
    "HIP_VISIBLE_DEVICES": "gpus",
    "LLAMA_ARG_FIT": "the plan has counted the memory, and what it says is what is served",
    "LLAMA_ARG_FIT_TARGET": "the plan has counted the memory, and what it says is what is served",
    "OLLAMA_CONTEXT_LENGTH": "context",
    "OLLAMA_FLASH_ATTENTION": "the plan counts the memory of flash attention",
    "OLLAMA_GO_TEMPLATE": "tools and thinking need the model's own template",
    "OLLAMA_HOST": "services listen on 127.0.0.1",
    "OLLAMA_KV_CACHE_TYPE": "kv_precision",
    "OLLAMA_MAX_LOADED_MODELS": "a service holds one model",
    "OLLAMA_MODELS": "each service has a store of its own",
    "OLLAMA_NO_CLOUD": "a service answers from its own host",
    "OLLAMA_NUM_PARALLEL": "sequences",
    "OLLAMA_SCHED_SPREAD": "gpus",
    "ROCR_VISIBLE_DEVICES": "gpus",
}

OLD_CAPABILITY = (6, 2)
OLD_MIN_DRIVER = 570
"""GPUs up to that compute capability need this driver branch."""

PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$|\*")
"""In the name of one part of a GGUF file, or a pattern for all of them."""

PARAMETERS: Mapping[str, str] = {name: name for name in SAMPLING} | {"repetition_penalty": "repeat_penalty"}
"""What a card says, as Ollama's parameters (``Options`` in ``api/types.go``)."""

NEUTRAL: Mapping[str, int | float] = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
"""Of what a card does not say: Ollama's own defaults (0.9, 40, 0, 1.1) would be mixed into the card's."""


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if Ollama can load the variant on these GPUs, else one sentence why not."""
    if variant.format.container == "gguf" and any(PART.search(name) for name in variant.files):
        return f"Ollama reads a GGUF file in one piece, and {variant.name} comes in parts; llama.cpp reads those"
    return llamacpp.refusal(variant, gpus, LABEL)


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """What a person should know about the variant on these GPUs."""
    found = [
        *llamacpp.remarks(variant, gpus),
        "Ollama knows no keys: whoever reaches its port can use the model, and delete it until the next start",
    ]
    major, minor = llamacpp.oldest(gpus)
    if (major, minor) <= OLD_CAPABILITY:
        found.append(f"compute capability {major}.{minor} needs driver {OLD_MIN_DRIVER} or newer with Ollama's image")
    if variant.thinking_switch:
        found.append(
            "with Ollama the service decides whether the model thinks (thinking): a request can do so by the card's "
            "system prompt alone"
        )
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

start_seconds = llamacpp.start_seconds
read_log = llamacpp.read_log
"""Ollama passes on what llama-server says, at verbosity 4 and without prefixes."""


def config(setup: Setup) -> dict[str, Any]:
    """The model as it lies in the store.

    Raises:
        InventoryError: A served name is none that Ollama takes.
    """
    for name in setup.served_names:
        if model_path(name) is None:
            raise InventoryError(
                f"{setup.spec.name}: {name!r} is no name of a model for Ollama, which wants MODEL, MODEL:TAG or "
                "OWNER/MODEL:TAG of letters, digits and ._- (no tag 'cloud' or 'local'). Choose another served_names "
                "entry or engine."
            )
    known = {PARAMETERS[name]: value for name, value in setup.variant.sampling.items() if name in PARAMETERS}
    return {
        "capabilities": ["completion", "tools"] if setup.variant.tool_parsers else [],
        "parameters": {**NEUTRAL, **known} if known else {},
    }


def pinned(service: Service) -> dict[str, Any]:
    """The same: the weights are found by :func:`hermeion.engines.ollama_store.store_program`."""
    return service.config


def environment(setup: Setup) -> dict[str, str]:
    """Everything that Ollama's server is told, and llama-server through it."""
    load, places, spec = setup.load, setup.places, setup.spec
    extra = {name: _text(value) for name, value in normalise(NAME, setup.version, spec.extra_args).items()}
    found = {
        # It writes a key pair and CUDA's kernels into its home.
        "HOME": places.cache,
        "LLAMA_ARG_FIT": "off",
        "LLAMA_ARG_N_GPU_LAYERS": "all",
        "OLLAMA_CONTEXT_LENGTH": str(load.context),
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_GO_TEMPLATE": "0",
        "OLLAMA_HOST": f"{places.host}:{places.port}",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_KV_CACHE_TYPE": "f16" if load.kv_precision == "bf16" else load.kv_precision,
        "OLLAMA_LOAD_TIMEOUT": f"{setup.start_seconds}s",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_MODELS": f"{places.cache}/models",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NUM_PARALLEL": str(load.sequences),
    }
    if len(setup.gpus) > 1:
        # The scheduler would take as few GPUs as hold the model, and llama-server would split by free memory.
        found |= {
            "LLAMA_ARG_SPLIT_MODE": "layer",
            "LLAMA_ARG_TENSOR_SPLIT": ",".join("1" for _ in setup.gpus),
            "OLLAMA_SCHED_SPREAD": "1",
        }
    if switch := setup.variant.thinking_switch:
        found["LLAMA_ARG_CHAT_TEMPLATE_KWARGS"] = json.dumps({switch: spec.thinking})
    return {**found, **extra, **spec.environment}


def _text(value: str | float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def arguments(service: Service) -> tuple[str, ...]:  # noqa: ARG001  # the environment says everything
    """None."""
    return ()


def files(service: Service) -> dict[str, str]:
    """The program that lays out the store before each start; none as long as the weights are not known by name."""
    if not service.revision or any("*" in name for name in service.files):
        return {}
    return {"prepare.sh": store_program(service, places_of(service, PORT))}
