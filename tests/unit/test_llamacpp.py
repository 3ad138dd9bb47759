"""llama.cpp: what it accepts, how it spreads a model, and how much of a GPU is left for the KV cache."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hermeion.engines import llamacpp
from hermeion.engines.protocol import Engine, Layout, Load
from hermeion.engines.tables import versions
from hermeion.hosts import Gpu
from hermeion.memory.kv_cache import KvPrecision
from hermeion.memory.llamacpp import (
    Device,
    Settings,
    compute_bytes,
    gpu_layers,
    kv_bytes,
    llamacpp_budget,
    weights_on,
)
from hermeion.plans import MemoryBudget
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Experts, Latent, Shape
from hermeion.units import GIB, MIB
from hermeion.variants import Variant

ENGINE: Engine = llamacpp  # mypy compares the module with the protocol

LLAMA_8B = Shape(
    layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, head_dim=128, vocab=128256, max_context=131072
)
LLAMA_70B = LLAMA_8B.model_copy(update={"layers": 80, "hidden": 8192, "intermediate": 28672, "heads": 64})
LLAMA_405B = LLAMA_8B.model_copy(update={"layers": 126, "hidden": 16384, "intermediate": 53248, "heads": 128})
QWEN_27B = Shape(
    layers=64, hidden=5120, intermediate=17408, heads=24, kv_heads=4, head_dim=256, vocab=248320, max_context=262144
)
DEEPSEEK = Shape(
    layers=61,
    hidden=7168,
    intermediate=18432,
    heads=128,
    kv_heads=128,
    head_dim=128,
    vocab=129280,
    max_context=163840,
    experts=Experts(count=256, per_token=8, intermediate=2048, shared_intermediate=2048, dense_layers=3),
    latent=Latent(kv_rank=512, query_rank=1536, nope_dim=128, rope_dim=64, value_dim=128),
)

# Shape, precision, and size of the published file (bartowski's Hermes 3; 405B: as its bits make it).
MODELS = {
    "8b-q4_k_m": (LLAMA_8B, "q4_k_m", 4_920_734_272),
    "8b-q8_0": (LLAMA_8B, "q8_0", 8_540_770_880),
    "70b-q4_k_m": (LLAMA_70B, "q4_k_m", 42_520_395_584),
    "405b-q4_k_m": (LLAMA_405B, "q4_k_m", 245_000_000_000),
}

# nvidia-smi's total and what CUDA sees of it, in MiB.
CARDS = {
    "RTX 2080 Ti": (11264, 10496),
    "RTX 4090": (24564, 24094),
    "L40S": (46068, 45455),
    "H100": (81559, 81090),
}

CAPABILITIES = [(3, 7), (5, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]


def make_gpu(card: str = "RTX 4090", capability: tuple[int, int] = (8, 9), taken: int = 0) -> Gpu:
    """A GPU of which others have taken so many bytes."""
    total, cuda = CARDS[card]
    return Gpu(
        pci_address="0000:17:00.0",
        uuid=None,
        model=card,
        memory=total * MIB,
        cuda=cuda * MIB,
        free=total * MIB - taken,
        architecture="any",
        compute_capability=capability,
    )


def make_variant(name: str = "8b-q4_k_m", precision: str | None = None) -> Variant:
    """A variant of one of the models, its precision replaced if one is given."""
    shape, own, size = MODELS[name]
    return Variant(
        name=name,
        model="model",
        repo="a/b",
        revision=None,
        precision=precision or own,
        bytes=size,
        shape=shape,
        files=("model.gguf",),
    )


def budget_of(name: str, card: str, count: int, settings: Settings) -> MemoryBudget:
    """The budget of a model on free GPUs of one kind."""
    shape, precision, size = MODELS[name]
    device = Device(total=CARDS[card][1] * MIB, free=CARDS[card][0] * MIB)
    return llamacpp_budget(shape, PRECISIONS[precision], size, [device] * count, settings)


@pytest.mark.parametrize(
    ("layers", "gpus", "expected"),
    [
        (32, 1, (32,)),
        # 33 places: 0…16 below a half, 17…31 and the output above it.
        (32, 2, (17, 15)),
        (32, 3, (11, 11, 10)),
        (32, 8, (5, 4, 4, 4, 4, 4, 4, 3)),
        (80, 2, (41, 39)),
        (3, 3, (2, 1, 0)),
        (1, 1, (1,)),
    ],
)
def test_layers_of_each_gpu(layers: int, gpus: int, expected: tuple[int, ...]) -> None:
    """The output counts as one more layer and takes a place on the last GPU (`get_layer_buft_list`)."""
    assert expected == gpu_layers(layers, gpus)


@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 7, 8, 16, 32])
@pytest.mark.parametrize("layers", [32, 61, 80, 126])
def test_every_layer_is_somewhere(layers: int, gpus: int) -> None:
    """No layer is lost or held twice."""
    assert layers == sum(gpu_layers(layers, gpus))


@pytest.mark.parametrize(
    ("name", "gpus", "mib"),
    [
        ("8b-q4_k_m", 1, [4692.8]),
        # The output layer is Q6_K: 128256 × 4096 × 6.5625 bits = 411.0 MiB; a layer is (4692.8 - 411.0) / 32 = 133.8.
        ("8b-q4_k_m", 2, [2274.7, 2418.1]),
        # It is Q8_0 in a file of Q8_0: 532.3 MiB.
        ("8b-q8_0", 2, [4044.3, 4100.8]),
        ("70b-q4_k_m", 2, [20360.9, 20189.7]),
    ],
)
def test_weights_of_each_gpu(name: str, gpus: int, mib: list[float]) -> None:
    """The file is split by layers, with the output layer on the last GPU."""
    shape, precision, size = MODELS[name]

    assert mib == [round(part / MIB, 1) for part in weights_on(shape, PRECISIONS[precision], size, gpus)]


@pytest.mark.parametrize("gpus", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("shape", [LLAMA_8B, DEEPSEEK, LLAMA_8B.model_copy(update={"tied_embeddings": True})])
def test_the_whole_file_is_counted(shape: Shape, gpus: int) -> None:
    """No part of the file is taken to stay in the host's memory, although its embedding may."""
    parts = weights_on(shape, PRECISIONS["q4_k_m"], 10 * GIB, gpus)

    assert 10 * GIB == pytest.approx(sum(parts), abs=gpus)


