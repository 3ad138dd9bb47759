"""vLLM: how it is configured, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hermeion.engines import vllm
from hermeion.engines.config_files import vllm_yaml
from hermeion.engines.places import find_places
from hermeion.engines.protocol import Layout, Load, Said, Setup
from hermeion.engines.tables import table
from hermeion.errors import InventoryError
from hermeion.gpu_names import parse_gpu_set
from hermeion.hosts import Gpu, gpus_of, reconcile
from hermeion.inventory import ServiceSpec
from hermeion.units import GIB
from hermeion.variants import Variant, built_in_catalog
from tests.unit.builders import A100_80, H100, H200, NAME, RTX_4090, final_service, make_probe


def gpu(device_id: str) -> Gpu:
    """One GPU of a model."""
    return reconcile(NAME, make_probe((device_id,))).gpus[0]


@pytest.mark.parametrize(
    ("device_id", "sequences", "tokens"),
    [(RTX_4090, 256, 2048), (A100_80, 256, 2048), (H100, 1024, 8192), (H200, 1024, 8192), ("2901", 1024, 16384)],
)
def test_defaults(device_id: str, sequences: int, tokens: int) -> None:
    """vLLM's own defaults for a GPU, rendered all the same so that a new default changes nothing."""
    assert (sequences, tokens) == (vllm.default_sequences([gpu(device_id)]), vllm.batched_tokens(gpu(device_id)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"model": "hermes-3-8b"}, {"tool-call-parser": "hermes", "enable-auto-tool-choice": True}),
        (
            {"model": "hermes-4-14b"},
            {
                "tool-call-parser": "hermes",
                "enable-auto-tool-choice": True,
                "reasoning-parser": "deepseek_v3",
                "default-chat-template-kwargs": {"thinking": False},
                "override-generation-config": {"temperature": 0.6, "top_p": 0.95, "top_k": 20},
            },
        ),
        ({"model": "hermes-4-14b", "thinking": True}, {"default-chat-template-kwargs": {"thinking": True}}),
        ({"extra_args": {"seed": 1, "max-num-seqs": 3}}, {"seed": 1, "max-num-seqs": 3}),
    ],
)
def test_configuration(keys: dict[str, Any], expected: dict[str, Any]) -> None:
    """Parsers, thinking, sampling and own options are in the configuration."""
    config = final_service({"name": "hermes", "model": "hermes-3-8b", **keys}).config

    assert expected == {key: config.get(key) for key in expected}


def test_sampling_keeps_its_kinds() -> None:
    """`top_k` is a whole number: vLLM refuses every request when its default is 20.0."""
    sampling = final_service({"name": "hermes", "model": "hermes-4-14b"}).config["override-generation-config"]

    assert [float, int, float] == [type(sampling[key]) for key in ("temperature", "top_k", "top_p")]


def test_model_without_thinking() -> None:
    """A model without a reasoning parser has none of its options."""
    config = final_service().config

    assert set() == {"reasoning-parser", "default-chat-template-kwargs"} & set(config)


def setup_of(version: str = vllm.VERSIONS[-1], runtime: str = "compose", **keys: Any) -> Setup:
    """The planner's choices for a 14B on an H100."""
    spec = ServiceSpec.model_validate({"name": "hermes", "model": "hermes-4-14b", "runtime": runtime, **keys})
    variant = built_in_catalog()["hermes-4-14b"][0]
    return Setup(
        spec=spec,
        variant=variant,
        version=version,
        revision=None,
        gpus=(gpu(H100),),
        layout=Layout(),
        load=Load(4096, 8),
        served_names=("hermes", variant.repo),
        places=find_places("hermes", spec.runtime, weights="/srv", path=None, port=8000, container_port=vllm.PORT),
        start_seconds=900,
    )


@pytest.mark.parametrize(
    ("runtime", "hub", "cache"),
    [("compose", "/models/hub", "/var/cache/engine"), ("systemd", "/srv/hub", "/var/cache/hermeion-hermes")],
)
def test_environment(runtime: str, hub: str, cache: str) -> None:
    """The engine asks nobody on the internet, and writes nowhere but in its private cache."""
    assert {
        "DO_NOT_TRACK": "1",
        "HF_HOME": f"{cache}/huggingface",
        "HF_HUB_CACHE": hub,
        "HF_HUB_OFFLINE": "1",
        "NCCL_DEBUG": "INFO",
        "VLLM_CACHE_ROOT": cache,
        "VLLM_ENGINE_READY_TIMEOUT_S": "900",
        "VLLM_NO_USAGE_STATS": "1",
        "XDG_CACHE_HOME": f"{cache}/xdg",
        "XDG_CONFIG_HOME": f"{cache}/xdg",
    } == vllm.environment(setup_of(runtime=runtime, environment={"NCCL_DEBUG": "INFO"}))


