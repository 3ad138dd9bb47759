"""SGLang: what it accepts, how it spreads a model, and how much of a GPU is left for the KV cache."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.engines import sglang
from hermeion.engines.config_files import sglang_yaml
from hermeion.engines.places import find_places
from hermeion.engines.protocol import Engine, Layout, Load, Said, Setup
from hermeion.engines.tables import table
from hermeion.hosts import Gpu
from hermeion.inventory import ServiceSpec
from hermeion.memory.kv_cache import KvPrecision
from hermeion.memory.sglang import (
    Settings,
    default_decode_batch,
    default_settings,
    free_before_loading,
    fullest_stage,
    kv_per_token,
    pipeline_layers,
    prefill_graph_sizes,
    reserved_mib,
    sglang_budget,
    stage_weights,
    static_fraction,
    vision_factor,
)
from hermeion.plans import margin
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Experts, Latent, Shape
from hermeion.units import GIB, MIB
from hermeion.variants import Variant, built_in_catalog
from hermeion.weights import published_bytes

ENGINE: Engine = sglang  # mypy compares the module with the protocol

LLAMA_8B = Shape(
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocab=128256,
    max_context=131072,
    architecture="LlamaForCausalLM",
)
LLAMA_70B = LLAMA_8B.model_copy(update={"layers": 80, "hidden": 8192, "intermediate": 28672, "heads": 64})
LLAMA_405B = LLAMA_8B.model_copy(update={"layers": 126, "hidden": 16384, "intermediate": 53248, "heads": 128})
SEED_36B = Shape(
    layers=64,
    hidden=5120,
    intermediate=27648,
    heads=80,
    kv_heads=8,
    head_dim=128,
    vocab=155136,
    max_context=524288,
    qkv_bias=True,
    architecture="SeedOssForCausalLM",
)
QWEN3_8B = Shape(
    layers=36,
    hidden=4096,
    intermediate=12288,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocab=151936,
    max_context=40960,
    architecture="Qwen3ForCausalLM",
)
QWEN3_30B_A3B = Shape(
    layers=48,
    hidden=2048,
    intermediate=6144,
    heads=32,
    kv_heads=4,
    head_dim=128,
    vocab=151936,
    max_context=40960,
    experts=Experts(count=128, per_token=8, intermediate=768),
    architecture="Qwen3MoeForCausalLM",
)
LATENT = Latent(kv_rank=512, query_rank=1536, nope_dim=128, rope_dim=64, value_dim=128)
SHAPES = {"8b": LLAMA_8B, "36b": SEED_36B, "70b": LLAMA_70B, "405b": LLAMA_405B}

# nvidia-smi's total and what CUDA sees of it, in MiB.
CARDS = {
    "RTX 4090": (24564, 24094),
    "RTX 5090": (32607, 32112),
    "L40S": (46068, 45455),
    "H100": (81559, 81090),
    "H200": (143771, 143155),
    "B200": (183359, 182591),
}


def make_gpu(capability: tuple[int, int] = (9, 0), card: str = "H100") -> Gpu:
    """A GPU that nobody else uses."""
    total, cuda = CARDS[card]
    return Gpu(
        pci_address="0000:17:00.0",
        uuid=None,
        model=card,
        memory=total * MIB,
        cuda=cuda * MIB,
        free=total * MIB,
        architecture="any",
        compute_capability=capability,
    )


def make_variant(precision: str = "bf16", shape: Shape = LLAMA_8B, quant_method: str | None = None) -> Variant:
    """A variant of exactly the size that follows from its shape."""
    return Variant(
        name=f"model-{precision}",
        model="model",
        repo="a/b",
        revision=None,
        precision=precision,
        bytes=published_bytes(shape, PRECISIONS[precision], 4 if precision == "fp32" else 2),
        shape=shape,
        quant_method=quant_method,
    )


def settings(card: str, tensor_parallel: int = 1, pipeline_parallel: int = 1) -> Settings:
    """SGLang's defaults for a card."""
    return default_settings(CARDS[card][0] * MIB, tensor_parallel, pipeline_parallel)