def test_layers_without_experts_are_light() -> None:
    """Where the first layers of a mixture have no experts, the GPU that holds them has less of the file."""
    first, *others = weights_on(DEEPSEEK, PRECISIONS["q4_k_m"], 400 * GIB, 4)

    assert (16, 15, 16, 14) == gpu_layers(61, 4)
    assert first < min(others)


def test_a_file_smaller_than_its_output_layer() -> None:
    """A size that cannot be, of a file that was cut or mistyped, does not give a layer a negative size."""
    assert (0, 1000) == weights_on(LLAMA_8B, PRECISIONS["q4_k_m"], 1000, 2)


@pytest.mark.parametrize(
    ("shape", "settings", "gpus", "is_last", "mib"),
    [
        # A log of a 27B model with one request of 32768 tokens says `CUDA0 compute buffer size = 154.02 MiB`:
        # 512 × (2 × 32768 + 4 × 5120 + 4 × (3 × 17408 + 5120)).
        (QWEN_27B, Settings(32768, 1), 1, False, 154.0),
        # An old log of Llama 3.1 8B with 512 tokens says 258.50 MiB: 512 × (2 × 512 + 4 × 4096 + 4 × 128256).
        (LLAMA_8B, Settings(512, 1), 1, True, 259.0),
        # The mask is of one request, however many there are.
        (LLAMA_8B, Settings(512, 8), 1, True, 259.0),
        # Several GPUs have the inputs four times: 512 × (4 × (2 × 131072 + 4 × 8192) + 4 × 128256).
        (LLAMA_70B, Settings(131072, 1), 2, True, 826.5),
        # 512 × (4 × (2 × 131072 + 4 × 8192) + 4 × (3 × 28672 + 8192)).
        (LLAMA_70B, Settings(131072, 1), 2, False, 760.0),
        # 8 experts of 2048 with gate, and one shared: 8 × (3 × 2048 + 7168) + 3 × 2048 is less than the compressed
        # queries of 128 heads, 2 × 128 × 576 + 7168.
        (DEEPSEEK, Settings(512, 1), 1, False, 316.5),
    ],
)
def test_buffers_of_a_step(shape: Shape, settings: Settings, gpus: int, is_last: bool, mib: float) -> None:
    """The compute buffers of two public logs come out to half a MiB, and those of other cases as worked by hand."""
    assert mib == compute_bytes(shape, settings, gpus, is_last=is_last) / MIB


