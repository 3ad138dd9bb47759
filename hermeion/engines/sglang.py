"""SGLang: what it accepts, how much it takes, how it is configured and asked.

Sources: ``server_args.py``, ``layers/quantization`` and ``models/registry.py`` of SGLang 0.5.23. Options by version:
``tables``. Told to stop, it takes no more requests and waits for those in flight as long as systemd lets it
(``sigterm_watchdog`` in ``managers/tokenizer_manager.py``); a scheduler that hangs for ``watchdog-timeout`` (300 s) is
killed by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hermeion.engines import sglang_log
from hermeion.engines.config_files import sglang_yaml
from hermeion.engines.options import THINKING, check_parsers, known_only, normalise
from hermeion.engines.places import places_of
from hermeion.engines.protocol import KeysKind, Layout, Load, NativeKind, Setup
from hermeion.engines.tables import Table, table, versions
from hermeion.hosts import Gpu
from hermeion.memory import sglang as memory
from hermeion.memory.kv_cache import KvPrecision
from hermeion.plans import MemoryBudget, Service, margin
from hermeion.variants import Variant

NAME = "sglang"
LABEL = "SGLang"
DIVIDES_CACHE = False
VERSIONS = versions(NAME)
"""Versions whose options were read, oldest first."""

IMAGE = "lmsysorg/sglang:v{version}"

MIN_DRIVER = 580
"""The image is built on CUDA 13, which needs this driver branch."""

PORT = 30000
USER = "0:0"
"""The image is made for root: its kernels are compiled into root's own folders."""

NATIVE: NativeKind = "venv"
PROGRAM: tuple[str, ...] = ("bin/python", "-m", "sglang.launch_server")
ENTRY: tuple[str, ...] = ("python3", "-m", "sglang.launch_server")
"""The image has no entry point of its own."""

SHARES_MEMORY = True
KEYS: KeysKind = "first"
HEALTH = "/health"
"""It generates a token; 503 while it starts and stops."""

LOADS_LATE = False
DEAD = ""
STOP_SECONDS = 60
PLANNED: Mapping[str, str] = {
    "admin-api-key": "keys are lines of /etc/hermeion/<service>/api-keys on the host",
    "api-key": "keys are lines of /etc/hermeion/<service>/api-keys on the host",
    "chunked-prefill-size": "the plan computes it from the GPUs",
    "config": "the plan writes the configuration file",
    "context-length": "context",
    "cuda-graph-max-bs": "the plan computes it from the GPUs",
    "cuda-graph-max-bs-decode": "the plan computes it from the GPUs",
    "default-chat-template-kwargs": "thinking; a request says more with chat_template_kwargs",
    "download-dir": "weights are pulled before, into hermes_cache",
    "enable-metrics": "checks read the metrics",
    "host": "services listen on 127.0.0.1",
    "kv-cache-dtype": "kv_precision",
    "max-running-requests": "sequences",
    "max-total-tokens": "the plan computes the KV cache",
    "mem-fraction-static": "the plan computes it from the GPUs",
    "model-path": "model and variant",
    "port": "port",
    "pp-size": "gpus",
    "reasoning-parser": "reasoning_parser in hermes_catalog",
    "revision": "hermes_catalog's revision",
    "served-model-name": "served_names",
    "tool-call-parser": "tool_parser in hermes_catalog",
    "tp-size": "gpus",
    "trust-remote-code": "code from a model's repository is never run",
}

MIN_CAPABILITY = (8, 0)
"""The kernels of the image begin here, those that unpack FP8 and NVFP4 weights too."""

NATIVE_CAPABILITY = {
    "fp16": (8, 0),
    "bf16": (8, 0),
    "int8": (8, 0),
    "fp8": (8, 9),
    "fp8-block": (8, 9),
    "mxfp4": (10, 0),
    "nvfp4": (10, 0),
}
"""Compute capability from which the kernels compute in a precision; what is not listed is unpacked to 16 bits."""

FP8_KV_CAPABILITY = (8, 9)

BLOCK = 128
"""Rows and columns of an FP8 block, which is never split (``is not divisible by weight quantization block_n``)."""

PAGE = 64
"""Tokens of the largest page of the KV cache that a default attention backend takes; one page is SGLang's own."""

TRANSFORMERS_FALLBACK = frozenset({"SeedOssForCausalLM"})
"""Architectures of the catalogue that SGLang itself does not implement (``models/registry.py``)."""