@pytest.mark.parametrize(
    ("version", "runtime", "expected"),
    [("0.12.0", "compose", "vllm"), ("0.22.1", "compose", None), ("0.12.0", "systemd", None)],
)
def test_a_user_without_a_name(version: str, runtime: str, expected: str | None) -> None:
    """In images that do not know the user, the environment names it: PyTorch fails without."""
    assert expected == vllm.environment(setup_of(version, runtime)).get("LOGNAME")


@pytest.mark.parametrize("version", vllm.VERSIONS)
def test_every_version_knows_its_options(version: str) -> None:
    """Whatever is configured for a version is in its table, thinking included where it has it."""
    known, config = table("vllm", version), vllm.config(setup_of(version))

    assert set() == set(config) - set(known.options)
    assert ("default-chat-template-kwargs" in known.options) == ("default-chat-template-kwargs" in config)


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        (
            "0.12.0",
            {"shutdown-timeout", "disable-access-log-for-endpoints", "default-chat-template-kwargs"},
        ),
        ("0.14.1", {"shutdown-timeout", "disable-access-log-for-endpoints"}),
        ("0.16.0", {"shutdown-timeout"}),
        ("0.18.1", set()),
    ],
)
def test_what_old_versions_lack(version: str, missing: set[str]) -> None:
    """Old versions have the same options but those that they do not know."""
    assert missing == set(vllm.config(setup_of())) - set(vllm.config(setup_of(version)))


def test_extra_args_have_one_spelling() -> None:
    """An option of the inventory takes the place of the plan's, whatever its spelling."""
    config = vllm.config(setup_of(extra_args={"override_generation_config": "{}", "no-enforce-eager": True}))

    assert ("{}", False, None) == (
        config["override-generation-config"],
        config["enforce-eager"],
        config.get("override_generation_config"),
    )


def test_an_unknown_parser() -> None:
    """A parser's name that the version does not have is found before anything is started."""
    variant = built_in_catalog()["hermes-4-14b"][0].model_copy(update={"tool_parsers": {"vllm": "hermess"}})
    with pytest.raises(InventoryError) as caught:
        vllm.config(setup_of()._replace(variant=variant))

    assert (
        "hermes_catalog/hermes-4-14b/tool_parser: vLLM 0.33.0 has no tool parser 'hermess'; did you mean 'hermes'?"
        == str(caught.value)
    )


@pytest.mark.parametrize(
    ("options", "version", "expected"),
    [
        ({"a": {"thinking": False}}, "0.12.0", "a: '{\"thinking\": false}'\n"),
        ({"a": {"thinking": False}}, "0.16.0", "a:\n  thinking: false\n"),
        ({"enforce-eager": False}, "0.32.0", "no-enforce-eager: true\n"),
        ({"enable-prefix-caching": False}, "0.33.0", "no-enable-prefix-caching: true\n"),
        ({"disable-log-stats": False}, "0.32.0", "{}\n"),
        ({"root-path": "-x"}, "0.32.0", "root-path=-x: true\n"),
        ({"root-path": -1.5}, "0.32.0", "root-path=-1.5: true\n"),
        ({"seed": -1}, "0.32.0", "seed: -1\n"),
        ({"root-path": "a\x85b"}, "0.32.0", 'root-path: "a\\Nb"\n'),
    ],
)
def test_configuration_file(options: dict[str, Any], version: str, expected: str) -> None:
    """Mappings, switches that are off and dashes in front are written so that they arrive."""
    assert expected == vllm_yaml(options, table("vllm", version))


@pytest.mark.parametrize(("weights", "seconds"), [(0, 900), (16 * 10**9, 1020), (812 * 10**9, 6990)])
def test_start_seconds(weights: int, seconds: int) -> None:
    """A start may take longer for larger weights."""
    assert seconds == vllm.start_seconds(weights)


LOGS = Path(__file__).parent / "data" / "logs"
"""Logs of vLLM 0.32.0 on a CPU with a model of 3 MB, shortened by the inner lines of Python's tracebacks."""


