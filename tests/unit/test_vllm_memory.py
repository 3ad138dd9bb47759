"""vLLM's memory: the formula against what it printed, and against worked examples."""

from __future__ import annotations

import pytest

from benchmarks.memory_accuracy import Row, rows
from hermeion.memory.kv_cache import cached_layers, kv_per_request, kv_per_token
from hermeion.memory.vllm import (
    Settings,
    activation_bytes,
    default_batched_tokens,
    default_sequences,
    default_utilisation,
    graph_bytes,
    non_torch_bytes,
    parse_version,
    vllm_budget,
)
from hermeion.plans import MemoryBudget, margin
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Experts, Shape
from hermeion.units import GIB, MIB
from hermeion.variants import Variant, built_in_catalog
from hermeion.weights import published_bytes, weight_bytes

LOGS = list(rows())


def row_name(row: Row) -> str:
    """The model and what distinguishes its rows."""
    log = row.log
    return f"{log['model']}-{log['tp']}x{log['pp']}-{log['max_len']}-{log['quant']}-{log['dtype']}"


@pytest.mark.parametrize("row", LOGS, ids=row_name)
def test_weights_in_logs(row: Row) -> None:
    """Weights on a GPU are those that vLLM printed, to 1 %."""
    assert 0.01 * float(row.log["weights_gib"]) >= abs(row.weights_error)


@pytest.mark.parametrize("row", LOGS, ids=row_name)
def test_kv_cache_in_logs(row: Row) -> None:
    """The KV cache is the one that vLLM printed, to half a GiB or 1 % of the card."""
    assert max(0.5, 0.01 * float(row.log["total_gib"])) >= abs(row.kv_error)


@pytest.mark.parametrize("row", LOGS, ids=row_name)
def test_bytes_per_token_in_logs(row: Row) -> None:
    """Tokens that vLLM printed for its bytes are those that we print for the same bytes.

    With a pipeline the bytes are the first stage's and the tokens those of the fullest one.
    """
    cache = float(row.log["kv_gib"]) * GIB
    own = cache / row.report.ranks[0].kv_per_token / int(row.log["kv_tokens"]) - 1

    assert (0.02 if row.log["pp"] != "1" else 0.001) >= abs(own)


def test_all_logs_are_compared() -> None:
    """Every row of the file is planned; none is left out because it is awkward."""
    assert 47 == len(LOGS)


def test_error_on_average() -> None:
    """The KV cache is right to 1 % on average, all architectures together."""
    assert 0.01 >= sum(abs(row.kv_error) / float(row.log["kv_gib"]) for row in LOGS) / len(LOGS)


LLAMA_8B = built_in_catalog()["hermes-3-8b"][0].shape


def settings(**changes: object) -> Settings:
    """Settings of vLLM 0.33 on a small card."""
    values: dict[str, object] = {
        "version": (0, 33, 0),
        "utilisation": 0.92,
        "sequences": 256,
        "batched_tokens": 2048,
        **changes,
    }
    return Settings(**values)  # type: ignore[arg-type]


def find(model: str, precision: str) -> Variant:
    """A variant of the catalogue."""
    return next(v for v in built_in_catalog()[model] if v.precision == precision)


# What CUDA sees, in GiB, and max-num-seqs and max-num-batched-tokens of vLLM on such a card.
SMALL, BIG, HUGE = (256, 2048), (1024, 8192), (1024, 16384)
CARDS = {
    "RTX 4090": (23.53, SMALL),
    "RTX 6000 Ada": (47.37, SMALL),
    "L40S": (44.39, SMALL),
    "A100 40GB": (39.49, SMALL),
    "A100 80GB": (79.25, SMALL),
    "RTX 5090": (31.36, SMALL),
    "H100": (79.19, BIG),
    "RTX PRO 6000": (94.97, BIG),
    "H200": (139.8, BIG),
    "B200": (178.35, HUGE),
}


