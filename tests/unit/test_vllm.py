"""vLLM: how it is configured, and what it prints."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.engines import vllm
from hermeion.engines.protocol import Layout, Load
from hermeion.gpu_names import parse_gpu_set
from hermeion.hosts import Gpu, gpus_of, reconcile
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


def test_environment() -> None:
    """The engine asks nobody on the internet."""
    environment = vllm.environment(900)

    assert ("1", "1", "900") == (
        environment["HF_HUB_OFFLINE"],
        environment["VLLM_NO_USAGE_STATS"],
        environment["VLLM_ENGINE_READY_TIMEOUT_S"],
    )


@pytest.mark.parametrize(("weights", "seconds"), [(0, 900), (16 * 10**9, 1020), (812 * 10**9, 6990)])
def test_start_seconds(weights: int, seconds: int) -> None:
    """A start may take longer for larger weights."""
    assert seconds == vllm.start_seconds(weights)


@pytest.mark.parametrize(
    ("log", "tokens"),
    [
        ("", None),
        ("INFO GPU KV cache size: 33,824 tokens, Maximum concurrency for 33,792 tokens: 1.00x", 33824),
        ("GPU KV cache size: 16 tokens\nGPU KV cache size: 1,000,000 tokens\n", 1000000),
    ],
)
def test_printed_tokens(log: str, tokens: int | None) -> None:
    """The engine's own figure is read from its last start."""
    assert tokens == vllm.printed_kv_tokens(log)


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