@pytest.mark.parametrize(
    ("gib", "one", "four", "chunk"),
    [
        (15, 8, 8, 2048),
        (19.99, 8, 8, 2048),
        (20, 48, 160, 4096),
        (34.99, 48, 160, 4096),
        (35, 32, 160, 4096),
        (59.99, 32, 160, 4096),
        (60, 256, 512, 8192),
        (159.99, 256, 512, 8192),
        (160, 512, 512, 16384),
    ],
)
def test_defaults_follow_the_size_of_the_card(gib: float, one: int, four: int, chunk: int) -> None:
    """`_handle_gpu_memory_settings` steps at 20, 35, 60 and 160 GiB, and with 4 GPUs graphs go up to larger batches."""
    total = int(gib * GIB)

    assert (one, one, four, chunk) == (
        default_decode_batch(total),
        default_decode_batch(total, 3),
        default_decode_batch(total, 4),
        default_settings(total).chunked_prefill,
    )


@pytest.mark.parametrize(("most", "count"), [(2048, 42), (4096, 50), (8192, 58), (16384, 74), (3, 0)])
def test_prefill_graphs(most: int, count: int) -> None:
    """The prefill has 58 CUDA graphs with 8192 tokens, as a start-up log lists them, and 74 with 16384."""
    assert count == len(prefill_graph_sizes(most))


@pytest.mark.parametrize(
    ("card", "tensor_parallel", "mib", "fraction"),
    [
        # 512 + 1.5 × 4096 + 1024 / 8 + 2 × 48 + 8 × 50; (24564 - 7280) / 24564
        ("RTX 4090", 1, 7280, 0.704),
        # 512 + 1.5 × 4096 + 1024 / 8 + 2 × 32 + 8 × 50
        ("L40S", 1, 7248, 0.843),
        # 512 + 1.5 × 8192 + 1024 / 8 + 2 × 256 + 8 × 58; an H100's log says mem_fraction_static=0.83
        ("H100", 1, 13904, 0.83),
        # 512 + 1.5 × 8192 + 8 × 1024 / 8 + 2 × 512 + 8 × 58
        ("H100", 8, 15312, 0.812),
        # 512 + 1.5 × 16384 + 1024 / 8 + 2 × 512 + 8 × 74
        ("B200", 1, 26832, 0.854),
    ],
)
def test_reserve(card: str, tensor_parallel: int, mib: float, fraction: float) -> None:
    """The reserve and `mem-fraction-static` are those of `server_args.py`."""
    chosen = settings(card, tensor_parallel)

    assert (mib, fraction) == (reserved_mib(LLAMA_8B, chosen), static_fraction(LLAMA_8B, chosen))


def test_large_cards_keep_ten_gib() -> None:
    """Above 60 GiB the reserve is never below 10 GiB, however small the batches are; below there is no such floor."""
    small = settings("H100")._replace(chunked_prefill=2048, max_decode_batch=1)

    assert (10 * 1024, 512 + 3072 + 128 + 2 + 8 * 42) == (
        reserved_mib(LLAMA_8B, small),
        reserved_mib(LLAMA_8B, small._replace(total=60 * GIB)),
    )


def test_latent_attention_reserves_more_for_graphs() -> None:
    """Prefill graphs of latent attention count 1.5 GiB, whatever their number."""
    latent = LLAMA_8B.model_copy(update={"latent": LATENT})
    chosen = settings("H100")

    assert 1536 - 8 * 58 == reserved_mib(latent, chosen) - reserved_mib(LLAMA_8B, chosen)


@pytest.mark.parametrize(
    ("parameters", "factor"),
    # ViT-L/14 has 12 × 24 × 1024² parameters: 0.95. Twice as many: 0.95 × 0.9. The ends are 0.95 × 0.8 and × 1.05.
    [(301_989_888, 0.95), (603_979_776, 0.855), (6_000_000_000, 0.76), (1, 0.9975), (150_994_944, 0.9975)],
)
def test_vision_takes_a_part(parameters: int, factor: float) -> None:
    """A vision tower lowers `mem-fraction-static` by its size, within limits."""
    assert factor == pytest.approx(vision_factor(parameters))


def test_vision_lowers_the_fraction() -> None:
    """A model that sees has less KV cache than one that does not."""
    seeing = LLAMA_8B.model_copy(update={"tower_parameters": 301_989_888})

    assert 0.83 * 0.95 == pytest.approx(static_fraction(seeing, settings("H100")))


def test_free_before_loading() -> None:
    """8 H100s have 77.3 GiB free before loading, one has 78.4: NCCL is taken off where there are several GPUs."""
    device = CARDS["H100"][1] * MIB

    assert [78.4, 77.3, 77.3] == [
        round(free_before_loading(device, settings("H100", *parallel)) / GIB, 1)
        for parallel in ((1, 1), (8, 1), (1, 2))
    ]


