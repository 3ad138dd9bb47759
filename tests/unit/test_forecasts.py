"""How long a pull and a start take, and how fast one request can be: worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.forecasts import Estimate, active_share, decode_ceiling, pull_time, start_time
from hermeion.gpus import gpu_models
from hermeion.model_config import parse_config
from hermeion.planner import make_plan
from hermeion.plans import MemoryBudget
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Experts, Shape
from hermeion.units import GIB
from hermeion.variants import built_in_catalog
from hermeion.weights import published_bytes
from tests.unit.builders import A100_80, H100, NAME, ROOT, RTX_4090, make_probe, make_spec

FP8_36B = 37_751_105_536
BF16_405B = 811_706_777_600


@pytest.mark.parametrize(
    ("size", "gigabits", "seconds", "text"),
    [
        (FP8_36B, 1, 302.0, "about 5 min 02 s"),
        (FP8_36B, 10, 30.2, "about 30.2 s"),
        (BF16_405B, 1, 6493.7, "about 1 h 48 min"),
        (BF16_405B, 25, 259.7, "about 4 min 20 s"),
        (0, 1, 0.0, "about 0.0 s"),
    ],
)
def test_pull(size: int, gigabits: float, seconds: float, text: str) -> None:
    """Bytes times eight over the bits of the link."""
    found = pull_time(size, gigabits * 1e9)

    assert seconds == pytest.approx(found.value, abs=0.05)
    assert text == found.text


def test_a_pull_says_what_it_assumes() -> None:
    """Size and link stand in the basis, and what could be slower."""
    assert "35.2 GiB over 1 Gbit/s, if neither the source nor the disk is slower" == pull_time(FP8_36B).basis


@pytest.mark.parametrize(
    ("size", "disk", "text"),
    [
        (FP8_36B, 1e9, "about 1 min 38 s"),
        (FP8_36B, 5e9, "about 1 min 08 s"),
        (BF16_405B, 1e9, "about 14 min 32 s"),
        (BF16_405B, 0.2e9, "about 1 h 08 min"),
    ],
)
def test_start(size: int, disk: float, text: str) -> None:
    """The weights once from the disk, and a minute to initialise."""
    found = start_time(size, disk)

    assert size / disk + 60 == pytest.approx(found.value)
    assert text == found.text


def test_a_start_says_what_it_assumes() -> None:
    """The disk's rate and the minute stand in the basis."""
    assert "35.2 GiB read at 953.7 MiB/s, and 60 s to initialise" == start_time(FP8_36B).basis


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (25.43, "tokens/s", "at most 25 tokens/s"),
        (0.4, "tokens/s", "at most 0 tokens/s"),
        (61, "seconds", "about 1 min 01 s"),
    ],
)
def test_estimates_in_words(value: float, unit: str, text: str) -> None:
    """A ceiling is "at most", a time is "about"."""
    assert text == Estimate(value=value, unit=unit, basis="").text


def shape_of(repo: str) -> Shape:
    """The shape of a published model."""
    folder = ROOT / "tests" / "unit" / "data" / "configs"
    return parse_config((folder / f"{repo.replace('/', '--')}.json").read_text(), repo).shape


@pytest.mark.parametrize("variant", [variants[0] for variants in built_in_catalog().values()], ids=lambda v: v.name)
def test_a_dense_model_reads_all_of_it(variant: Any) -> None:
    """Every weight of a model without experts is active."""
    assert 1.0 == active_share(variant.shape)


# Feed-forward of one expert 3 × 4096 × 14336, attention 2 × 4096 × 128 × (32 + 8), router 8 × 4096, two tables of
# 32000 × 4096: 46.7 × 10^9 in all, and 12.9 with 2 experts of 8.
MIXTRAL_EXPERT = 32 * 3 * 4096 * 14336
MIXTRAL_REST = 32 * (2 * 4096 * 128 * 40 + 8 * 4096) + 2 * 32000 * 4096


def test_mixtral_by_hand() -> None:
    """Two experts of eight, and everything that is not an expert."""
    expected = (2 * MIXTRAL_EXPERT + MIXTRAL_REST) / (8 * MIXTRAL_EXPERT + MIXTRAL_REST)

    assert expected == pytest.approx(active_share(shape_of("mistralai/Mixtral-8x7B-Instruct-v0.1")))
    assert 12.9 == pytest.approx((2 * MIXTRAL_EXPERT + MIXTRAL_REST) / 1e9, abs=0.05)


