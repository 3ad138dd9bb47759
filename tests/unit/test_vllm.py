"""vLLM: how it is configured, and what it prints."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.engines import vllm
from hermeion.hosts import Gpu, reconcile
from hermeion.units import GIB
from hermeion.variants import built_in_catalog
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
    assert (sequences, tokens) == (vllm.default_sequences(gpu(device_id)), vllm.batched_tokens(gpu(device_id)))


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

    assert set() == {"reasoning-parser", "default-chat-template-kwargs", "override-generation-config"} & set(config)


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
    variant_gpus = (gpu(H100), gpu(A100_80))
    small, large = sorted(variant_gpus, key=lambda g: g.memory)
    variant = built_in_catalog()["hermes-3-8b"][0]

    assert vllm.budget(variant, (small, large), 256) == vllm.budget(variant, (small, small), 256)
    assert small.memory < large.memory
    assert 70 * GIB < small.memory