@pytest.mark.parametrize(
    ("shape", "precision", "card", "tokens", "loaded"),
    [
        # avail mem=78.48 GB, mem usage=29.15 GB, #tokens: 392920 (mem_fraction_static=0.83)
        (QWEN3_30B_A3B, "fp8-block", "H100", 392_920, 29.15),
        # avail mem=177.57 GB, mem usage=15.28 GB, #tokens: 992896
        (QWEN3_8B, "bf16", "B200", 992_896, 15.28),
    ],
)
def test_start_up_logs(shape: Shape, precision: str, card: str, tokens: int, loaded: float) -> None:
    """Two public start-up logs of SGLang 0.5 with default settings come out to 0.2 %, and their weights to 0.15 GiB."""
    budget = sglang_budget(shape, PRECISIONS[precision], CARDS[card][1] * MIB, settings(card))

    assert tokens == pytest.approx(budget.kv_tokens_expected, rel=0.002)
    assert loaded == pytest.approx(budget.fixed / GIB, abs=0.15)


@pytest.mark.parametrize(
    ("model", "precision", "card", "parallel", "tokens"),
    [
        # usable = (CUDA memory - 0.8 GiB - 1.1 GiB for NCCL) × fraction, in GiB; weights with a 32-bit rotary cache.
        # 22.729 × 0.704 = 16.001; 16.001 - 15.020 = 0.981; / 128 KiB
        ("8b", "bf16", "RTX 4090", (1, 1), 8_016),
        # 43.590 × 0.843 = 36.746; 36.746 - 15.020 = 21.726; / 128 KiB
        ("8b", "bf16", "L40S", (1, 1), 177_952),
        # 30.559 × 0.777 = 23.745, and the weights alone are 35.418
        ("36b", "fp8", "RTX 5090", (1, 1), 0),
        # 36.746 - 35.418 = 1.328; / 256 KiB
        ("36b", "fp8", "L40S", (1, 1), 5_424),
        # 78.389 × 0.83 = 65.063; 65.063 - 35.418 = 29.646; / 256 KiB
        ("36b", "fp8", "H100", (1, 1), 121_408),
        # 77.289 × 0.828 = 63.996; 63.996 - 33.912 = 30.084; / 160 KiB
        ("70b", "fp8", "H100", (2, 1), 197_136),
        # 77.289 × 0.812 = 62.759; 62.759 - 47.831 = 14.928; / 63 KiB
        ("405b", "fp8", "H100", (8, 1), 248_432),
        # 137.900 × 0.893 = 123.145; 123.145 - 94.566 = 28.578; / 63 KiB
        ("405b", "bf16", "H200", (8, 1), 475_632),
        # 42.490 × 0.837 = 35.564; 27 of 80 layers and the output layer are 23.544; 12.019 / 108 KiB
        ("70b", "fp8", "L40S", (1, 3), 116_672),
    ],
)
def test_worked_examples(model: str, precision: str, card: str, parallel: tuple[int, int], tokens: int) -> None:
    """KV caches worked out by hand for SGLang's defaults come out to the token."""
    budget = fullest_stage(SHAPES[model], PRECISIONS[precision], CARDS[card][1] * MIB, settings(card, *parallel))

    assert tokens == budget.kv_tokens_expected


def test_terms_add_up() -> None:
    """The reserve stands in what is left alone: nothing is set aside twice, and the picture fills the GPU."""
    budget = sglang_budget(SEED_36B, PRECISIONS["fp8"], CARDS["H100"][1] * MIB, settings("H100"))

    assert (0, 0, 0, 0) == (budget.activations, budget.non_torch, budget.nccl, budget.graphs)
    assert budget.device == sum(budget.terms.values())
    assert 13.9 * GIB == pytest.approx(budget.idle, rel=0.03)