@pytest.mark.parametrize(
    ("log", "failure"),
    [
        (
            "context",
            "a context of 4096 tokens needs 0.0 GiB of KV cache, and 0.0 GiB are there: set context = 896 or less, and "
            "min_context no higher",
        ),
        ("model-type", "this version does not know the model type novel: set a newer engine_version"),
        ("architecture", "this version does not know the architecture NovelForCausalLM: set a newer engine_version"),
        (
            "damaged-weights",
            "a file of the weights is damaged or cut off (Error while deserializing header: incomplete metadata, file "
            "not fully covered): remove it from hermes_cache, or from its folder (path), and deploy again",
        ),
        ("no-weights", "no weights lie in nofile: deploy again, or check path in hermes_catalog"),
        (
            "not-in-cache",
            "a file of the model is not in the cache, and the engine asks nobody for it: deploy again, and check what "
            "else the model needs (extra_args)",
        ),
        ("tool-parser", "this version has no tool call parser hermess: correct it in hermes_catalog"),
        (
            "unknown-option",
            "this version does not know --no-such-option: remove it from extra_args, or set another engine_version",
        ),
        ("port", "the port is taken: set another port, or stop who listens there (ss -ltnp)"),
        (
            "free-memory",
            "20.88 of 23.54 GiB are free, and 23.52 GiB are wanted: see with nvidia-smi who else uses the GPU, and "
            "deploy again (the plan leaves others their part)",
        ),
        ("good", None),
    ],
)
def test_real_failures(log: str, failure: str | None) -> None:
    """Why a start failed is told in a sentence, with the key that helps."""
    assert failure == vllm.read_log((LOGS / f"vllm-{log}.txt").read_text()).failure


def test_a_good_start() -> None:
    """What a start that came up says of its memory; the CPU build does not tell of its weights."""
    assert Said(kv_tokens=1048576, kv_bytes=GIB, context=4096) == vllm.read_log((LOGS / "vllm-good.txt").read_text())


GPU_START = """\
INFO [gpu_model_runner.py:3551] Starting to load model NousResearch/Hermes-4-14B...
INFO [gpu_model_runner.py:3659] Model loading took 15.2100 GiB memory and 3.121987 seconds
INFO [gpu_worker.py:348] Available KV cache memory: 56.21 GiB
INFO [kv_cache_utils.py:1229] GPU KV cache size: 368,352 tokens
INFO [kv_cache_utils.py:1234] Maximum concurrency for 40,960 tokens per request: 8.99x
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", Said()),
        (
            GPU_START,
            Said(kv_tokens=368352, kv_bytes=round(56.21 * GIB), weights_bytes=round(15.21 * GIB), context=40960),
        ),
        ("INFO GPU KV cache size: 33,824 tokens, Maximum concurrency for 33,792 tokens: 1.00x", Said(kv_tokens=33824)),
        ("GPU KV cache size: 16 tokens\nGPU KV cache size: 1,000,000 tokens\n", Said(kv_tokens=1000000)),
        (
            "Auto-fit max_model_len: reduced from 131072 to 65536 to fit in available KV cache memory (8.0 GiB GPU)",
            Said(context=65536),
        ),
        (f"{GPU_START}non-default args: {{}}\nGPU KV cache size: 64 tokens", Said(kv_tokens=64)),
    ],
)
def test_log_of_the_last_start(log: str, expected: Said) -> None:
    """The engine's own figures are read from its last start."""
    assert expected == vllm.read_log(log)


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        # gpu_worker.py of 0.12.0 and v1/worker/utils.py of 0.32.0.
        (
            "ValueError: Free memory on device (70.1/79.19 GiB) on startup is less than desired GPU memory utilization "
            "(0.92, 72.86 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            "70.1 of 79.19 GiB are free, and 72.86 GiB are wanted: see with nvidia-smi who else uses the GPU, and "
            "deploy again (the plan leaves others their part)",
        ),
        (
            "ValueError: Free memory on device cuda:0 (70.1/79.19 GiB) on startup is less than desired GPU memory "
            "utilization (0.92, 72.86 GiB). Decrease",
            "70.1 of 79.19 GiB are free, and 72.86 GiB are wanted: see with nvidia-smi who else uses the GPU, and "
            "deploy again (the plan leaves others their part)",
        ),
        # kv_cache_utils.py of 0.12.0.
        (
            "ValueError: To serve at least one request with the models's max seq len (131072), (20.00 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (4.45 GiB). Based on the available memory, the "
            "estimated maximum model length is 29136. Try",
            "a context of 131072 tokens needs 20.00 GiB of KV cache, and 4.45 GiB are there: set context = 29136 or "
            "less, and min_context no higher",
        ),
        (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            "the weights leave no room for a KV cache: lower sequences, raise gpus, or choose a smaller variant",
        ),
        (
            "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
            "this build has no code for the GPU's compute capability: set another engine_version, or engine = "
            "'llamacpp'",
        ),
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12040). Please update your GPU",
            "the NVIDIA driver is too old for the CUDA of this build: set upgrade in hermes_driver, or an older "
            "engine_version",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of",
            "a GPU has no 2.50 GiB left: see with nvidia-smi who else uses it, lower sequences or context, or raise "
            "gpus",
        ),
        (
            "/tmp/x/cuda_utils.c:5:10: fatal error: Python.h: No such file or directory",
            "the headers of Python are missing, with which kernels are compiled at the start (Debian: python3-dev): "
            "deploy again, or set runtime = 'compose'",
        ),
        (
            "RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set triton.knobs",
            "a C compiler is missing, with which kernels are compiled at the start (Debian: gcc): deploy again, or set "
            "runtime = 'compose'",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: 'ninja'",
            "ninja is missing, with which kernels are compiled at the start: deploy again, or set runtime = 'compose'",
        ),
        (
            "RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist",
            "CUDA's compiler nvcc is missing, which a kernel of this model is compiled with: set runtime = 'compose'",
        ),
        (
            "KeyError: \"Reasoning parser 'x' not found. Available parsers: deepseek_r1\"",
            "this version has no reasoning parser x: correct it in hermes_catalog",
        ),
        (
            "vllm serve: error: argument --seed: invalid int value: 'x'",
            "it does not take the value of --seed (invalid int value: 'x'): correct it in extra_args",
        ),
        ("Application startup complete.", None),
        ("CUDA out of memory. Tried to allocate 2.50 GiB\nApplication startup complete.", None),
        (
            "Application startup complete.\nCUDA out of memory. Tried to allocate 2.50 GiB",
            "a GPU has no 2.50 GiB left: see with nvidia-smi who else uses it, lower sequences or context, or raise "
            "gpus",
        ),
    ],
)
def test_failures(line: str, failure: str | None) -> None:
    """The well-known ends, in the words of vLLM, PyTorch, Triton and FlashInfer; none before a start that came up."""
    assert failure == vllm.read_log(f"non-default args: {{}}\n{line}\n").failure