@pytest.mark.parametrize(
    ("model", "precision", "card", "count", "tokens"),
    [
        ("hermes-4.3-36b", "fp8", "RTX 6000 Ada", 1, 24_064),
        ("hermes-4.3-36b", "fp8", "L40S", 1, 12_832),
        ("hermes-4.3-36b", "fp8", "A100 40GB", 1, 0),
        ("hermes-4.3-36b", "fp8", "RTX 5090", 1, 0),
        ("hermes-4.3-36b", "fp8", "RTX 4090", 2, 0),
        ("hermes-4.3-36b", "fp8", "A100 80GB", 1, 144_192),
        ("hermes-4.3-36b", "fp8", "H100", 1, 137_600),
        ("hermes-4.3-36b", "fp8", "H100", 2, 404_112),
        ("hermes-4.3-36b", "fp8", "H200", 1, 366_000),
        ("hermes-4-405b", "fp8", "H100", 8, 305_216),
        ("hermes-4-405b", "bf16", "H100", 8, 0),
        ("hermes-4-405b", "bf16", "H200", 8, 455_456),
        ("hermes-4-405b", "fp8", "H200", 4, 220_320),
        ("hermes-4-405b", "nvfp4", "B200", 2, 192_144),
        ("hermes-4-405b", "nvfp4", "B200", 4, 847_984),
        ("hermes-4-405b", "nvfp4", "H100", 4, 97_008),
        ("hermes-3-8b", "bf16", "RTX 4090", 1, 40_128),
        ("hermes-4-70b", "fp8", "RTX 6000 Ada", 2, 34_400),
        ("hermes-4-70b", "fp8", "L40S", 2, 16_432),
        ("hermes-4-70b", "fp8", "H100", 1, 4_064),
        ("hermes-4-70b", "fp8", "H100", 2, 217_824),
        ("hermes-4-70b", "fp8", "RTX PRO 6000", 1, 51_648),
        ("hermes-4-14b", "fp8", "RTX 4090", 1, 29_136),
        ("hermes-4-14b", "bf16", "RTX 6000 Ada", 1, 92_288),
    ],
)
def test_worked_examples(model: str, precision: str, card: str, count: int, tokens: int) -> None:
    """The KV caches worked out by hand for vLLM's defaults come out to a tenth of a per cent."""
    variant = find(model, precision)
    visible, (sequences, batched) = CARDS[card]
    budget = vllm_budget(
        variant.shape,
        variant.format,
        int(visible * GIB),
        settings(tensor_parallel=count, sequences=sequences, batched_tokens=batched),
    )

    assert tokens == pytest.approx(budget.kv_tokens_expected, rel=0.001, abs=32)


@pytest.mark.parametrize(
    ("model", "precision", "count", "gib"),
    [
        ("hermes-3-3b", "bf16", 1, 5.984),
        ("hermes-3-8b", "bf16", 1, 14.958),
        ("hermes-4-14b", "bf16", 1, 27.508),
        ("hermes-4-14b", "fp8", 1, 15.211),
        ("hermes-4.3-36b", "bf16", 1, 67.337),
        ("hermes-4.3-36b", "fp8", 1, 35.168),
        ("hermes-4.3-36b", "fp8", 8, 4.399),
        ("hermes-4-70b", "bf16", 4, 32.86),
        ("hermes-4-70b", "fp8", 8, 8.468),
        ("hermes-4-405b", "fp8", 4, 95.51),
        ("hermes-4-405b", "bf16", 8, 94.50),
    ],
)
def test_weights(model: str, precision: str, count: int, gib: float) -> None:
    """Weights on one GPU are those of the worked examples; the rotary cache comes on top."""
    variant = find(model, precision)
    weights = weight_bytes(variant.shape, variant.format, tensor_parallel=count)

    assert gib == pytest.approx((weights.weights + weights.scales) / GIB, abs=0.006)


@pytest.mark.parametrize(("count", "expected"), [(1, 131072), (2, 65536), (4, 32768), (8, 16384), (16, 16384)])
def test_kv_heads_are_replicated(count: int, expected: int) -> None:
    """Beyond the number of KV heads, splitting over more GPUs saves no KV cache."""
    assert expected == kv_per_token(LLAMA_8B, "bf16", count)