@pytest.mark.parametrize(("own", "kept"), [(None, 81090 * MIB // 100), (0, 0), (GIB, GIB)])
def test_margin_is_kept(own: int | None, kept: int) -> None:
    """One per cent of a large GPU is kept unless somebody says how much."""
    device = CARDS["H100"][1] * MIB
    budget = sglang_budget(LLAMA_8B, PRECISIONS["bf16"], device, settings("H100"), own_margin=own)

    assert kept == budget.kv_expected - budget.kv_cache


def test_margin_of_a_small_gpu() -> None:
    """Half a GiB is kept where one per cent would be less."""
    assert GIB // 2 == margin(24 * GIB)


def test_published_size_corrects_the_weights() -> None:
    """Weights that are twice as large as their shape says take twice the memory; the rotary cache stays."""
    device, chosen, precision = CARDS["H100"][1] * MIB, settings("H100"), PRECISIONS["bf16"]
    size = published_bytes(LLAMA_8B, precision)
    plain = sglang_budget(LLAMA_8B, precision, device, chosen)
    twice = sglang_budget(LLAMA_8B, precision, device, chosen, published=2 * size)

    assert (2 * plain.weights, plain.rotary) == (twice.weights, twice.rotary)


@pytest.mark.parametrize(
    ("vocab", "tensor_parallel", "rows"),
    # 151,936 is a multiple of 128; 151,937 becomes 152,000 on one GPU and 152,064 over two, half on each.
    [(151_936, 2, 75_968), (151_937, 1, 152_000), (151_937, 2, 76_032)],
)
def test_vocabulary_is_padded_on_each_gpu(vocab: int, tensor_parallel: int, rows: int) -> None:
    """Every GPU has a multiple of 64 rows of the vocabulary, in both tables."""
    shape = LLAMA_8B.model_copy(update={"vocab": vocab})
    base = LLAMA_8B.model_copy(update={"vocab": 64 * tensor_parallel})
    chosen = settings("H100", tensor_parallel)
    tables = [stage_weights(one, PRECISIONS["bf16"], chosen, 0).weights for one in (shape, base)]

    assert 2 * (rows - 64) * 4096 * 2 == tables[0] - tables[1]


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [(32, 1, (32,)), (32, 2, (16, 16)), (32, 3, (10, 11, 11)), (126, 4, (31, 31, 32, 32)), (5, 5, (1, 1, 1, 1, 1))],
)
def test_left_over_layers_come_last(layers: int, stages: int, expected: tuple[int, ...]) -> None:
    """`get_pp_indices` gives what is left over to the last stages."""
    assert expected == pipeline_layers(layers, stages)


@pytest.mark.parametrize("stages", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("shape", [LLAMA_8B, QWEN3_30B_A3B, SEED_36B])
def test_stages_add_up(shape: Shape, stages: int) -> None:
    """All stages of a pipeline together have the weights of the whole model."""
    precision = PRECISIONS["fp8"]
    whole = stage_weights(shape, precision, settings("H100"), 0)
    parts = [stage_weights(shape, precision, settings("H100", 1, stages), stage) for stage in range(stages)]

    assert whole.weights == pytest.approx(sum(part.weights for part in parts), abs=2 * stages)
    assert whole.scales == pytest.approx(sum(part.scales for part in parts), abs=2 * stages)


def test_tied_table_is_on_both_ends() -> None:
    """A table that is input and output stands on the first and on the last stage of a pipeline."""
    tied = LLAMA_8B.model_copy(update={"tied_embeddings": True})
    whole = stage_weights(tied, PRECISIONS["bf16"], settings("H100"), 0).weights
    parts = [stage_weights(tied, PRECISIONS["bf16"], settings("H100", 1, 2), stage).weights for stage in (0, 1)]

    assert 128256 * 4096 * 2 == sum(parts) - whole


def test_pipeline_takes_the_worst_of_all_stages() -> None:
    """The stage with the heaviest weights and the one with the most layers decide, even where these are two."""
    device, chosen = CARDS["H100"][1] * MIB, settings("H100", 1, 3)
    wide = LLAMA_8B.model_copy(update={"vocab": 2_000_000, "tied_embeddings": True, "layers": 31})
    stages = [sglang_budget(wide, PRECISIONS["bf16"], device, chosen, stage=stage) for stage in range(3)]
    whole = fullest_stage(wide, PRECISIONS["bf16"], device, chosen)

    assert (10, 10, 11) == pipeline_layers(31, 3)
    assert (max(s.weights for s in stages), max(s.kv_per_token for s in stages)) == (whole.weights, whole.kv_per_token)


@pytest.mark.parametrize(
    ("shape", "tensor_parallel", "expected"),
    [
        (LLAMA_8B, 1, 2 * 32 * 8 * 128 * 2),
        (LLAMA_8B, 8, 2 * 32 * 1 * 128 * 2),
        (LLAMA_8B, 16, 2 * 32 * 1 * 128 * 2),
        (LLAMA_8B.model_copy(update={"latent": LATENT}), 8, 32 * (512 + 64) * 2),
        (LLAMA_8B.model_copy(update={"sliding_window": 1024, "sliding_layers": 24}), 1, 2 * 32 * 8 * 128 * 2),
    ],
)
def test_cache_of_a_token(shape: Shape, tensor_parallel: int, expected: int) -> None:
    """Heads are split and then replicated, a latent is never split, and sliding windows count in full."""
    assert expected == kv_per_token(shape, shape.layers, tensor_parallel)


@pytest.mark.parametrize(
    ("precision", "accepted_from"),
    [
        ("fp32", (8, 0)),
        ("bf16", (8, 0)),
        ("fp16", (8, 0)),
        ("fp8", (8, 0)),
        ("fp8-block", (8, 0)),
        ("int8", (8, 0)),
        ("nvfp4", (8, 0)),
        ("mxfp4", (8, 0)),
        ("awq", (8, 0)),
        ("gptq", (8, 0)),
        ("gptq-8bit", (8, 0)),
    ],
)
@pytest.mark.parametrize("capability", [(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)])
def test_acceptance(precision: str, accepted_from: tuple[int, int], capability: tuple[int, int]) -> None:
    """Weights of every kind are loaded from compute capability 8.0 on, and none below it."""
    refused = sglang.accepts(make_variant(precision), [make_gpu(capability)])

    assert (capability < accepted_from) == bool(refused)


@pytest.mark.parametrize(
    ("variant", "capability", "reason"),
    [
        (
            make_variant(),
            (7, 5),
            "compute capability 7.5 is older than SGLang's practical minimum of 8.0",
        ),
        (
            make_variant("fp8", quant_method="fbgemm_fp8"),
            (9, 0),
            "SGLang has no format fbgemm_fp8; take a compressed-tensors FP8 variant",
        ),
        (make_variant("q4_k_m"), (9, 0), "GGUF files are planned for llama.cpp and Ollama, not for SGLang"),
        (make_variant("fp8", quant_method="compressed-tensors"), (8, 0), None),
    ],
)
def test_reasons(variant: Variant, capability: tuple[int, int], reason: str | None) -> None:
    """Every refusal is one sentence with what it is about."""
    assert reason == sglang.accepts(variant, [make_gpu(capability)])


def test_the_oldest_gpu_decides() -> None:
    """Among unequal GPUs the oldest is asked."""
    gpus = [make_gpu((9, 0)), make_gpu((7, 5))]

    assert "compute capability 7.5 is older than SGLang's practical minimum of 8.0" == sglang.accepts(
        make_variant(), gpus
    )


@pytest.mark.parametrize(
    ("precision", "native"),
    [
        ("bf16", "8.0 8.6 8.9 9.0 10.0 12.0"),
        ("fp16", "8.0 8.6 8.9 9.0 10.0 12.0"),
        ("int8", "8.0 8.6 8.9 9.0 10.0 12.0"),
        ("fp8", "8.9 9.0 10.0 12.0"),
        ("fp8-block", "8.9 9.0 10.0 12.0"),
        ("nvfp4", "10.0 12.0"),
        ("mxfp4", "10.0 12.0"),
        ("awq", ""),
        ("gptq", ""),
        ("fp32", ""),
    ],
)
def test_native_precisions(precision: str, native: str) -> None:
    """FP8 is computed in from 8.9 on, NVFP4 from 10.0 on; AWQ and GPTQ are always unpacked, 32 bits are cut."""
    capabilities = [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
    found = [f"{a}.{b}" for a, b in capabilities if sglang.is_native(make_variant(precision), [make_gpu((a, b))])]

    assert native == " ".join(found)


@pytest.mark.parametrize(
    ("variant", "capability", "expected"),
    [
        (make_variant("bf16"), (8, 0), ()),
        (make_variant("fp8"), (8, 9), ()),
        (make_variant("awq"), (8, 0), ()),
        (
            make_variant("fp8"),
            (8, 0),
            (
                "weight-only: compute capability 8.0 stores fp8 weights and computes in 16 bits: no speed-up, memory "
                "saving only",
            ),
        ),
        (
            make_variant("nvfp4"),
            (9, 0),
            (
                "weight-only: compute capability 9.0 stores nvfp4 weights and computes in 16 bits: no speed-up, memory "
                "saving only",
            ),
        ),
        (make_variant("fp32"), (9, 0), ("SGLang loads 32-bit weights as fp16",)),
        (
            make_variant("fp8", SEED_36B),
            (8, 6),
            (
                "weight-only: compute capability 8.6 stores fp8 weights and computes in 16 bits: no speed-up, memory "
                "saving only",
                "SGLang does not implement SeedOssForCausalLM and falls back to the Transformers backend, which is "
                "slower",
            ),
        ),
    ],
)
def test_remarks(variant: Variant, capability: tuple[int, int], expected: tuple[str, ...]) -> None:
    """A person hears of weight-only quantisation, of cut weights, and of the fallback that Seed-OSS gets."""
    assert expected == sglang.remarks(variant, [make_gpu(capability)])


@pytest.mark.parametrize(
    ("shape", "precision", "count", "expected"),
    [
        (LLAMA_8B, "bf16", 1, Layout(1, 1)),
        (LLAMA_8B, "bf16", 8, Layout(8, 1)),
        (LLAMA_8B, "bf16", 3, Layout(1, 3)),
        (LLAMA_8B, "bf16", 6, Layout(2, 3)),
        (SEED_36B, "fp8", 16, Layout(16, 1)),
        (SEED_36B, "fp8", 5, Layout(1, 5)),
        # Experts of 768 are 6 blocks of 128: over 2 GPUs 3 each, over 4 no whole number.
        (QWEN3_30B_A3B, "fp8-block", 2, Layout(2, 1)),
        (QWEN3_30B_A3B, "fp8-block", 4, Layout(2, 2)),
        (QWEN3_30B_A3B, "fp8", 4, Layout(4, 1)),
        # 14336 are 112 blocks: over 16 GPUs 7 each, over 32 no whole number.
        (LLAMA_8B, "fp8-block", 16, Layout(16, 1)),
        (LLAMA_8B, "fp8-block", 32, Layout(16, 2)),
        (
            LLAMA_8B,
            "bf16",
            37,
            "32 layers cannot be a pipeline of 37 stages; without one, these numbers of GPUs work: 1, 2, 4, 8, 16, 32",
        ),
    ],
)
def test_layout(shape: Shape, precision: str, count: int, expected: Layout | str) -> None:
    """Heads, and FP8 blocks, are split as far as they can be, a pipeline takes the rest, and an end is told."""
    assert expected == sglang.layout(make_variant(precision, shape), count)


@pytest.mark.parametrize(("capability", "expected"), [((8, 6), ("bf16",)), ((8, 9), ("bf16", "fp8"))])
def test_kv_precisions(capability: tuple[int, int], expected: tuple[str, ...]) -> None:
    """The KV cache may have 8 bits from compute capability 8.9 on."""
    assert expected == sglang.kv_precisions([make_gpu(capability)])


@pytest.mark.parametrize(
    ("card", "count", "expected"), [("RTX 4090", 1, 48), ("RTX 4090", 4, 160), ("H100", 2, 256), ("B200", 1, 512)]
)
def test_default_sequences(card: str, count: int, expected: int) -> None:
    """As many requests are planned as SGLang has CUDA graphs for."""
    assert expected == sglang.default_sequences([make_gpu(card=card)] * count)


@pytest.mark.parametrize(
    ("context", "tokens"),
    # Whole pages of 64 tokens, and one more.
    [(1, 128), (64, 128), (65, 192), (131072, 131136)],
)
def test_kv_needed_is_one_request(context: int, tokens: int) -> None:
    """One request of the context has to fit, however many there may be."""
    needed = {sglang.kv_needed(make_variant(), (), Layout(), Load(context, sequences)) for sequences in (1, 256)}

    assert {tokens * 131072} == needed


@pytest.mark.parametrize(
    ("layout", "kv", "bytes_of_a_token"),
    [
        (Layout(2, 1), "bf16", 65536),
        (Layout(1, 3), "bf16", 11 * 4096),
        (Layout(1, 1), "fp8", 65536),
        (Layout(2, 2), "fp8", 16384),
    ],
)
def test_kv_needed_on_each_gpu(layout: Layout, kv: KvPrecision, bytes_of_a_token: int) -> None:
    """What one GPU needs falls with tensor parallelism, with pipeline stages and with 8 bits."""
    assert (8192 + 64) * bytes_of_a_token == sglang.kv_needed(make_variant(), (), layout, Load(8192, 1, kv))


def test_more_context_is_never_less() -> None:
    """A longer context needs more of the cache, or the same."""
    needed = [sglang.kv_needed(make_variant(), (), Layout(2), Load(context, 1)) for context in range(1, 9000, 37)]

    assert sorted(needed) == needed


@pytest.mark.parametrize("stages", [1, 2])
def test_more_gpus_never_hold_more_each(stages: int) -> None:
    """Over more GPUs each has less of weights and cache, or the same."""
    variant = make_variant("bf16", LLAMA_70B)
    load = Load(8192, 1)
    layouts = [Layout(size, stages) for size in (1, 2, 4, 8, 16)]
    gpus = [make_gpu(card="H200")]
    fixed = [sglang.budget(variant, gpus * layout.gpus, layout, load).fixed for layout in layouts]
    needed = [sglang.kv_needed(variant, (), layout, load) for layout in layouts]

    assert (sorted(fixed, reverse=True), sorted(needed, reverse=True)) == (fixed, needed)


def test_budget_is_of_the_smallest_gpu() -> None:
    """With GPUs of two sizes the smaller one decides."""
    small, large = make_gpu(card="RTX 4090"), make_gpu(card="H100")
    variant, load = make_variant(), Load(4096, 1)

    assert sglang.budget(variant, [small, small], Layout(2), load) == sglang.budget(
        variant, [large, small], Layout(2), load
    )


def test_cut_weights_take_half() -> None:
    """Weights of 32 bits are loaded as 16 and take no more than those of a 16-bit variant."""
    gpus, load = [make_gpu()], Load(4096, 1)

    assert sglang.budget(make_variant("bf16"), gpus, Layout(), load).weights == pytest.approx(
        sglang.budget(make_variant("fp32"), gpus, Layout(), load).weights, abs=2
    )


@pytest.mark.parametrize(("kv", "per_token"), [("bf16", 131072), ("fp8", 65536)])
def test_budget_knows_the_cache_precision(kv: KvPrecision, per_token: int) -> None:
    """With 8 bits twice as many tokens fit into the same bytes."""
    assert per_token == sglang.budget(make_variant(), [make_gpu()], Layout(), Load(4096, 1, kv)).kv_per_token


def test_constants() -> None:
    """The image is named as SGLang publishes it, and needs CUDA 13's driver."""
    assert ("sglang", "SGLang", "lmsysorg/sglang:v0.5.23", 580) == (
        sglang.NAME,
        sglang.LABEL,
        sglang.IMAGE.format(version=sglang.VERSIONS[-1]),
        sglang.MIN_DRIVER,
    )


def setup_of(version: str = "0.5.23", layout: Layout = Layout(), **keys: Any) -> Setup:  # noqa: B008  # immutable
    """The planner's choices for a 14B on H100s."""
    spec = ServiceSpec.model_validate({"name": "hermes", "model": "hermes-4-14b", "engine": "sglang", **keys})
    variant = built_in_catalog()["hermes-4-14b"][0]
    return Setup(
        spec=spec,
        variant=variant,
        version=version,
        revision="0" * 40,
        gpus=(make_gpu(),) * layout.gpus,
        layout=layout,
        load=Load(4096, 8),
        served_names=("hermes", variant.repo),
        places=find_places("hermes", spec.runtime, weights="/srv", path=None, port=8000, container_port=sglang.PORT),
        start_seconds=900,
    )


def test_configuration() -> None:
    """Everything that the plan decides is given, SGLang's own defaults too; thinking is off unless wanted."""
    assert {
        "model-path": "NousResearch/Hermes-4-14B",
        "revision": "0" * 40,
        "served-model-name": "hermes",
        "host": "0.0.0.0",  # noqa: S104  # inside the container
        "port": 30000,
        "tp-size": 1,
        "context-length": 4096,
        "max-running-requests": 8,
        "mem-fraction-static": 0.83,
        "chunked-prefill-size": 8192,
        "cuda-graph-max-bs-decode": 256,
        "enable-metrics": True,
        "sampling-defaults": "model",
        "log-level": "warning",
        "tool-call-parser": "hermes",
        "reasoning-parser": "deepseek-v3",
        "default-chat-template-kwargs": {"thinking": False},
        "preferred-sampling-params": {"temperature": 0.6, "top_p": 0.95, "top_k": 20},
    } == sglang.config(setup_of())


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        (setup_of(thinking=True), {"default-chat-template-kwargs": {"thinking": True}}),
        (setup_of("0.5.14"), {"default-chat-template-kwargs": None, "cuda-graph-max-bs-decode": 256}),
        (setup_of("0.5.9"), {"cuda-graph-max-bs-decode": None, "cuda-graph-max-bs": 256}),
        (setup_of(layout=Layout(2, 2)), {"tp-size": 2, "pp-size": 2, "cuda-graph-max-bs-decode": 256}),
        (setup_of(extra_args={"random_seed": 1, "--stream_interval": 4}), {"random-seed": 1, "stream-interval": 4}),
        (setup_of()._replace(load=Load(4096, 8, "fp8")), {"kv-cache-dtype": "fp8_e4m3"}),
    ],
)
def test_configuration_follows_the_setup(setup: Setup, expected: dict[str, Any]) -> None:
    """Thinking, layout, precision, own options and what a version knows are in the configuration."""
    config = sglang.config(setup)

    assert expected == {key: config.get(key) for key in expected}


@pytest.mark.parametrize("version", sglang.VERSIONS)
def test_every_version_knows_its_options(version: str) -> None:
    """Whatever is configured for a version is in its table."""
    assert set() == set(sglang.config(setup_of(version))) - set(table("sglang", version).options)


@pytest.mark.parametrize(
    ("card", "layout", "fraction"),
    [("RTX 4090", Layout(), 0.704), ("H100", Layout(8), 0.812), ("B200", Layout(), 0.854)],
)
def test_share_of_a_gpu(card: str, layout: Layout, fraction: float) -> None:
    """`mem-fraction-static` is the one that the plan's memory was computed with."""
    gpus = (make_gpu(card=card),) * layout.gpus

    assert fraction == sglang.config(setup_of(layout=layout)._replace(gpus=gpus))["mem-fraction-static"]


def test_environment() -> None:
    """The engine asks nobody on the internet, and writes nowhere but in its private cache."""
    cache = "/var/cache/hermeion-hermes"

    assert {
        "DO_NOT_TRACK": "1",
        "HF_HOME": f"{cache}/huggingface",
        "HF_HUB_CACHE": "/srv/hub",
        "HF_HUB_OFFLINE": "1",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torchinductor",
        "XDG_CACHE_HOME": f"{cache}/xdg",
        "XDG_CONFIG_HOME": f"{cache}/xdg",
    } == sglang.environment(setup_of(runtime="systemd"))


def test_configuration_file() -> None:
    """A mapping is JSON text: SGLang 0.5.9 writes it as Python does otherwise, and no parser reads that."""
    assert "a: '{\"top_k\": 20}'\nb: true\n" == sglang_yaml({"b": True, "a": {"top_k": 20}})


START = """\
[2026-11-20 10:00:00] server_args={'model_path': 'NousResearch/Hermes-4-14B'}
[2026-11-20 10:00:41] Load weight end. elapsed=12.31 s, type=Qwen3ForCausalLM, avail mem=50.77 GB, mem usage=27.52 GB.
[2026-11-20 10:00:42] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 244160, K size: 18.63 GB, V size: 18.63 GB
[2026-11-20 10:00:59] max_total_num_tokens=244160, chunked_prefill_size=8192, max_prefill_tokens=16384, \
max_running_requests=256, context_len=40960, available_gpu_mem=12.40 GB
"""
READY = "[2026-11-20 10:01:10] The server is fired up and ready to roll!\n"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", Said()),
        (
            START + READY,
            Said(kv_tokens=244160, kv_bytes=round(37.26 * GIB), weights_bytes=round(27.52 * GIB), context=40960),
        ),
        ("KV Cache is allocated. dtype: x, #tokens: 64, KV size: 2.50 GB", Said(kv_bytes=round(2.5 * GIB))),
        (START + READY + "[2026-11-20 11:00:00] server_args={}\n", Said()),
    ],
)
def test_log_of_the_last_start(log: str, expected: Said) -> None:
    """What SGLang prints at INFO (`model_runner.py`, `memory_pool.py` and `scheduler.py` of 0.5.23) is read."""
    assert expected == sglang.read_log(log)


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        # kv_cache_configurator.py and pool_configurator.py of 0.5.23.
        (
            "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.704. Raise",
            "the weights leave no room for a KV cache in 0.704 of a GPU's memory: see with nvidia-smi who else uses "
            "it, raise gpus, or choose a smaller variant",
        ),
        (
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: "
            "mem_fraction_static=0.7",
            "the weights leave no room for a KV cache: see with nvidia-smi who else uses the GPUs, raise gpus, or "
            "choose a smaller variant",
        ),
        (
            "ValueError: Unsupported config option 'disable_cuda_graph' with action 'DeprecatedStoreTrueAction'",
            "SGLang does not take disable_cuda_graph from a configuration file: remove it from extra_args",
        ),
        (
            "launch_server.py: error: argument --tool-call-parser: invalid choice: 'x' (choose from 'hermes')",
            "it does not take the value of --tool-call-parser (invalid choice: 'x' (choose from 'hermes')): correct it "
            "in extra_args",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of",
            "a GPU has no 2.50 GiB left: see with nvidia-smi who else uses it, lower sequences or context, or raise "
            "gpus",
        ),
    ],
)
def test_failures(line: str, failure: str) -> None:
    """The well-known ends, in the words of SGLang and PyTorch; none before a start that came up."""
    assert (failure, None) == (sglang.read_log(line).failure, sglang.read_log(line + "\n" + READY).failure)