def test_budget_is_of_the_smallest_gpu() -> None:
    """With GPUs of two sizes the smaller one decides."""
    small, large = sorted((gpu(H100), gpu(A100_80)), key=lambda g: g.cuda)
    variant = built_in_catalog()["hermes-3-8b"][0]
    load = Load(context=4096, sequences=256)

    both, alike = ((small, large), (small, small))
    assert small.cuda < large.cuda
    assert vllm.budget(variant, both, Layout(2), load).weights == vllm.budget(variant, alike, Layout(2), load).weights
    assert vllm.budget(variant, both, Layout(2), load).device == small.cuda


@pytest.mark.parametrize(
    ("gpu_set", "share"),
    [
        ("1xRTX4090", 0.941),  # 0.92, and half a GiB of what would be left alone
        ("2xRTX4090", 0.923),  # CUDA and NCCL leave less
        ("1xL40S", 0.931),
        ("8xH100", 0.929),
        ("1xRTX 4060 Ti", 0.889),  # with 0.92 of 8 GB vLLM would not start: its context takes more than the rest
        ("2xRTX 4060 Ti", 0.751),
    ],
)
def test_share_of_a_gpu(gpu_set: str, share: float) -> None:
    """The margin is taken from what vLLM would leave alone, as far as context and NCCL leave room there."""
    model, count = parse_gpu_set(gpu_set)

    assert share == vllm.utilisation(gpus_of(model, count), Layout(count))


def test_a_desktop_takes_its_part() -> None:
    """What others hold on a GPU is not vLLM's to take: it refuses to start when less is free than its share."""
    (card,) = gpus_of(*parse_gpu_set("1xRTX4090"))
    shared = card.model_copy(update={"free": card.free - 2 * GIB})

    assert 0.941 == vllm.utilisation((card,), Layout())
    assert 0.880 == vllm.utilisation((shared,), Layout())