def _oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    return min(gpu.compute_capability for gpu in gpus)


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if SGLang can load the variant on these GPUs, else one sentence why not."""
    major, minor = _oldest(gpus)
    if variant.format.container == "gguf":
        return "GGUF files are planned for llama.cpp and Ollama, not for SGLang"
    if (major, minor) < MIN_CAPABILITY:
        return f"compute capability {major}.{minor} is older than SGLang's practical minimum of 8.0"
    if variant.quant_method == "fbgemm_fp8":
        return "SGLang has no format fbgemm_fp8; take a compressed-tensors FP8 variant"
    return None


def is_native(variant: Variant, gpus: Sequence[Gpu]) -> bool:
    """Whether the GPUs compute in the variant's own precision, not only store it."""
    return _oldest(gpus) >= NATIVE_CAPABILITY.get(variant.precision, (99, 0))


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """What a person should know about the variant on these GPUs."""
    found: list[str] = []
    if variant.precision in NATIVE_CAPABILITY and not is_native(variant, gpus):
        major, minor = _oldest(gpus)
        found.append(
            f"weight-only: compute capability {major}.{minor} stores {variant.precision} weights and computes in "
            "16 bits: no speed-up, memory saving only"
        )
    if variant.precision == "fp32":
        found.append("SGLang loads 32-bit weights as fp16")
    if variant.shape.architecture in TRANSFORMERS_FALLBACK:
        found.append(
            f"SGLang does not implement {variant.shape.architecture} and falls back to the Transformers backend, "
            "which is slower"
        )
    return tuple(found)


def _tensor_parallel_sizes(variant: Variant, most: int) -> tuple[int, ...]:
    """Numbers of GPUs, up to ``most``, over which heads and, where weights have them, FP8 blocks can be split."""
    shape = variant.shape
    sizes = shape.tensor_parallel_sizes(most)
    if variant.precision != "fp8-block":
        return sizes
    widths = [shape.intermediate] if shape.moe_layers < shape.layers else []
    if shape.experts:
        widths += [shape.experts.intermediate, shape.experts.shared_intermediate]
    return tuple(size for size in sizes if size == 1 or all(width % (size * BLOCK) == 0 for width in widths))


def layout(variant: Variant, count: int) -> Layout | str:
    """Tensor parallel where heads can be split, else with a pipeline; or one sentence with the numbers that work."""
    sizes = _tensor_parallel_sizes(variant, count)
    tensor_parallel = max(size for size in sizes if count % size == 0)
    stages = count // tensor_parallel
    if stages > variant.shape.layers:
        return (
            f"{variant.shape.layers} layers cannot be a pipeline of {stages} stages; without one, these numbers of "
            f"GPUs work: {', '.join(map(str, sizes))}"
        )
    return Layout(tensor_parallel, stages)


def kv_precisions(gpus: Sequence[Gpu]) -> tuple[KvPrecision, ...]:
    """16 bits, and FP8 where the GPUs compute in it."""
    return ("bf16", "fp8") if _oldest(gpus) >= FP8_KV_CAPABILITY else ("bf16",)


def default_sequences(gpus: Sequence[Gpu]) -> int:
    """As many requests as have a CUDA graph by default: SGLang's own limit, 2048 and more, follows from the cache."""
    return memory.default_decode_batch(min(gpu.memory for gpu in gpus), len(gpus))


def _settings(gpus: Sequence[Gpu], layout: Layout, load: Load) -> memory.Settings:
    least = min(gpu.memory for gpu in gpus)
    return memory.default_settings(least, layout.tensor_parallel, layout.pipeline_parallel, load.kv_precision)


def budget(
    variant: Variant,
    gpus: Sequence[Gpu],
    layout: Layout,
    load: Load,
    version: str | None = None,  # noqa: ARG001  # one version was read
) -> MemoryBudget:
    """Memory on the fullest of the GPUs.

    The number of requests does not change it: what a batch takes is in SGLang's reserve.
    """
    settings = _settings(gpus, layout, load)
    # 32-bit weights arrive as 16 bits.
    published = variant.bytes // 2 if variant.precision == "fp32" else variant.bytes
    device = min(gpu.cuda for gpu in gpus)
    # SGLang's share is one of what is free when it starts: what others hold is not there.
    free = min(gpu.cuda - (gpu.memory - gpu.free) for gpu in gpus)
    found = memory.fullest_stage(variant.shape, variant.format, free, settings, published=published)
    return found.model_copy(update={"device": device, "margin": margin(device)})


