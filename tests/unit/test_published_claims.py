"""Published figures for these models against ours: which of them hold, and by how much the others are wrong.

Documents: the cards of Doradus/Hermes-4.3-36B-FP8, enfuse/Hermes-4-405B-NVFP4 and NousResearch/Hermes-4-405B-FP8, and
"A Comprehensive Guide to Self-Hosting the Hermes 3 Language Model". Each case quotes the row it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from hermeion.errors import InventoryError, PlacementError
from hermeion.forecasts import decode_ceiling
from hermeion.gpu_names import parse_gpu_set
from hermeion.gpus import gpu_models
from hermeion.memory.kv_cache import kv_per_request, kv_per_token
from hermeion.memory.vllm import Settings, vllm_budget
from hermeion.planner import make_plan
from hermeion.plans import Rejection, Service
from hermeion.units import GIB, MIB
from hermeion.variants import Variant, built_in_catalog
from tests.unit.builders import (
    A100_40,
    A100_80,
    H100,
    H200,
    NAME,
    RTX_3090,
    RTX_4090,
    RTX_5090,
    make_probe,
    make_spec,
)

RTX_3060, RTX_6000_ADA, RTX_PRO_6000, B200, GB200 = "2504", "26b1", "2bb1", "2901", "2941"
GB = 10**9


class Claim(NamedTuple):
    """What a document says, word for word."""

    document: str
    section: str
    quote: str


def doradus(section: str, quote: str) -> Claim:
    """A row of the card of Doradus/Hermes-4.3-36B-FP8."""
    return Claim("card of Doradus/Hermes-4.3-36B-FP8", section, quote)


def enfuse(section: str, quote: str) -> Claim:
    """A row of the card of enfuse/Hermes-4-405B-NVFP4."""
    return Claim("card of enfuse/Hermes-4-405B-NVFP4", section, quote)


def nous(section: str, quote: str) -> Claim:
    """A sentence of the card of NousResearch/Hermes-4-405B-FP8."""
    return Claim("card of NousResearch/Hermes-4-405B-FP8", section, quote)


def guide(section: str, quote: str) -> Claim:
    """A row of the guide to self-hosting Hermes 3."""
    return Claim("A Comprehensive Guide to Self-Hosting the Hermes 3 Language Model", section, quote)


def find(model: str, precision: str) -> Variant:
    """A variant of the catalogue."""
    return next(v for v in built_in_catalog()[model] if v.precision == precision)


def fitting(model: str, cards: Sequence[str], **wishes: Any) -> Service:
    """The service that is planned."""
    spec = make_spec({"name": "hermes", "model": model, **wishes})
    return make_plan(NAME, spec, make_probe(cards)).services[0]


def refused(model: str, cards: Sequence[str], **wishes: Any) -> Rejection:
    """Why the last option was not taken, where none was."""
    with pytest.raises(PlacementError) as caught:
        fitting(model, cards, **wishes)
    last = caught.value.rejections[-1]
    assert isinstance(last, Rejection)
    return last


FP8_36B = find("hermes-4.3-36b", "fp8")
FP8 = {"model": "hermes-4.3-36b", "variant": "fp8"}

VRAM_ANALYSIS = [
    (4096, 0.5, 37, doradus("VRAM Analysis", "| 4K tokens | ~0.5 GB | ~37 GB | A100-40GB (tight) |")),
    (8192, 1.0, 38, doradus("VRAM Analysis", "| 8K tokens | ~1.0 GB | ~38 GB | A100-40GB |")),
    (16384, 2.0, 39, doradus("VRAM Analysis", "| 16K tokens | ~2.0 GB | ~39 GB | RTX 6000 Ada (48GB) |")),
    (32768, 4.0, 41, doradus("VRAM Analysis", "| 32K tokens | ~4.0 GB | ~41 GB | A100-80GB |")),
    (65536, 8.0, 45, doradus("VRAM Analysis", "| 64K tokens | ~8.0 GB | ~45 GB | A100-80GB / H100 |")),
]


@pytest.mark.parametrize(("tokens", "kv", "total", "claim"), VRAM_ANALYSIS)
def test_kv_cache_of_the_36b_is_twice_what_its_card_says(tokens: int, kv: float, total: int, claim: Claim) -> None:
    """Keys and values: 2 × 64 layers × 8 heads × 128 × 2 bytes a token; the card counts one of the two."""
    assert 2 * kv * GIB == kv_per_request(FP8_36B.shape, tokens)
    assert kv * GIB == kv_per_request(FP8_36B.shape, tokens, "fp8")


@pytest.mark.parametrize(("tokens", "kv", "total", "claim"), VRAM_ANALYSIS)
def test_total_of_the_36b_is_more_than_its_card_says(tokens: int, kv: float, total: int, claim: Claim) -> None:
    """The card adds weights and half a KV cache; what an engine takes beside them is more than 2 GiB."""
    memory = fitting(**FP8, cards=[A100_80], context=tokens).memory
    beside = memory.fixed - memory.weights - memory.scales

    assert total == pytest.approx(36 + kv, abs=1)
    assert 2 * GIB < beside < 3 * GIB
    assert memory.fixed + kv_per_request(FP8_36B.shape, tokens) > (total + kv) * GIB


@pytest.mark.parametrize(
    ("cards", "tokens", "needed_gib", "claim"),
    [
        ([A100_40], 4096, 39.2, doradus("VRAM Analysis", "| 4K tokens | ~0.5 GB | ~37 GB | A100-40GB (tight) |")),
        ([A100_40], 8192, 40.2, doradus("VRAM Analysis", "| 8K tokens | ~1.0 GB | ~38 GB | A100-40GB |")),
        ([A100_40], "max", 166.2, doradus("Recommended Configurations", "| 1x A100-40GB | ~8K tokens |")),
        ([A100_40], 4096, 39.2, doradus("Model Description", "on 48GB+ cards (RTX 6000 Ada, A100-40GB+)")),
        ([RTX_5090], 2048, 38.7, doradus("Recommended Configurations", "| 1x RTX 5090 (32GB) | ~2K tokens |")),
        ([RTX_4090] * 2, 16384, 24.5, doradus("Recommended Configurations", "| 2x RTX 4090 TP=2 | ~16K tokens |")),
    ],
)
def test_rows_of_the_36b_that_do_not_fit(cards: list[str], tokens: Any, needed_gib: float, claim: Claim) -> None:
    """Rows of the card in FP8 that are refused, with what they need on each GPU."""
    last = refused(**FP8, cards=cards, context=tokens)

    assert last.reason.startswith("weights and overhead need ")
    assert last.needed is not None
    assert last.available is not None
    assert needed_gib == pytest.approx(last.needed / GIB, abs=0.05)
    assert last.available < last.needed


@pytest.mark.parametrize(
    ("card", "claim"),
    [
        (
            RTX_5090,
            doradus("Recommended Configurations", "| ~2K tokens | ~5-10 tok/s | Requires `--enforce-eager` |"),
        ),
        (RTX_4090, doradus("Recommended Configurations", "| 1x RTX 4090 (24GB) | OOM | N/A | Model too large |")),
    ],
)
def test_no_option_puts_the_36b_on_a_small_card(card: str, claim: Claim) -> None:
    """The FP8 weights alone are larger than all that CUDA sees of a 32 GB card: eager or not, one request or many."""
    cuda = gpu_models()[card].cuda_memory
    most = Settings(version=(0, 33, 0), utilisation=1.0, sequences=1, batched_tokens=1, eager=True)
    memory = vllm_budget(FP8_36B.shape, FP8_36B.format, cuda, most, own_margin=0)

    assert memory.weights + memory.scales > cuda
    assert memory.kv_expected < 0


def test_8k_of_the_36b_on_40_gb_take_every_byte() -> None:
    """What the card gives to an A100-40GB is there only with 97 % of it, no CUDA graphs, 16 requests and no margin."""
    claim = doradus("VRAM Analysis", "| 8K tokens | ~1.0 GB | ~38 GB | A100-40GB |")
    cuda = gpu_models()[A100_40].cuda_memory
    tight = Settings(version=(0, 33, 0), utilisation=0.97, sequences=16, batched_tokens=2048, eager=True)
    cards_own = tight._replace(utilisation=0.90)

    assert "A100-40GB" in claim.quote
    found = vllm_budget(FP8_36B.shape, FP8_36B.format, cuda, tight)
    assert 9_100 == pytest.approx(found.kv_tokens_expected, rel=0.005)
    assert 8192 > found.kv_tokens
    assert 0 > vllm_budget(FP8_36B.shape, FP8_36B.format, cuda, cards_own).kv_expected


@pytest.mark.parametrize(
    ("cards", "claimed", "tokens", "claim"),
    [
        ([RTX_6000_ADA], 16_000, 23_808, doradus("Recommended Configurations", "| **1x RTX 6000 Ada (48GB)** | ~16K")),
        ([A100_80], 64_000, 143_872, doradus("Recommended Configurations", "| **1x A100-80GB** | ~64K tokens |")),
        ([H100], 128_000, 137_216, doradus("Recommended Configurations", "| 1x H100-80GB | ~128K tokens |")),
    ],
)
def test_rows_of_the_36b_that_hold_more(cards: list[str], claimed: int, tokens: int, claim: Claim) -> None:
    """Rows of the card that fit, and the context that the same card really holds in 16 bits."""
    service = fitting(**FP8, cards=cards)

    assert claimed <= tokens == service.context
    assert "bf16" == service.kv_precision


def test_32k_of_the_36b_need_no_80_gb() -> None:
    """The card gives 32K to an A100-80GB; with an FP8 KV cache an RTX 6000 Ada of 48 GB holds them."""
    claim = doradus("VRAM Analysis", "| 32K tokens | ~4.0 GB | ~41 GB | A100-80GB |")
    service = fitting(**FP8, cards=[RTX_6000_ADA], context=32768)

    assert "A100-80GB" in claim.quote
    assert (32768, "fp8", 1) == (service.context, service.kv_precision, len(service.gpus))


@pytest.mark.parametrize(
    ("cards", "kv_precision"),
    [
        ([H200] * 2, "bf16"),
        ([H100] * 4, "bf16"),
        ([H100] * 2, "fp8"),
        ([RTX_PRO_6000] * 2, "fp8"),
    ],
)
def test_where_524k_fit(cards: list[str], kv_precision: str) -> None:
    """ "524K Context" takes 128 GiB of KV cache in 16 bits: none of the card's configurations has it."""
    claim = doradus("Key Features", "- **524K Context**: Extended context window for long documents")
    service = fitting(**FP8, cards=cards, context=524_288)

    assert "524K" in claim.quote
    assert 128 * GIB == kv_per_request(FP8_36B.shape, 524_288)
    assert (len(cards), kv_precision) == (len(service.gpus), service.kv_precision)