@pytest.mark.parametrize(
    ("model", "count", "expected"),
    [
        ("hermes-4-14b", 1, (1, 1)),
        ("hermes-4-14b", 8, (8, 1)),
        ("hermes-4-14b", 3, (1, 3)),
        ("hermes-4-14b", 6, (2, 3)),
        ("hermes-4.3-36b", 16, (16, 1)),
        ("hermes-4-14b", 16, (8, 2)),
    ],
)
def test_layouts(model: str, count: int, expected: tuple[int, int]) -> None:
    """Layers are split over as many GPUs as heads allow; over what is left they form a pipeline."""
    assert expected == vllm.layout(built_in_catalog()[model][0], count)


def test_too_long_a_pipeline() -> None:
    """A pipeline has no more stages than the model has layers."""
    assert "40 layers cannot be a pipeline of 41 stages" == vllm.layout(built_in_catalog()["hermes-4-14b"][0], 41)


def of_precision(precision: str, quant_method: str | None = None) -> Variant:
    """The 8B in some precision."""
    variant = built_in_catalog()["hermes-3-8b"][0]
    return variant.model_copy(update={"precision": precision, "quant_method": quant_method})


def with_capability(major: int, minor: int) -> tuple[Gpu, ...]:
    """A GPU of some compute capability."""
    return (gpu(RTX_4090).model_copy(update={"compute_capability": (major, minor)}),)


GGUF = "vLLM reads GGUF files only with a plug-in that is not its own; llama.cpp and Ollama read them"


@pytest.mark.parametrize(
    ("precision", "capability", "expected"),
    [
        ("bf16", (7, 0), "compute capability 7.0 is older than vLLM's minimum of 7.5"),
        ("bf16", (7, 5), "compute capability 7.5 has no bf16 arithmetic"),
        ("bf16", (8, 0), "native"),
        ("fp16", (7, 5), "native"),
        ("fp8", (7, 5), "weight-only"),
        ("fp8", (8, 0), "weight-only"),
        ("fp8", (8, 9), "native"),
        ("fp8", (9, 0), "native"),
        ("nvfp4", (8, 9), "weight-only"),
        ("nvfp4", (9, 0), "weight-only"),
        ("nvfp4", (10, 0), "native"),
        ("nvfp4", (12, 0), "native"),
        ("awq", (8, 9), "weight-only"),
        ("gptq", (12, 0), "weight-only"),
        ("q4_k_m", (12, 0), GGUF),
    ],
)
def test_precisions_by_capability(precision: str, capability: tuple[int, int], expected: str) -> None:
    """What a card computes in, what it only stores, and what vLLM does not load on it."""
    variant, cards = of_precision(precision), with_capability(*capability)
    found = vllm.accepts(variant, cards) or ("native" if vllm.is_native(variant, cards) else "weight-only")

    assert expected == found


def test_weight_only_is_said() -> None:
    """Who gets smaller weights without faster arithmetic is told so."""
    (remark,) = vllm.remarks(of_precision("fp8"), with_capability(8, 0))

    assert (
        "weight-only: compute capability 8.0 stores fp8 weights and computes in 16 bits; this saves memory and not time"
        == remark
    )
    assert () == vllm.remarks(of_precision("fp8"), with_capability(8, 9))


def test_a_format_that_was_given_up() -> None:
    """vLLM 0.32 refuses fbgemm_fp8 unless told otherwise."""
    assert "vLLM has given up the format fbgemm_fp8; take a compressed-tensors FP8 variant" == vllm.accepts(
        of_precision("fp8", "fbgemm_fp8"), with_capability(9, 0)
    )


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), ("bf16",)), ((8, 9), ("bf16", "fp8"))])
def test_fp8_kv_cache(capability: tuple[int, int], expected: tuple[str, ...]) -> None:
    """The KV cache has an FP8 form from compute capability 8.9 on."""
    assert expected == vllm.kv_precisions(with_capability(*capability))


@pytest.mark.parametrize(("device_id", "step"), [(RTX_4090, 2048), (H100, 8192)])
def test_a_window_keeps_the_step_of_its_card(device_id: str, step: int) -> None:
    """A sliding-window layer keeps its window and what one step reads, which is more on a big card."""
    variant = built_in_catalog()["hermes-3-8b"][0]
    shape = variant.shape.model_copy(update={"sliding_layers": 16, "sliding_window": 1024})
    sliding = variant.model_copy(update={"shape": shape})
    needed = vllm.kv_needed(sliding, (gpu(device_id),), Layout(), Load(context=65536, sequences=1))

    assert 4096 * 16 * ((65536 + 16) + (1024 - 1 + step)) == needed