def test_experts_without_other_layers() -> None:
    """A mixture with experts in all layers is as wide as the experts of a token."""
    shape = Shape(
        layers=48,
        hidden=2048,
        intermediate=6144,
        heads=16,
        kv_heads=4,
        head_dim=128,
        vocab=151936,
        max_context=40960,
        experts=Experts(count=128, per_token=8, intermediate=768),
    )

    # 512 × (2 × 256 + 4 × 2048 + 4 × (8 × (3 × 768 + 2048) + 2048))
    assert 512 * (512 + 8192 + 4 * 36864) == compute_bytes(shape, Settings(1, 1), 1, is_last=False)


def test_quantised_cache_is_unpacked() -> None:
    """Flash attention unpacks one layer of a quantised cache to 16 bits: 2 × 8 × 128 elements of each token."""
    plain = compute_bytes(LLAMA_8B, Settings(8192, 4), 1, is_last=True)
    packed = compute_bytes(LLAMA_8B, Settings(8192, 4, "q8_0"), 1, is_last=True)

    assert 4 * 8192 * 2048 * 2 == packed - plain


@pytest.mark.parametrize(
    ("shape", "settings", "gpus", "expected"),
    [
        # 2 × 32 layers × 8 heads × 128 × 2 bytes × 8192 tokens
        (LLAMA_8B, Settings(8192, 1), 1, GIB),
        (LLAMA_8B, Settings(8192, 4), 1, 4 * GIB),
        # A request's part is a multiple of 256 tokens.
        (LLAMA_8B, Settings(8000, 4), 1, 4 * GIB),
        (LLAMA_8B, Settings(1, 1), 1, 32 * MIB),
        (LLAMA_8B, Settings(8192, 1, "q8_0"), 1, GIB * 34 // 64),
        (LLAMA_8B, Settings(8192, 1, "q4_0"), 1, GIB * 18 // 64),
        # The GPU with the most layers has 17 of 32.
        (LLAMA_8B, Settings(8192, 1), 2, GIB * 17 // 32),
        # A latent of 512 + 64 elements, 61 layers.
        (DEEPSEEK, Settings(8192, 1), 1, 61 * 576 * 2 * 8192),
        (LLAMA_8B.model_copy(update={"sliding_window": 512, "sliding_layers": 24}), Settings(8192, 1), 1, GIB),
    ],
)
def test_cache(shape: Shape, settings: Settings, gpus: int, expected: int) -> None:
    """The cache is that of the whole context of every request; sliding windows count in full."""
    assert expected == kv_bytes(shape, settings, gpus)


@pytest.mark.parametrize(
    ("name", "card", "count", "settings", "tokens"),
    [
        # In MiB: 10496 - 4692.8 weights - 266.5 buffers - 512 context - 1024 margin = 4000.7; / 128 KiB
        ("8b-q4_k_m", "RTX 2080 Ti", 1, Settings(8192, 1), 32_005),
        # The buffers are the same, and the tokens are for four requests together.
        ("8b-q4_k_m", "RTX 2080 Ti", 1, Settings(8192, 4), 32_005),
        # 24094 - 8145.1 - 802.5 (512 of them for unpacking) - 512 - 1024 = 13610.4; / 68 KiB
        ("8b-q8_0", "RTX 4090", 1, Settings(32768, 4, "q8_0"), 204_956),
        # 24094 - 40550.6 …: the weights alone do not fit.
        ("70b-q4_k_m", "RTX 4090", 1, Settings(8192, 1), 0),
        # 41 of 80 layers: 24094 - 20360.9 - 280.0 - 512 - 1024 = 1917.1; / 164 KiB
        ("70b-q4_k_m", "RTX 4090", 2, Settings(8192, 1), 11_969),
        # 45455 - 20360.9 - 376.0 - 512 - 1024 = 23182.1; / 164 KiB
        ("70b-q4_k_m", "L40S", 2, Settings(32768, 1), 144_746),
        # 32 of 126 layers: 81090 - 58922.2 - 504.0 - 512 - 1024 = 20127.8; / 128 KiB
        ("405b-q4_k_m", "H100", 4, Settings(8192, 1), 161_022),
    ],
)
def test_worked_examples(name: str, card: str, count: int, settings: Settings, tokens: int) -> None:
    """KV caches worked out by hand come out to the token."""
    assert tokens == budget_of(name, card, count, settings).kv_tokens


def test_terms_add_up() -> None:
    """Nothing is counted twice: the parts fill the GPU."""
    budget = budget_of("8b-q4_k_m", "RTX 4090", 1, Settings(8192, 4))

    assert budget.device == sum(budget.terms.values())
    assert (GIB, GIB // 2, 0) == (budget.margin, budget.non_torch, budget.idle)


def test_own_margin() -> None:
    """A margin that somebody gives replaces the GiB that llama-server leaves free."""
    shape, precision, size = MODELS["8b-q4_k_m"]
    device = Device(total=24 * GIB, free=24 * GIB)
    budget = llamacpp_budget(shape, PRECISIONS[precision], size, [device], Settings(8192, 1), own_margin=7)

    assert 7 == budget.margin


def test_fullest_gpu_decides() -> None:
    """A smaller GPU among larger ones has the least room, wherever it stands."""
    shape, precision, size = MODELS["70b-q4_k_m"]
    small, large = Device(24 * GIB, 24 * GIB), Device(48 * GIB, 48 * GIB)
    found = [
        llamacpp_budget(shape, PRECISIONS[precision], size, devices, Settings(8192, 1)).device
        for devices in ([small, large, large], [large, small, large], [large, large, small])
    ]

    assert [24 * GIB] * 3 == found


@pytest.mark.parametrize("context", [256, 8192, 32768, 131072])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_is_needed_fits_everywhere(name: str, count: int, context: int) -> None:
    """Where the cache of the GPU with the most layers fits into the budget, every GPU has room for its own."""
    shape, precision, size = MODELS[name]
    settings = Settings(context, 1)
    budget = budget_of(name, "H100", count, settings)
    fits = kv_bytes(shape, settings, count) <= budget.kv_cache
    weights = weights_on(shape, PRECISIONS[precision], size, count)
    each = [
        weights[index]
        + compute_bytes(shape, settings, count, is_last=index == count - 1)
        + layers * shape.kv_elements() * 2 * settings.cells
        + GIB
        + GIB // 2
        for index, layers in enumerate(gpu_layers(shape.layers, count))
    ]

    assert not fits or max(each) <= CARDS["H100"][1] * MIB


def test_more_context_is_never_less() -> None:
    """A longer context needs more cache and larger buffers, or the same."""
    shape = LLAMA_8B
    needed = [
        kv_bytes(shape, Settings(context, 2), 2) + compute_bytes(shape, Settings(context, 2), 2, is_last=False)
        for context in range(1, 9000, 37)
    ]

    assert sorted(needed) == needed


@pytest.mark.parametrize("name", ["70b-q4_k_m", "405b-q4_k_m"])
def test_more_gpus_never_hold_more_each(name: str) -> None:
    """Over more GPUs each has less of weights and cache together, or the same."""
    shape, precision, size = MODELS[name]
    held = [
        max(weights_on(shape, PRECISIONS[precision], size, gpus)) + kv_bytes(shape, Settings(8192, 1), gpus)
        for gpus in range(1, 17)
    ]

    assert sorted(held, reverse=True) == held


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("precision", sorted(PRECISIONS))
def test_acceptance(precision: str, capability: tuple[int, int]) -> None:
    """GGUF files of every precision are loaded from compute capability 5.0 on, and nothing else anywhere."""
    refused = llamacpp.accepts(make_variant(precision=precision), [make_gpu(capability=capability)])
    is_gguf = PRECISIONS[precision].container == "gguf"

    assert (is_gguf and capability >= (5, 0)) == (refused is None)


@pytest.mark.parametrize(
    ("precision", "capability", "reason"),
    [
        ("q4_k_m", (3, 7), "compute capability 3.7 is older than llama.cpp's minimum of 5.0"),
        ("bf16", (9, 0), "llama.cpp reads GGUF files alone; 8b-q4_k_m is bf16 in safetensors"),
    ],
)
def test_reasons(precision: str, capability: tuple[int, int], reason: str) -> None:
    """Every refusal is one sentence with what it is about."""
    assert reason == llamacpp.accepts(make_variant(precision=precision), [make_gpu(capability=capability)])


@pytest.mark.parametrize(("precision", "native"), [("f16", True), ("q8_0", False), ("q4_k_m", False)])
def test_native_precisions(precision: str, native: bool) -> None:
    """Only 16-bit files are computed in as they are."""
    assert native == llamacpp.is_native(make_variant(precision=precision), [make_gpu()])


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, ()), (3, ("layers are split over 3 GPUs: one request is no faster than on one GPU",))],
)
def test_remarks(count: int, expected: tuple[str, ...]) -> None:
    """A person hears that more GPUs hold more and are no faster for one request."""
    assert expected == llamacpp.remarks(make_variant(), [make_gpu()] * count)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, Layout(1, 1)),
        (3, Layout(1, 3)),
        (32, Layout(1, 32)),
        (33, "32 layers cannot be split over 33 GPUs; 1 to 32 work"),
    ],
)
def test_layout(count: int, expected: Layout | str) -> None:
    """Any number of GPUs works up to the number of layers."""
    assert expected == llamacpp.layout(make_variant(), count)