@pytest.mark.parametrize("card", [A100_80, H100, H200, RTX_PRO_6000])
def test_524k_fit_no_single_gpu(card: str) -> None:
    """On one GPU up to 141 GB the 36B does not reach the context of its title in 16 bits."""
    assert refused(**FP8, cards=[card], context=524_288, kv_precision="bf16").reason.endswith("524288 are wanted")


SPEEDS = [
    (RTX_6000_ADA, 1, 20, 25.4, doradus("Recommended Configurations", "~16K tokens | ~20 tok/s | **Recommended")),
    (RTX_6000_ADA, 1, 21.2, 25.4, doradus("Measured Throughput", "| **Average** | 868 | 40.97s | **21.2 tok/s** |")),
    (A100_80, 1, 40, 51.3, doradus("Recommended Configurations", "~64K tokens | ~40 tok/s | **Recommended")),
    (H100, 1, 60, 88.8, doradus("Recommended Configurations", "~128K tokens | ~60 tok/s | Full performance")),
]


@pytest.mark.parametrize(("card", "count", "claimed", "ceiling", "claim"), SPEEDS)
def test_speeds_of_the_36b_lie_below_the_ceiling(
    card: str, count: int, claimed: float, ceiling: float, claim: Claim
) -> None:
    """One request is no faster than the memory gives the weights; these rows of the card respect that."""
    memory = fitting(**FP8, cards=[card] * count, context=8192).memory
    found = decode_ceiling(memory, FP8_36B.shape, gpu_models()[card].bandwidth)

    assert found is not None
    assert ceiling == pytest.approx(found.value, abs=0.1)
    assert claimed < found.value


