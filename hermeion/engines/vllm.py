"""vLLM: what it accepts, how much it takes, how it is configured and asked.

Sources: the parser and workers of vLLM 0.12.0, 0.32.0 and 0.33.0; docs 0.33. Options by version: ``tables``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hermeion.engines import vllm_log
from hermeion.engines.config_files import vllm_yaml
from hermeion.engines.options import THINKING, check_parsers, known_only, normalise
from hermeion.engines.places import places_of
from hermeion.engines.protocol import KeysKind, Layout, Load, NativeKind, Setup
from hermeion.engines.tables import table, versions
from hermeion.hosts import Gpu
from hermeion.memory import vllm as memory
from hermeion.memory.kv_cache import KvPrecision, kv_per_request
from hermeion.plans import KV_BLOCK, MemoryBudget, Service, margin
from hermeion.units import GIB
from hermeion.variants import Variant
from hermeion.weights import published_bytes, stage_layers

NAME = "vllm"
LABEL = "vLLM"
DIVIDES_CACHE = False
VERSIONS = versions(NAME)
"""Versions whose options were read, oldest first."""

IMAGE = "vllm/vllm-openai:v{version}"
PORT = 8000
USER = "2000:0"
"""User of the image (``vllm`` and group root)."""

NATIVE: NativeKind = "venv"
PROGRAM: tuple[str, ...] = ("bin/vllm", "serve")
ENTRY: tuple[str, ...] = ()
"""The image's entry point is ``vllm serve``."""

SHARES_MEMORY = True
KEYS: KeysKind = "list"
HEALTH = "/health"
"""The port refuses until the engine is ready; then it answers 200."""

LOADS_LATE = False
DEAD = "EngineCore failed to start|Engine core initialization failed"
"""Seen on 0.32: the API's process may hang after its engine has died at the start."""
STOP_SECONDS = 60
PLANNED: Mapping[str, str] = {
    "api-key": "keys are lines of /etc/hermeion/<service>/api-keys on the host",
    "config": "the plan writes the configuration file",
    "default-chat-template-kwargs": "thinking; a request says more with chat_template_kwargs",
    "disable-fastapi-docs": "its pages would be open to whoever reaches the port",
    "download-dir": "weights are pulled before, into hermes_cache",
    "enable-auto-tool-choice": "tool_parser in hermes_catalog",
    "gpu-memory-utilization": "the plan computes it from the GPUs",
    "host": "services listen on 127.0.0.1",
    "kv-cache-dtype": "kv_precision",
    "kv-cache-memory-bytes": "the plan computes the KV cache",
    "max-model-len": "context",
    "max-num-batched-tokens": "the plan computes it from the GPUs",
    "max-num-seqs": "sequences",
    "model": "model and variant",
    "pipeline-parallel-size": "gpus",
    "port": "port",
    "reasoning-parser": "reasoning_parser in hermes_catalog",
    "revision": "hermes_catalog's revision",
    "served-model-name": "served_names",
    "shutdown-timeout": "the unit gives requests in flight so long, and no longer",
    "tensor-parallel-size": "gpus",
    "tool-call-parser": "tool_parser in hermes_catalog",
    "trust-remote-code": "code from a model's repository is never run",
}

UTILISATION = 0.92
"""vLLM's default share of GPU memory since 0.20; rendered all the same, so that a new default changes nothing."""

FREE_RESERVE = GIB // 4
"""Bytes that stay free on a GPU when the margin is taken from what vLLM leaves alone."""

MIN_DRIVER = 580
"""The images are built on CUDA 13, which needs this driver branch."""

MIN_CAPABILITY = (7, 5)

NATIVE_CAPABILITY = {
    "fp32": (7, 5),
    "fp16": (7, 5),
    "bf16": (8, 0),
    "int8": (7, 5),
    "fp8": (8, 9),
    "fp8-block": (8, 9),
    "mxfp4": (9, 0),
    "nvfp4": (10, 0),
}
"""Compute capability from which the kernels compute in a precision; below it, and for what is not listed, weights are
unpacked to 16 bits (``compressed_tensors`` schemes and ``kernels/linear`` of vLLM 0.32)."""

FP8_KV_CAPABILITY = (8, 9)
"""From here on every attention backend has an FP8 KV cache; Triton's refuses below it."""


def _oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    return min(gpu.compute_capability for gpu in gpus)