def test_cache_and_requests() -> None:
    """The cache has 16 or 8 bits on every GPU, and llama-server serves 4 requests if nobody says."""
    gpus = [make_gpu(capability=(5, 0))]

    assert (("bf16", "q8_0"), 4) == (llamacpp.kv_precisions(gpus), llamacpp.default_sequences(gpus))


@pytest.mark.parametrize(
    ("load", "layout", "expected"),
    [
        (Load(8192, 1), Layout(1, 1), GIB),
        (Load(8192, 4), Layout(1, 1), 4 * GIB),
        (Load(8192, 4, "q8_0"), Layout(1, 1), 4 * GIB * 34 // 64),
        (Load(8192, 1), Layout(1, 2), GIB * 17 // 32),
    ],
)
def test_kv_needed_is_that_of_all_requests(load: Load, layout: Layout, expected: int) -> None:
    """llama-server allots the context of every request at the start."""
    assert expected == llamacpp.kv_needed(make_variant(), (), layout, load)


@pytest.mark.parametrize(
    ("taken", "usable"),
    # nvidia-smi's total is 470 MiB more than CUDA sees: that much is never there.
    [(0, 24094), (470 * MIB, 24094), (1024 * MIB, 23540), (24564 * MIB, 0)],
)
def test_what_others_hold_is_not_usable(taken: int, usable: int) -> None:
    """llama-server gets on with what others leave: their memory counts as left alone."""
    budget = llamacpp.budget(make_variant(), [make_gpu(taken=taken)], Layout(), Load(8192, 4))

    assert (usable * MIB, (24094 - usable) * MIB) == (budget.usable, budget.idle)


@pytest.mark.parametrize("kv", llamacpp.kv_precisions([make_gpu()]))
def test_budget_of_the_engine(kv: KvPrecision) -> None:
    """The engine's budget is that of its variant, its GPUs and its load."""
    gpus: Sequence[Gpu] = [make_gpu("L40S")] * 2
    expected = budget_of("70b-q4_k_m", "L40S", 2, Settings(32768, 4, kv))

    assert expected == llamacpp.budget(make_variant("70b-q4_k_m"), gpus, Layout(1, 2), Load(32768, 4, kv))


def test_constants() -> None:
    """The image is named as llama.cpp publishes it, and build 11669 is the newest that is known."""
    assert ("llamacpp", "llama.cpp", "ghcr.io/ggml-org/llama.cpp:server-cuda-b11669", 525, versions("llamacpp")) == (
        llamacpp.NAME,
        llamacpp.LABEL,
        llamacpp.IMAGE.format(version=llamacpp.VERSIONS[-1]),
        llamacpp.MIN_DRIVER,
        llamacpp.VERSIONS,
    )


def test_unknown_sampling_is_said() -> None:
    """A default that llama-server has no option for is not left out in silence."""
    variant = make_variant().model_copy(update={"sampling": {"temperature": 0.6, "dola_layers": 3}})

    assert ("no sampling default for dola_layers: this engine has no such option",) == llamacpp.remarks(
        variant, [make_gpu()]
    )