def test_a_wider_bus_does_not_quadruple_the_speed() -> None:
    """The card blames PCIe x4 for 21 tokens/s and expects 80; one GPU of 960 GB/s does not exceed 26."""
    claim = doradus("Measured Throughput", "Expected ~80 tok/s on dedicated PCIe x16 slot.")
    memory = fitting(**FP8, cards=[RTX_6000_ADA], context=8192).memory
    found = decode_ceiling(memory, FP8_36B.shape, gpu_models()[RTX_6000_ADA].bandwidth)

    assert "~80 tok/s" in claim.quote
    assert found is not None
    assert 26 > found.value


def test_the_command_of_the_36b_works_on_48_gb() -> None:
    """`--max-model-len 16384 --gpu-memory-utilization 0.90` of vLLM 0.12.0 fits an RTX 6000 Ada, as the card says."""
    claim = doradus("Docker Run", "  --max-model-len 16384 \\\n  --gpu-memory-utilization 0.90 \\")
    old = Settings(version=(0, 12, 0), utilisation=0.90, sequences=256, batched_tokens=2048)
    cuda = gpu_models()[RTX_6000_ADA].cuda_memory
    a100 = vllm_budget(FP8_36B.shape, FP8_36B.format, gpu_models()[A100_40].cuda_memory, old)

    assert "16384" in claim.quote
    assert 16_384 < vllm_budget(FP8_36B.shape, FP8_36B.format, cuda, old).kv_tokens
    assert a100.kv_expected < 0


