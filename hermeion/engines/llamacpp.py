"""llama.cpp's server: what it accepts, how much it takes, how it is configured and asked.

Sources: the options of llama-server, build 11669, and what it was seen to do; the code of llama.cpp;
``.devops/cuda.Dockerfile``.

A GGUF file brings its chat template. Where one has lost the tools, another goes in as text:
``extra_args: {"chat-template": Path("template.jinja").read_text()}``; ``GET /props`` says in ``chat_template_caps``
what the server found in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hermeion.engines import llamacpp_log, llamacpp_options
from hermeion.engines.llamacpp_options import SAMPLING, sampling_options, words
from hermeion.engines.options import normalise
from hermeion.engines.places import model_file, places_of
from hermeion.engines.protocol import KeysKind, Layout, Load, NativeKind, Setup
from hermeion.engines.tables import table
from hermeion.hosts import Gpu
from hermeion.memory import llamacpp as memory
from hermeion.memory.kv_cache import KvPrecision
from hermeion.plans import MemoryBudget, Service
from hermeion.variants import Variant

NAME = "llamacpp"
LABEL = "llama.cpp"
DIVIDES_CACHE = True
VERSIONS: tuple[str, ...] = ("b11669",)
"""Builds whose options were read."""

IMAGE = "ghcr.io/ggml-org/llama.cpp:server-cuda-{version}"

MIN_DRIVER = 525
"""The image is built on CUDA 12.8, which runs on this driver branch too (minor-version compatibility)."""

PORT = 8080
"""Given on the command line: its default has moved from 8080 to 9931."""

USER = "2000:0"
"""The image is made for root and needs nothing of it."""

NATIVE: NativeKind = "archive"
PROGRAM: tuple[str, ...] = ("llama-server",)
ENTRY: tuple[str, ...] = ()
"""The image's entry point is ``llama-server``."""

SHARES_MEMORY = False
KEYS: KeysKind = "file"
HEALTH = "/health"
"""503 while it loads, then 200."""

LOADS_LATE = False
DEAD = ""
STOP_SECONDS = 10
PLANNED: Mapping[str, str] = llamacpp_options.PLANNED

MIN_CAPABILITY = (5, 0)

DEFAULT_SEQUENCES = 4
"""Slots of llama-server if ``--parallel`` is not given."""


def oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    """The lowest compute capability."""
    return min(gpu.compute_capability for gpu in gpus)


def refusal(variant: Variant, gpus: Sequence[Gpu], label: str) -> str | None:
    """``None`` if llama.cpp can load the variant on these GPUs, else one sentence why not.

    Args:
        label: Name of the engine that runs it.
    """
    major, minor = oldest(gpus)
    if variant.format.container != "gguf":
        return f"{label} reads GGUF files alone; {variant.name} is {variant.precision} in safetensors"
    if (major, minor) < MIN_CAPABILITY:
        return f"compute capability {major}.{minor} is older than {label}'s minimum of 5.0"
    return None


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if llama.cpp can load the variant on these GPUs, else one sentence why not."""
    return refusal(variant, gpus, LABEL)


def is_native(variant: Variant, gpus: Sequence[Gpu]) -> bool:  # noqa: ARG001  # the same on all of them
    """Whether the GPUs compute in the variant's own precision: quantised weights are multiplied as 8-bit integers."""
    return not variant.format.is_quantised


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """What a person should know about the variant on these GPUs."""
    found = []
    if len(gpus) > 1:
        found.append(f"layers are split over {len(gpus)} GPUs: one request is no faster than on one GPU")
    if unknown := [name for name in variant.sampling if name not in SAMPLING]:
        found.append(f"no sampling default for {', '.join(unknown)}: this engine has no such option")
    return tuple(found)


def layout(variant: Variant, count: int) -> Layout | str:
    """Whole layers on each GPU; or one sentence with the numbers that work."""
    layers = variant.shape.layers
    if count > layers:
        return f"{layers} layers cannot be split over {count} GPUs; 1 to {layers} work"
    return Layout(1, count)