def kv_needed(
    variant: Variant,
    gpus: Sequence[Gpu],  # noqa: ARG001  # the same on all of them
    layout: Layout,
    load: Load,
) -> int:
    """One request of the whole context in whole pages, and the page that SGLang keeps for itself.

    SGLang starts with less, and then refuses long requests.
    """
    pages = -(-load.context // PAGE) + 1
    layers = max(memory.pipeline_layers(variant.shape.layers, layout.pipeline_parallel))
    return pages * PAGE * memory.kv_per_token(variant.shape, layers, layout.tensor_parallel, load.kv_precision)


def start_seconds(weights: int) -> int:
    """How long a start may take: reading the weights at 200 MB/s, half as much again, and 15 minutes."""
    return 900 + round(1.5 * weights / 200e6)


def _memory_options(setup: Setup, known: Table) -> dict[str, Any]:
    """What the plan's memory follows from, given so that a new default changes nothing."""
    settings = _settings(setup.gpus, setup.layout, setup.load)
    graphs = "cuda-graph-max-bs-decode"  # before 0.5.14 without its last word
    return {
        "mem-fraction-static": round(memory.static_fraction(setup.variant.shape, settings), 3),
        "chunked-prefill-size": settings.chunked_prefill,
        graphs if graphs in known.options else "cuda-graph-max-bs": settings.max_decode_batch,
    }


def config(setup: Setup) -> dict[str, Any]:
    """The options of the version, without keys.

    The model's own ``generation_config.json`` has the sampling defaults of chat requests; those of the plan are for
    SGLang's own API (``to_sampling_params`` in ``entrypoints/openai/protocol.py``).

    Raises:
        InventoryError: The version has no such tool or reasoning parser.
    """
    variant, layout, load, places = setup.variant, setup.layout, setup.load, setup.places
    known = table(NAME, setup.version)
    check_parsers(f"hermes_catalog/{variant.model}", variant, known)
    options: dict[str, Any] = {
        "model-path": places.local if variant.path else variant.repo,
        **({} if variant.path else {"revision": setup.revision}),
        # One alone: it lists that one, and answers to every name.
        "served-model-name": setup.served_names[0],
        "host": places.host,
        "port": places.port,
        "tp-size": layout.tensor_parallel,
        "context-length": load.context,
        "max-running-requests": load.sequences,
        **_memory_options(setup, known),
        "enable-metrics": True,
        "sampling-defaults": "model",
        # At INFO it prints its arguments, keys included.
        "log-level": "warning",
    }
    if layout.pipeline_parallel > 1:
        options["pp-size"] = layout.pipeline_parallel
    if load.kv_precision != "bf16":
        options["kv-cache-dtype"] = "fp8_e4m3"
    if tool_parser := variant.tool_parsers.get(NAME):
        options["tool-call-parser"] = tool_parser
    if reasoning_parser := variant.reasoning_parsers.get(NAME):
        switch = {THINKING: {variant.thinking_switch or "thinking": setup.spec.thinking}}
        # Without the option the template decides, and those of Hermes think when a request says so.
        options |= {"reasoning-parser": reasoning_parser, **known_only(known, switch)}
    if variant.sampling:
        options["preferred-sampling-params"] = dict(variant.sampling)
    return options | normalise(NAME, setup.version, setup.spec.extra_args)


def pinned(service: Service) -> dict[str, Any]:
    """The options with the commit."""
    return service.config if service.path else {**service.config, "revision": service.revision}


def environment(setup: Setup) -> dict[str, str]:
    """Environment of the process; no secret is in it.

    What Triton, FlashInfer and CUDA compile goes below the home folder, which is the private cache too.
    """
    cache = setup.places.cache
    return {
        "DO_NOT_TRACK": "1",
        "HF_HOME": f"{cache}/huggingface",
        "HF_HUB_CACHE": setup.places.hub,
        "HF_HUB_OFFLINE": "1",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torchinductor",
        "XDG_CACHE_HOME": f"{cache}/xdg",
        "XDG_CONFIG_HOME": f"{cache}/xdg",
        **setup.spec.environment,
    }


def arguments(service: Service) -> tuple[str, ...]:
    """The configuration file has everything but switches that SGLang takes on the command line alone."""
    switches = _switches(service)
    words = (f"--{name}" if value else f"--no-{name}" for name, value in sorted(switches.items()) if value is not None)
    return ("--config", places_of(service, PORT).config, *words)


def _switches(service: Service) -> dict[str, bool | None]:
    """Switches that a configuration file may not have: those with an opposite, and deprecated ones.

    ``Unsupported config option`` (``server_args_config_parser.py`` of 0.5.23). ``None``: off, which cannot be said.
    """
    known = table(NAME, service.engine_version)
    found: dict[str, bool | None] = {}
    for name, value in service.config.items():
        option = known.options.get(name)
        if option and option.kind == "flag" and (option.deprecated or f"no-{name}" in option.aliases):
            found[name] = value or (False if f"no-{name}" in option.aliases else None)
    return found


def files(service: Service) -> dict[str, str]:
    """The configuration file."""
    elsewhere = _switches(service)
    return {"engine.yaml": sglang_yaml({name: v for name, v in service.config.items() if name not in elsewhere})}


read_log = sglang_log.read_log