def test_there_is_no_rtx_pro_6000_ada() -> None:
    """The card measures on an "RTX PRO 6000 Ada (48GB)": the RTX PRO 6000 is Blackwell with 96 GB."""
    claim = doradus("Measured Throughput", "Tested on RTX PRO 6000 Ada (48GB), single GPU, 16K context:")
    with pytest.raises(InventoryError):
        parse_gpu_set("RTX PRO 6000 Ada")

    assert "RTX PRO 6000 Ada" in claim.quote
    assert 97_887 * MIB == gpu_models()[RTX_PRO_6000].memory
    assert 49_140 * MIB == parse_gpu_set("RTX 6000 Ada")[0].memory


@pytest.mark.parametrize(
    ("value", "claim"),
    [
        (FP8_36B.shape.hidden, doradus("Architecture Details", "| Hidden Size | 5120 |")),
        (FP8_36B.shape.heads, doradus("Architecture Details", "| Attention Heads | 80 |")),
        (FP8_36B.shape.kv_heads, doradus("Architecture Details", "| KV Heads (GQA) | 8 |")),
        (FP8_36B.shape.layers, doradus("Architecture Details", "| Layers | 64 |")),
        (FP8_36B.shape.intermediate, doradus("Architecture Details", "| Intermediate Size | 27648 |")),
        (FP8_36B.shape.max_context, doradus("Architecture Details", "| Max Context | 524,288 tokens |")),
        (FP8_36B.shape.vocab, doradus("Architecture Details", "| Vocabulary | 155,136 tokens |")),
        (
            find("hermes-4-405b", "nvfp4").shape.max_context,
            enfuse("Model Overview", "| Context Length | 131,072 tokens |"),
        ),
    ],
)
def test_architectures_are_those_of_the_cards(value: int, claim: Claim) -> None:
    """The numbers of the architecture are right, and ours."""
    assert str(value) in claim.quote.replace(",", "")


@pytest.mark.parametrize(
    ("model", "precision", "claimed", "gb", "gib", "unit", "claim"),
    [
        ("hermes-4.3-36b", "fp8", 36, 37.75, 35.16, "GiB", doradus("Key Benefits", "(36GB vs 68GB)")),
        ("hermes-4.3-36b", "bf16", 68, 72.30, 67.34, "GiB", doradus("Key Benefits", "(36GB vs 68GB)")),
        ("hermes-4-405b", "nvfp4", 219, 234.34, 218.25, "GiB", enfuse("Model Overview", "~219 GB (down from")),
        ("hermes-4-405b", "bf16", 812, 811.71, 755.96, "GB", enfuse("Model Overview", "~812 GB in BF16)")),
    ],
)
def test_sizes_are_in_two_units(
    model: str, precision: str, claimed: int, gb: float, gib: float, unit: str, claim: Claim
) -> None:
    """Sizes "in GB" are what `du -h` prints, GiB rounded up; the card of the 405B has one of each in a sentence."""
    size = find(model, precision).bytes

    assert f"{claimed}GB" in claim.quote.replace(" ", "")
    assert gb == pytest.approx(size / GB, abs=0.005)
    assert gib == pytest.approx(size / GIB, abs=0.005)
    assert claimed == pytest.approx(gib if unit == "GiB" else gb, abs=1)
    assert unit == "GB" or gb > claimed + 1