def kv_precisions(gpus: Sequence[Gpu]) -> tuple[KvPrecision, ...]:  # noqa: ARG001  # the same on all of them
    """16 bits (f16 here) and 8; Q4_0 is left out, for answers suffer from it."""
    return ("bf16", "q8_0")


def default_sequences(gpus: Sequence[Gpu]) -> int:  # noqa: ARG001  # the same on all of them
    """llama-server's own number of slots."""
    return DEFAULT_SEQUENCES


def _settings(load: Load) -> memory.Settings:
    return memory.Settings(load.context, load.sequences, load.kv_precision)


def budget(
    variant: Variant,
    gpus: Sequence[Gpu],
    layout: Layout,  # noqa: ARG001  # one part of the layers for each GPU
    load: Load,
    version: str | None = None,  # noqa: ARG001  # one build was read
) -> MemoryBudget:
    """Memory on the GPU with the least room for its layers' cache."""
    devices = [memory.Device(total=gpu.cuda, free=gpu.free) for gpu in gpus]
    return memory.llamacpp_budget(variant.shape, variant.format, variant.bytes, devices, _settings(load))


def kv_needed(
    variant: Variant,
    gpus: Sequence[Gpu],  # noqa: ARG001  # the same on all of them
    layout: Layout,
    load: Load,
) -> int:
    """The whole context of every request: llama-server allots it at the start."""
    return memory.kv_bytes(variant.shape, _settings(load), layout.gpus)


def start_seconds(weights: int) -> int:
    """How long a start may take: reading the weights at 200 MB/s, half as much again, and 5 minutes."""
    return 300 + round(1.5 * weights / 200e6)


def config(setup: Setup) -> dict[str, Any]:
    """The options, by their long names; a flag is ``True`` or ``False``."""
    load, places, spec, variant = setup.load, setup.places, setup.spec, setup.variant
    options: dict[str, Any] = {
        "model": None,
        "alias": ",".join(setup.served_names),
        "host": places.host,
        "port": places.port,
        "api-key-file": places.keys,
        "ctx-size": load.context * load.sequences,
        "parallel": load.sequences,
        # A part of its own for each request, so that one long request takes nothing from the others.
        "kv-unified": False,
        "n-gpu-layers": "all",
        # It would shrink the context rather than say that something else holds the GPU.
        "fit": "off",
        "flash-attn": "on",
        "metrics": True,
        "slots": False,
        "ui": False,
        "offline": True,
        "jinja": True,
        **sampling_options(variant.sampling),
    }
    if load.kv_precision != "bf16":
        options |= {"cache-type-k": load.kv_precision, "cache-type-v": load.kv_precision}
    if len(setup.gpus) > 1:
        # Without it the layers go by free memory, which the plan does not know at the hour of the start.
        options |= {"split-mode": "layer", "tensor-split": ",".join("1" for _ in setup.gpus)}
    if variant.thinking_switch:
        options["chat-template-kwargs"] = json.dumps({variant.thinking_switch: spec.thinking})
        options["reasoning-format"] = "deepseek"
    return options | normalise(NAME, setup.version, spec.extra_args)


def pinned(service: Service) -> dict[str, Any]:
    """The options with the path of the weights, which has the commit in it."""
    return {**service.config, "model": str(model_file(places_of(service, PORT), service))}


def environment(setup: Setup) -> dict[str, str]:
    """Environment of the process; no secret is in it."""
    return {"LLAMA_CACHE": setup.places.cache, **setup.spec.environment}


def arguments(service: Service) -> tuple[str, ...]:
    """The options as words, sorted."""
    return words(table(NAME, service.engine_version), service.config)


def files(service: Service) -> dict[str, str]:  # noqa: ARG001  # the command line is everything
    """None."""
    return {}


read_log = llamacpp_log.read_log