@pytest.mark.parametrize(
    ("repo", "billions", "tolerance"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 12.9, 0.05),
        ("Qwen/Qwen3-30B-A3B", 3.3, 0.06),
        ("Qwen/Qwen1.5-MoE-A2.7B", 2.7, 0.05),
        ("deepseek-ai/DeepSeek-V3", 37, 0.6),
        ("moonshotai/Kimi-VL-A3B-Instruct", 3, 0.05),
        ("openai/gpt-oss-20b", 3.6 + 0.58, 0.05),
        ("openai/gpt-oss-120b", 5.1 + 0.58, 0.05),
    ],
)
def test_active_parameters_are_the_published_ones(repo: str, billions: float, tolerance: float) -> None:
    """Parameters that a token passes through, as the makers count them; those of gpt-oss leave a table out."""
    shape = shape_of(repo)
    parameters = published_bytes(shape, PRECISIONS["bf16"]) / 2

    assert billions == pytest.approx(active_share(shape) * parameters / 1e9, abs=tolerance)


def test_dense_layers_of_a_mixture_are_read_whole() -> None:
    """Only layers with experts are read in part."""
    shape = shape_of("mistralai/Mixtral-8x7B-Instruct-v0.1")
    assert shape.experts is not None
    half = shape.model_copy(update={"experts": shape.experts.model_copy(update={"dense_layers": 16})})
    all_dense = shape.model_copy(update={"experts": shape.experts.model_copy(update={"dense_layers": 32})})

    assert active_share(shape) < active_share(half) < active_share(all_dense) == 1.0


def test_all_experts_are_everything() -> None:
    """A mixture in which a token passes all experts is read whole."""
    shape = shape_of("mistralai/Mixtral-8x7B-Instruct-v0.1")
    whole = shape.model_copy(update={"experts": Experts(count=8, per_token=8, intermediate=14336)})

    assert 1.0 == pytest.approx(active_share(whole))


def memory_of(weights: int, scales: int = 0) -> MemoryBudget:
    """A GPU with these weights."""
    return MemoryBudget(
        device=80 * GIB,
        usable=70 * GIB,
        weights=weights,
        scales=scales,
        activations=0,
        non_torch=0,
        margin=0,
        kv_per_token=1,
    )


DENSE = built_in_catalog()["hermes-3-8b"][0].shape


def test_ceiling_by_hand() -> None:
    """10 GB at 1000 GB/s are 100 tokens a second; a pipeline passes its stages one after the other."""
    assert 100.0 == ceiling(memory_of(9 * 10**9, 10**9), DENSE, 10**12)
    assert 25.0 == ceiling(memory_of(9 * 10**9, 10**9), DENSE, 10**12, stages=4)


def ceiling(memory: MemoryBudget, shape: Shape, bandwidth: int, stages: int = 1) -> float:
    """The value of an estimate that there is."""
    found = decode_ceiling(memory, shape, bandwidth, stages)
    assert found is not None
    return found.value


def test_an_input_embedding_is_not_read() -> None:
    """Of an input embedding only one row is read: 10 GB with one of 1.05 GB are 8.95 GB a token."""
    found = decode_ceiling(memory_of(10 * 10**9), DENSE, 10**12, weights=10 * 10**9)
    tied = decode_ceiling(
        memory_of(10 * 10**9), DENSE.model_copy(update={"tied_embeddings": True}), 10**12, weights=10 * 10**9
    )
    assert found is not None
    assert tied is not None

    assert (111.7, 100.0) == (round(found.value, 1), round(tied.value, 1))


def test_unknown_bandwidth() -> None:
    """Of a GPU whose bandwidth nobody knows there is no estimate."""
    assert None is decode_ceiling(memory_of(1), DENSE, 0)


def test_a_ceiling_says_what_it_assumes() -> None:
    """One request, the bytes of a token, and the bandwidth stand in the basis."""
    found = decode_ceiling(memory_of(16 * 10**9), DENSE, 1008 * 10**9)
    assert found is not None

    assert "one request; 14.9 GiB read once a token at 1008 GB/s a GPU" == found.basis


@pytest.mark.parametrize(
    ("model", "cards", "wishes", "expected"),
    [
        ("hermes-3-8b", [RTX_4090], {}, 62.8),
        ("hermes-3-8b", [RTX_4090] * 2, {"gpus": 2}, 125.5),
        ("hermes-4.3-36b", [H100], {"variant": "fp8"}, 88.8),
        ("hermes-4.3-36b", [A100_80], {"variant": "fp8"}, 51.3),
        ("hermes-4-405b", [H100] * 8, {"variant": "fp8"}, 65.4),
        ("hermes-3-8b", [RTX_4090] * 3, {"gpus": 3}, 62.8),
    ],
)
def test_ceilings_of_plans(model: str, cards: list[str], wishes: dict[str, Any], expected: float) -> None:
    """Tensor parallel GPUs read at once; stages of a pipeline do not."""
    spec = make_spec({"name": "s", "model": model, **wishes})
    (service,) = make_plan(NAME, spec, make_probe(cards)).services
    shape = built_in_catalog()[model][0].shape
    found = ceiling(service.memory, shape, gpu_models()[cards[0]].bandwidth, service.pipeline_parallel)

    # The fullest stage stands for all of them: a pipeline comes out a little slower.
    assert expected == pytest.approx(found, rel=0.001 if service.pipeline_parallel == 1 else 0.1)