@pytest.mark.parametrize(
    ("cards", "tensor_parallel", "context", "claim"),
    [
        ([B200] * 2, 2, 131_072, enfuse("Why This Model", "making it deployable on 2-4 B200 GPUs")),
        ([B200] * 2, 2, 131_072, enfuse("Hardware Requirements", "(219 GB fits across 2x 183 GB GPUs")),
        ([H100] * 4, 4, 96_256, enfuse("Hardware Requirements", "Older GPUs (H100, A100) can load the model")),
        ([A100_80] * 4, 4, 107_264, enfuse("Hardware Requirements", "Older GPUs (H100, A100) can load the model")),
    ],
)
def test_where_nvfp4_fits(cards: list[str], tensor_parallel: int, context: int, claim: Claim) -> None:
    """The 405B in NVFP4 fits as its card says; 234 GB on two B200 of 179 GiB, with one context of full length."""
    service = fitting("hermes-4-405b", cards, variant="nvfp4")

    assert (tensor_parallel, context) == (service.tensor_parallel, service.context)
    assert ("weight-only" in "".join(service.remarks)) == (cards[0] != B200)


def test_what_183_gb_are() -> None:
    """A B200 "of 183 GB" has 183,359 MiB: 192 GB, or 179 GiB."""
    claim = enfuse("Hardware Requirements", "2x 183 GB GPUs")
    memory = gpu_models()[B200].memory

    assert "183" in claim.quote
    assert (183, 192, 179) == (memory // MIB // 1000, round(memory / GB), round(memory / GIB))


def test_more_b200_are_for_more_requests() -> None:
    """Two B200 hold 1.5 contexts of full length at once, four hold 6: that is the card's "headroom"."""
    claim = enfuse("Hardware Requirements", "4x B200 recommended for headroom with KV cache")
    two, four = (fitting("hermes-4-405b", [B200] * count, variant="nvfp4", gpus=count) for count in (2, 4))

    assert "4x B200" in claim.quote
    assert 1.46 == pytest.approx(two.memory.kv_tokens / 131_072, abs=0.01)
    assert 6.46 == pytest.approx(four.memory.kv_tokens / 131_072, abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_an_rtx_5090_is_no_gpu_for_the_405b(count: int) -> None:
    """The card names the RTX 5090 for full NVFP4: its arithmetic has it, eight of its memories do not."""
    claim = enfuse("Hardware Requirements", "Requires NVIDIA Blackwell GPU (B200, GB200, RTX 5090)")
    last = refused("hermes-4-405b", [RTX_5090] * count, variant="nvfp4")

    assert "RTX 5090" in claim.quote
    assert last.needed is not None
    assert last.available is not None
    assert last.available < last.needed
    assert 8 * gpu_models()[RTX_5090].cuda_memory - find("hermes-4-405b", "nvfp4").bytes < 8 * 4.5 * GIB


@pytest.mark.parametrize(("cards", "fits"), [([B200] * 2, True), ([GB200] * 2, True), ([RTX_5090] * 8, False)])
def test_blackwells_for_nvfp4(cards: list[str], fits: bool) -> None:
    """Of the three GPUs that the card names for full NVFP4, two hold the model."""
    if fits:
        assert () == fitting("hermes-4-405b", cards, variant="nvfp4").remarks
    else:
        refused("hermes-4-405b", cards, variant="nvfp4")


@pytest.mark.parametrize(("count", "context"), [(4, 0), (5, 20_736), (6, 131_072), (8, 131_072)])
def test_how_many_b200_the_original_needs(count: int, context: int) -> None:
    """ "6+ B200 GPUs to load": five hold the weights as a pipeline, six the whole context too, eight without stages."""
    claim = enfuse("Infrastructure", "The 812 GB BF16 model required 6+ B200 GPUs to load")
    assert "6+" in claim.quote
    if not context:
        refused("hermes-4-405b", [B200] * count, variant="bf16")
        return
    service = fitting("hermes-4-405b", [B200] * count, variant="bf16")

    assert (count, context) == (len(service.gpus), service.context)
    assert (8 == count) == (service.pipeline_parallel == 1)


@pytest.mark.parametrize(
    ("key", "expected", "claim"),
    [
        ("repo", "NousResearch/Hermes-4-405B", nous("Transformers example", '"NousResearch/Hermes-4-Llama-3.1-405B"')),
        ("precision", "bf16", nous("Transformers example", "torch_dtype=torch.float16")),
        ("tool_parsers", {"vllm": "hermes", "sglang": "hermes"}, nous("Function Calling", "in SGLang to `qwen25`")),
    ],
)
def test_what_the_card_of_the_405b_gets_wrong(key: str, expected: object, claim: Claim) -> None:
    """Repository, number format and SGLang's parser of the card are not those of the model."""
    variant = find("hermes-4-405b", "bf16")

    assert expected == getattr(variant, key)
    assert f'"{expected}"' != claim.quote


@pytest.mark.parametrize(
    ("key", "expected", "claim"),
    [
        (
            "sampling",
            {"temperature": 0.6, "top_p": 0.95, "top_k": 20},
            nous("Inference Notes", "`temperature=0.6, top_p=0.95, top_k=20`"),
        ),
        ("prompt_format", "llama3", nous("Inference Notes", "Use the Llama chat format for Hermes 4 70B and 405B")),
        ("thinking_switch", "thinking", nous("Reasoning mode", "via the flag `thinking=True`")),
    ],
)
def test_what_the_card_of_the_405b_gets_right(key: str, expected: object, claim: Claim) -> None:
    """Sampling, prompt format and the switch for thinking are the card's."""
    assert claim.quote
    assert expected == getattr(find("hermes-4-405b", "fp8"), key) == getattr(find("hermes-4-70b", "bf16"), key)


VRAM_8B = guide("3.1", "| 8B | 8 Billion | ~18-20 GB | ~9-10 GB | ~5-6 GB |")
VRAM_70B = guide("3.1", "| 70B | 70 Billion | ~160-170 GB | ~80-90 GB | ~40-45 GB |")
VRAM_405B = guide("3.1", "| 405B | 405 Billion| ~930-980 GB | ~460-490 GB | ~230-250 GB |")


@pytest.mark.parametrize(
    ("model", "precision", "gb", "claimed", "claim"),
    [
        ("hermes-3-8b", "bf16", 16.06, (18, 20), VRAM_8B),
        ("hermes-3-8b", "gptq-8bit", 9.25, (9, 10), VRAM_8B),
        ("hermes-3-8b", "awq", 5.73, (5, 6), VRAM_8B),
        ("hermes-3-70b", "bf16", 141.11, (160, 170), VRAM_70B),
        ("hermes-3-70b", "fp8", 72.67, (80, 90), VRAM_70B),
        ("hermes-3-70b", "q4_k_m", 42.52, (40, 45), VRAM_70B),
        ("hermes-3-405b", "bf16", 811.71, (930, 980), VRAM_405B),
        ("hermes-3-405b", "fp8", 410.10, (460, 490), VRAM_405B),
        ("hermes-3-405b", "q4_k_m", 243.07, (230, 250), VRAM_405B),
    ],
)
def test_a_factor_of_1_2_is_no_rule(
    model: str, precision: str, gb: float, claimed: tuple[int, int], claim: Claim
) -> None:
    """The guide multiplies parameters by bytes and 1.2: 16 bits come out too large, and 4 bits as the bare weights."""
    variant = find(model, precision)

    assert f"~{claimed[0]}-{claimed[1]} GB" in claim.quote
    assert gb == pytest.approx(variant.bytes / GB, abs=0.005)
    assert (claimed[0] <= gb <= claimed[1]) == (precision not in {"bf16", "fp8"})


@pytest.mark.parametrize(
    ("model", "tokens", "inside"),
    [("hermes-3-8b", 8192, True), ("hermes-3-8b", 131_072, False)],
)
def test_the_context_decides_what_comes_on_top(model: str, tokens: int, inside: bool) -> None:
    """ "~18-20 GB" for the 8B is right for 8K of context and 15 GB short of 128K."""
    memory = fitting(model, [H100], context=tokens, sequences=256).memory
    total = (memory.fixed + kv_per_request(find(model, "bf16").shape, tokens)) / GB

    assert inside == (18 <= total <= 20)
    assert inside or 35 < total < 36


def test_the_kv_cache_does_not_shrink_with_the_weights() -> None:
    """A fifth on top of 4-bit weights is not the context: the 405B takes 63 GiB for 128K at any precision."""
    claim = guide("3.1", "including a typical overhead factor (~1.2x) for activations and context cache")
    sizes = {kv_per_request(variant.shape, 131_072) for variant in built_in_catalog()["hermes-3-405b"]}

    assert "1.2x" in claim.quote
    assert {63 * GIB} == sizes
    assert 63 * GIB > 0.2 * find("hermes-3-405b", "q4_k_m").bytes
    assert 63 * GIB < 0.2 * find("hermes-3-405b", "bf16").bytes


PROSUMER = guide("3.1", "| Multi-GPU Prosumer (2x RTX 3090/4090) [14], Datacenter (A100/H100 80GB) [17, 18] |")
DATACENTER = guide("3.1", "| Multi-GPU Datacenter (e.g., 4-8x A100/H100 80GB, 8x MI300 192GB) [16, 17, 19] |")


@pytest.mark.parametrize("card", [RTX_3090, RTX_4090])
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_the_70b_on_two_consumer_cards(card: str, precision: str) -> None:
    """The guide's "2x RTX 3090/4090" hold neither 16 nor 8 bits of the 70B."""
    assert "2x RTX 3090/4090" in PROSUMER.quote
    assert refused("hermes-3-70b", [card] * 2, variant=precision).reason.startswith("weights and overhead need ")


@pytest.mark.parametrize(("card", "context"), [(RTX_3090, 12032), (RTX_4090, 11776)])
def test_the_70b_in_4_bits_on_two_consumer_cards(card: str, context: int) -> None:
    """They hold Q4_K_M with llama.cpp, and about 12000 tokens for one request at a time."""
    service = fitting("hermes-3-70b", [card] * 2, variant="q4_k_m", engine="llamacpp")

    assert (2, context, 1) == (len(service.gpus), service.context, service.sequences)


@pytest.mark.parametrize(("cards", "context"), [([A100_80], 8192), ([H100], 3840), ([H100] * 2, 131_072)])
def test_the_70b_on_80_gb(cards: list[str], context: int) -> None:
    """One "A100/H100 80GB" holds the 70B in FP8 with a few thousand tokens; its whole context takes two."""
    service = fitting("hermes-3-70b", cards)

    assert "Datacenter (A100/H100 80GB)" in PROSUMER.quote
    assert ("fp8", context) == (service.precision, service.context)


@pytest.mark.parametrize(
    ("cards", "precision", "fits"),
    [
        ([A100_80] * 8, "bf16", False),
        ([H100] * 8, "bf16", False),
        ([A100_80] * 4, "fp8", False),
        ([H100] * 4, "fp8", False),
        ([A100_80] * 8, "fp8", True),
        ([H100] * 8, "fp8", True),
        ([H200] * 8, "bf16", True),
    ],
)
def test_the_405b_on_80_gb(cards: list[str], precision: str, fits: bool) -> None:
    """ "4-8x A100/H100 80GB": eight hold FP8, four hold 4 bits alone, and 16 bits take eight of 141 GB."""
    assert "4-8x A100/H100 80GB" in DATACENTER.quote
    if fits:
        assert 131_072 == fitting("hermes-3-405b", cards, variant=precision).context
    else:
        refused("hermes-3-405b", cards, variant=precision)


@pytest.mark.parametrize("card", [A100_80, H100])
def test_the_405b_in_4_bits_on_four_80_gb(card: str) -> None:
    """Four cards of 80 GB hold the 405B in Q4_K_M."""
    service = fitting("hermes-3-405b", [card] * 4, variant="q4_k_m", engine="llamacpp")

    assert (4, "q4_k_m") == (len(service.gpus), service.precision)


@pytest.mark.parametrize(
    ("cards", "wishes", "context", "claim"),
    [
        ([RTX_3090], {}, 40_192, guide("3.1", "High-end Consumer (RTX 3090/4090)")),
        ([RTX_4090], {}, 39_936, guide("3.1", "High-end Consumer (RTX 3090/4090)")),
        ([RTX_3060], {"variant": "awq"}, 23_040, guide("3.1", "(RTX 3060 12GB for INT4/INT8)")),
        ([RTX_3060], {"variant": "q8_0", "engine": "llamacpp"}, 12544, guide("3.1", "(RTX 3060 12GB for INT4/INT8)")),
    ],
)
def test_the_8b_fits_as_the_guide_says(cards: list[str], wishes: dict[str, str], context: int, claim: Claim) -> None:
    """Cards that the guide names for the 8B, with the context that they hold."""
    assert claim.quote
    assert context == fitting("hermes-3-8b", cards, **wishes).context


def test_the_8b_in_8_bits_does_not_fit_12_gb_with_vllm() -> None:
    """8-bit weights on an RTX 3060 leave vLLM nothing for the KV cache; llama.cpp gets 12544 tokens for one request."""
    last = refused("hermes-3-8b", [RTX_3060], variant="gptq-8bit")

    assert "weights and overhead need 10.7 GiB per GPU, 10.4 GiB may be used" == last.reason


@pytest.mark.parametrize(
    ("model", "least", "most", "claim"),
    [
        ("hermes-3-8b", 3.18, 16.06, guide("3.1", "8B models: 5 GB to 20 GB depending on quantization.")),
        ("hermes-3-70b", 26.38, 141.11, guide("3.1", "70B models: 40 GB to 170 GB depending on quantization.")),
        ("hermes-3-405b", 149.30, 811.71, guide("3.1", "405B models: 200 GB to over 900 GB depending on")),
    ],
)
def test_storage(model: str, least: float, most: float, claim: Claim) -> None:
    """No file is as large as the guide's upper bounds, and the smallest are below its lower ones."""
    sizes = [variant.bytes / GB for variant in built_in_catalog()[model]]
    low, high = (int(word) for word in claim.quote.replace("over ", "").split() if word.isdigit())

    assert least == pytest.approx(min(sizes), abs=0.01)
    assert most == pytest.approx(max(sizes), abs=0.01)
    assert least < low
    assert most < high


@pytest.mark.parametrize(
    ("context", "precision"),
    [(5000, "q8_0"), (8192, "q6_k"), (12_288, "q5_k_m"), (16_384, "q4_k_m"), (20_000, "q3_k_m")],
)
def test_the_most_bits_that_fit(context: int, precision: str) -> None:
    """The guide advises the fewest bits that fit; it is the most bits that hold the wanted context."""
    claim = guide("5.4", "select the highest quantization level (lowest number of bits, e.g., Q4_K_M over Q6_K)")
    service = fitting("hermes-3-8b", [RTX_3060], engine="llamacpp", context=context, sequences=4)
    order = [variant.precision for variant in built_in_catalog()["hermes-3-8b"] if variant.format.container == "gguf"]

    assert "Q4_K_M over Q6_K" in claim.quote
    assert order.index("q6_k") < order.index("q4_k_m")
    assert precision == service.precision


@pytest.mark.parametrize(
    ("model", "precision", "saved", "claim"),
    [
        ("hermes-3-8b", "awq", 0.64, guide("3.1", "(around 75% compared to FP16)")),
        ("hermes-3-8b", "q4_k_m", 0.69, guide("3.1", "(around 75% compared to FP16)")),
        ("hermes-3-70b", "q4_k_m", 0.70, guide("3.1", "(around 75% compared to FP16)")),
        ("hermes-3-405b", "q4_k_m", 0.70, guide("3.1", "(around 75% compared to FP16)")),
        ("hermes-3-8b", "q8_0", 0.47, guide("5.4", "High quality, close to FP16, but roughly half the VRAM")),
        ("hermes-4.3-36b", "fp8", 0.48, doradus("Key Benefits", "- ~47% smaller model size")),
    ],
)
def test_what_fewer_bits_save(model: str, precision: str, saved: float, claim: Claim) -> None:
    """Four bits save 64 to 70 % of 16, not 75: embeddings, scales and mixtures keep more; eight save about half."""
    assert claim.quote
    assert saved == pytest.approx(1 - find(model, precision).bytes / find(model, "bf16").bytes, abs=0.005)


def test_bytes_of_a_token() -> None:
    """The formula of the Doradus card, applied whole: 64 layers, 8 heads of 128, keys and values, 2 bytes."""
    claim = doradus("VRAM Analysis", "*KV cache calculated for GQA with 8 KV heads, 128 head_dim, 64 layers, FP16 KV*")

    assert "8 KV heads, 128 head_dim, 64 layers" in claim.quote
    assert 2 * 64 * 8 * 128 * 2 == kv_per_token(FP8_36B.shape) == 262_144