@pytest.mark.parametrize(
    ("layers", "sliding", "cached"),
    [(32, 0, 32), (46, 23, 46), (48, 40, 48), (62, 52, 70), (34, 29, 35), (25, 13, 26), (24, 24, 24)],
)
def test_sliding_layers_are_cached_in_groups(layers: int, sliding: int, cached: int) -> None:
    """Layers of one kind form groups of equal size, the last one filled up: Gemma 3 27B takes 70 layers for 62."""
    shape = LLAMA_8B.model_copy(update={"layers": layers, "sliding_layers": sliding, "sliding_window": 1024})

    assert cached == cached_layers(shape)


def test_a_request_keeps_a_window() -> None:
    """A sliding-window layer keeps its window and the batch that is read; a full one keeps everything."""
    shape = LLAMA_8B.model_copy(update={"layers": 32, "sliding_layers": 16, "sliding_window": 1024})

    assert 4096 * (16 * 131072 + 16 * (1024 - 1 + 2048)) == kv_per_request(shape, 131072, "bf16", 1, 2048)
    assert kv_per_request(LLAMA_8B, 1000) == kv_per_request(shape, 1000, "bf16", 1, 2048)


@pytest.mark.parametrize(("version", "gib"), [("0.16.0", 5.60), ("0.17.0", 2.20), ("0.33.0", 2.20)])
def test_the_old_sampler_sorted_the_vocabulary(version: str, gib: float) -> None:
    """Qwen3 14B on an H100 printed an activation peak of 5.64 GiB before vLLM 0.17 and 2.23 GiB since."""
    shape = find("hermes-4-14b", "bf16").shape
    values = settings(version=parse_version(version), sequences=1024, batched_tokens=8192)

    assert gib == pytest.approx(activation_bytes(shape, values) / GIB, abs=0.01)


@pytest.mark.parametrize(
    ("version", "eager", "counted"), [("0.20.0", False, 0), ("0.21.0", False, 1), ("0.33.0", True, 0)]
)
def test_graphs_are_set_aside_since_0_21(version: str, eager: bool, counted: int) -> None:
    """CUDA graphs come off the KV cache since vLLM 0.21, unless there are none."""
    budget = vllm_budget(LLAMA_8B, PRECISIONS["bf16"], 24 * GIB, settings(version=parse_version(version), eager=eager))

    assert counted * graph_bytes(32) == budget.graphs


@pytest.mark.parametrize(
    ("tp", "pp", "own", "nccl"), [(1, 1, 0.25, 0), (2, 1, 0.25, 1.85), (8, 1, 0.25, 2.03), (1, 2, 0.07, 0)]
)
def test_non_torch(tp: int, pp: int, own: float, nccl: float) -> None:
    """NCCL takes two GiB with the first other GPU and little with each further one."""
    found = non_torch_bytes(settings(tensor_parallel=tp, pipeline_parallel=pp))

    assert (round(own * GIB), round(nccl * GIB)) == found


def test_experts_keep_a_workspace() -> None:
    """The buffers of fused experts come on top of the larger peak."""
    mixture = LLAMA_8B.model_copy(update={"experts": Experts(count=8, per_token=2, intermediate=14336)})
    values = settings(batched_tokens=8192, sequences=8)

    # One batch through 3 × 4096 values, and the experts' buffers: gate and up of two experts, and their product.
    peak = round(8192 * 3 * 4096 * 2 + 0.15 * GIB) + 8192 * 2 * (2 * 14336 + 14336) * 2
    assert peak == activation_bytes(mixture, values)


def test_mxfp4_experts_keep_none() -> None:
    """Kernels of MXFP4 experts have no such buffers."""
    mixture = LLAMA_8B.model_copy(update={"experts": Experts(count=8, per_token=2, intermediate=14336)})
    values = settings(batched_tokens=8192, sequences=8)
    workspace = 8192 * 2 * (2 * 14336 + 14336) * 2

    assert workspace == activation_bytes(mixture, values) - activation_bytes(
        mixture, values, precision=PRECISIONS["mxfp4"]
    )