def accepts(variant: Variant, gpus: Sequence[Gpu]) -> str | None:
    """``None`` if vLLM can load the variant on these GPUs, else one sentence why not."""
    oldest = _oldest(gpus)
    capability = f"compute capability {oldest[0]}.{oldest[1]}"
    if variant.format.container == "gguf":
        return "vLLM reads GGUF files only with a plug-in that is not its own; llama.cpp and Ollama read them"
    if oldest < MIN_CAPABILITY:
        return f"{capability} is older than vLLM's minimum of 7.5"
    if variant.precision == "bf16" and oldest < (8, 0):
        return f"{capability} has no bf16 arithmetic"
    if variant.quant_method == "fbgemm_fp8":
        return "vLLM has given up the format fbgemm_fp8; take a compressed-tensors FP8 variant"
    return None


def is_native(variant: Variant, gpus: Sequence[Gpu]) -> bool:
    """Whether the GPUs compute in the variant's own precision, not only store it."""
    return _oldest(gpus) >= NATIVE_CAPABILITY.get(variant.precision, (99, 0))


def remarks(variant: Variant, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """What a person should know about the variant on these GPUs."""
    if is_native(variant, gpus):
        return ()
    major, minor = _oldest(gpus)
    return (
        f"weight-only: compute capability {major}.{minor} stores {variant.precision} weights and computes in 16 bits; "
        "this saves memory and not time",
    )


def layout(variant: Variant, count: int) -> Layout | str:
    """Tensor parallel where the heads can be split, else with a pipeline; or one sentence why not."""
    shape = variant.shape
    sizes = shape.tensor_parallel_sizes(count)
    tensor_parallel = max(size for size in sizes if count % size == 0)
    stages = count // tensor_parallel
    if stages > shape.layers:
        return f"{shape.layers} layers cannot be a pipeline of {stages} stages"
    return Layout(tensor_parallel, stages)


def kv_precisions(gpus: Sequence[Gpu]) -> tuple[KvPrecision, ...]:
    """16 bits, and FP8 where every backend has it."""
    return ("bf16", "fp8") if _oldest(gpus) >= FP8_KV_CAPABILITY else ("bf16",)


def _is_a100(gpu: Gpu) -> bool:
    return "A100" in gpu.model


def default_sequences(gpus: Sequence[Gpu]) -> int:
    """vLLM's ``max-num-seqs`` for the smallest of the GPUs."""
    return min(memory.default_sequences(gpu.memory, is_a100=_is_a100(gpu)) for gpu in gpus)


def batched_tokens(gpu: Gpu) -> int:
    """vLLM's ``max-num-batched-tokens`` of its OpenAI server for a GPU."""
    return memory.default_batched_tokens(gpu.memory, is_a100=_is_a100(gpu))


def smallest(gpus: Sequence[Gpu]) -> Gpu:
    """The GPU that limits the others."""
    return min(gpus, key=lambda gpu: gpu.cuda)


def utilisation(gpus: Sequence[Gpu], layout: Layout) -> float:
    """``gpu-memory-utilization``: vLLM's default, and so much of what it would leave alone as the margin needs.

    What has to stay free is the CUDA context, NCCL's buffers, and :data:`FREE_RESERVE`. What others hold (a desktop)
    is not there to be taken: vLLM refuses to start when less is free than its share.
    """
    device = smallest(gpus).cuda
    taken = max(gpu.memory - gpu.free for gpu in gpus)
    outside = memory.CONTEXT_FREE + (memory.NCCL_FREE if layout.tensor_parallel > 1 else 0) + FREE_RESERVE + taken
    most = (device - outside) / device
    return int(min(most, UTILISATION + margin(device) / device) * 1000) / 1000


def budget(
    variant: Variant, gpus: Sequence[Gpu], layout: Layout, load: Load, version: str | None = None
) -> MemoryBudget:
    """Memory on the fullest of the GPUs: the pipeline stage with the least room for the KV cache."""
    gpu = smallest(gpus)
    settings = memory.Settings(
        version=memory.parse_version(version or VERSIONS[-1]),
        utilisation=utilisation(gpus, layout),
        sequences=load.sequences,
        batched_tokens=batched_tokens(gpu),
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        kv_precision=load.kv_precision,
        element=4 if variant.precision == "fp32" else 2,
    )
    factor = variant.bytes / published_bytes(variant.shape, variant.format, settings.element)
    stages = (
        memory.vllm_budget(variant.shape, variant.format, gpu.cuda, settings, factor=factor, stage=stage)
        for stage in range(layout.pipeline_parallel)
    )
    return min(stages, key=lambda stage: stage.kv_cache / stage.kv_per_token)


def kv_needed(variant: Variant, gpus: Sequence[Gpu], layout: Layout, load: Load) -> int:
    """One request of the whole context, in whole blocks, and the block that vLLM keeps for itself.

    Each stage of a pipeline caches its own layers; a sliding-window layer also keeps what one step reads.
    """
    shape, step = variant.shape, batched_tokens(smallest(gpus))
    blocks = -(-load.context // KV_BLOCK) + 1
    whole = kv_per_request(shape, blocks * KV_BLOCK, load.kv_precision, layout.tensor_parallel, step)
    share = max(stage_layers(shape.layers, layout.pipeline_parallel)) / shape.layers
    return -int(-whole * share // 1)


def start_seconds(weights: int) -> int:
    """How long a start may take: reading the weights at 200 MB/s, half as much again, and 15 minutes."""
    return 900 + round(1.5 * weights / 200e6)


def config(setup: Setup) -> dict[str, Any]:
    """The options of the version, without keys. ``vllm serve --config`` refuses an unknown one (exit code 2).

    Raises:
        InventoryError: The version has no such tool or reasoning parser.
    """
    spec, variant, layout, load, places = setup.spec, setup.variant, setup.layout, setup.load, setup.places
    known = table(NAME, setup.version)
    check_parsers(f"hermes_catalog/{variant.model}", variant, known)
    options: dict[str, Any] = {
        "model": places.local if variant.path else variant.repo,
        **({} if variant.path else {"revision": setup.revision}),
        "served-model-name": list(setup.served_names),
        "host": places.host,
        "port": places.port,
        "tensor-parallel-size": layout.tensor_parallel,
        "max-model-len": load.context,
        "max-num-seqs": load.sequences,
        "max-num-batched-tokens": batched_tokens(smallest(setup.gpus)),
        "gpu-memory-utilization": utilisation(setup.gpus, layout),
        # Where a version lacks one of these, option_remarks says what is lost.
        **known_only(
            known,
            {
                "shutdown-timeout": STOP_SECONDS,
                "disable-fastapi-docs": True,
                "disable-access-log-for-endpoints": "/health,/metrics",
            },
        ),
    }
    if layout.pipeline_parallel > 1:
        options["pipeline-parallel-size"] = layout.pipeline_parallel
    if load.kv_precision != "bf16":
        options["kv-cache-dtype"] = load.kv_precision
    if tool_parser := variant.tool_parsers.get(NAME):
        options |= {"enable-auto-tool-choice": True, "tool-call-parser": tool_parser}
    if reasoning_parser := variant.reasoning_parsers.get(NAME):
        switch = {THINKING: {variant.thinking_switch or "thinking": spec.thinking}}
        # Without the option the template decides, and those of Hermes think when a request says so.
        options |= {"reasoning-parser": reasoning_parser, **known_only(known, switch)}
    if variant.sampling:
        options["override-generation-config"] = dict(variant.sampling)
    return options | normalise(NAME, setup.version, spec.extra_args)


def pinned(service: Service) -> dict[str, Any]:
    """The options with the commit."""
    return service.config if service.path else {**service.config, "revision": service.revision}


def environment(setup: Setup) -> dict[str, str]:
    """Environment of the process; no secret is in it.

    What Triton, FlashInfer and CUDA compile goes below the home folder, which is the private cache too.
    """
    cache = setup.places.cache
    # Images before 0.22 have no user of this number, and PyTorch asks for its name.
    nameless = setup.spec.runtime == "compose" and table(NAME, setup.version).image.user is None
    return {
        **({"LOGNAME": "vllm"} if nameless else {}),
        "DO_NOT_TRACK": "1",
        "HF_HOME": f"{cache}/huggingface",
        "HF_HUB_CACHE": setup.places.hub,
        "HF_HUB_OFFLINE": "1",
        "VLLM_CACHE_ROOT": cache,
        "VLLM_ENGINE_READY_TIMEOUT_S": str(setup.start_seconds),
        "VLLM_NO_USAGE_STATS": "1",
        "XDG_CACHE_HOME": f"{cache}/xdg",
        "XDG_CONFIG_HOME": f"{cache}/xdg",
        **setup.spec.environment,
    }


def arguments(service: Service) -> tuple[str, ...]:
    """Everything is in the configuration file: argv stays short, and keys stay off it."""
    return ("--config", places_of(service, PORT).config)


def files(service: Service) -> dict[str, str]:
    """The configuration file."""
    return {"engine.yaml": vllm_yaml(service.config, table(NAME, service.engine_version))}


read_log = vllm_log.read_log