def test_a_tower_leaves_its_outputs() -> None:
    """A vision tower's outputs for one batch come on top: four values per token and hidden element."""
    seeing = LLAMA_8B.model_copy(update={"tower_parameters": 400_000_000})
    values = settings(batched_tokens=8192)

    assert 4 * 8192 * 4096 * 2 == activation_bytes(seeing, values) - activation_bytes(LLAMA_8B, values)


@pytest.mark.parametrize(
    ("text", "expected"), [("0.33.0", (0, 33, 0)), ("v0.12", (0, 12)), ("0.20.0rc1", (0, 20, 0)), ("new", ())]
)
def test_versions(text: str, expected: tuple[int, ...]) -> None:
    """A version is compared by its numbers."""
    assert expected == parse_version(text)


@pytest.mark.parametrize(
    ("gib", "a100", "sequences", "tokens"),
    [(24, False, 256, 2048), (80, True, 256, 2048), (80, False, 1024, 8192), (180, False, 1024, 16384)],
)
def test_defaults_of_a_card(gib: int, a100: bool, sequences: int, tokens: int) -> None:
    """What vLLM takes for a card when nobody says."""
    device = gib * GIB

    assert (sequences, tokens) == (
        default_sequences(device, is_a100=a100),
        default_batched_tokens(device, is_a100=a100),
    )


@pytest.mark.parametrize(("version", "share"), [((0, 12, 0), 0.90), ((0, 19, 0), 0.90), ((0, 33, 0), 0.92)])
def test_default_share(version: tuple[int, ...], share: float) -> None:
    """The share of a GPU that vLLM takes by itself has grown."""
    assert share == default_utilisation(version)


@pytest.mark.parametrize(
    ("total", "expected"), [(24 * GIB, GIB // 2), (50 * GIB, GIB // 2), (80 * GIB, 80 * GIB // 100)]
)
def test_margin(total: int, expected: int) -> None:
    """Half a GiB is kept, or one per cent where that is more."""
    assert expected == margin(total)


def test_margin_lies_between_promise_and_expectation() -> None:
    """What is promised is what is expected less the margin; all terms add up to the card."""
    budget = vllm_budget(LLAMA_8B, PRECISIONS["bf16"], 24 * GIB, settings())

    assert GIB // 2 == budget.kv_expected - budget.kv_cache
    assert 24 * GIB == sum(budget.terms.values())


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_stages_hold_the_whole_model(stages: int) -> None:
    """The stages of a pipeline have all weights between them; a tied table is on the first and on the last."""
    for name in ("hermes-3-3b", "hermes-3-8b"):
        shape, bf16 = built_in_catalog()[name][0].shape, PRECISIONS["bf16"]
        parts = [weight_bytes(shape, bf16, pipeline_parallel=stages, stage=stage) for stage in range(stages)]
        twice = shape.vocab * shape.hidden * 2 if shape.tied_embeddings and stages > 1 else 0

        assert published_bytes(shape, bf16) + twice == sum(part.weights for part in parts)


@pytest.mark.parametrize(
    ("kv_mib", "tokens"),
    [(-1, 0), (0, 0), (2, 0), (4, 16), (5, 16), (1024, 8176)],
)
def test_kv_tokens_are_blocks(kv_mib: int, tokens: int) -> None:
    """Tokens come in blocks of 16, one block is vLLM's own, and there are never fewer than none."""
    size = kv_mib * MIB
    budget = MemoryBudget(device=GIB, usable=size, weights=0, activations=0, non_torch=0, margin=0, kv_per_token=131072)

    assert tokens == budget.kv_tokens


def test_a_shape_of_its_own() -> None:
    """A feed-forward part without a gate has two matrices in place of three."""
    plain = Shape(layers=1, hidden=64, intermediate=256, heads=4, kv_heads=4, head_dim=16, vocab=64, max_context=1)
    ungated = plain.model_copy(update={"gated": False})

    assert 64 * 256 * 2 == published_bytes(plain, PRECISIONS["bf16"]) - published_bytes(ungated, PRECISIONS["bf16"])
