"""The catalogue of models, and own ones."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hermeion.precisions import PRECISIONS
from hermeion.shapes import Shape
from hermeion.variants import CatalogEntry, ModelFacts, Variant, built_in_catalog, merge_catalog
from hermeion.weights import published_bytes

VARIANTS = {variant.name: variant for variants in built_in_catalog().values() for variant in variants}
SAFETENSORS = [variant for variant in VARIANTS.values() if variant.format.container == "safetensors"]
GGUF = [variant for variant in VARIANTS.values() if variant.format.container == "gguf"]

SHAPE = {
    "layers": 32,
    "hidden": 4096,
    "intermediate": 14336,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "vocab": 128256,
    "max_context": 8192,
}
OWN: dict[str, Any] = {
    "name": "my-llama",
    "repo": "me/my-llama",
    "precision": "bf16",
    "bytes": 16_060_522_496,
    "shape": SHAPE,
}
"""An own model that says everything about itself: Llama 8B with 8192 tokens of context."""

FACTS = ModelFacts(
    revision="0123456789abcdef0123456789abcdef01234567",
    precision="fp8",
    bytes=9_083_953_152,
    shape=Shape.model_validate({**SHAPE, "max_context": 131072}),
    quant_method="compressed-tensors",
)
"""What a model's own files say: the same in FP8, with all of its context."""


def own(**changes: object) -> CatalogEntry:
    """An own model; ``None`` leaves a key out."""
    return CatalogEntry.model_validate({k: v for k, v in {**OWN, **changes}.items() if v is not None})


def parameters(shape: Shape) -> int:
    """Parameters of a model, the norms of single heads (Qwen3) not counted."""
    return published_bytes(shape, PRECISIONS["bf16"]) // 2


def vector_parameters(shape: Shape) -> int:
    """Those in norms and biases, which GGUF keeps in 32 bits."""
    bias = (shape.heads + 2 * shape.kv_heads) * shape.head_dim if shape.qkv_bias else 0
    return shape.layers * (shape.norms * shape.hidden + bias) + shape.hidden


# ---------------------------------------------------------------- what is in it


def test_models() -> None:
    """The catalogue has these models, in its own order."""
    assert [
        "hermes-3-3b",
        "hermes-3-8b",
        "hermes-3-70b",
        "hermes-3-405b",
        "hermes-4-14b",
        "hermes-4-70b",
        "hermes-4-405b",
        "hermes-4.3-36b",
    ] == list(built_in_catalog())


def test_repositories() -> None:
    """All of NousResearch's repositories of Hermes 3, 4 and 4.3 are in the catalogue, and of third parties these."""
    assert {
        "NousResearch/Hermes-3-Llama-3.2-3B",
        "NousResearch/Hermes-3-Llama-3.2-3B-GGUF",
        "NousResearch/Hermes-3-Llama-3.1-8B",
        "NousResearch/Hermes-3-Llama-3.1-8B-GGUF",
        "NousResearch/Hermes-3-Llama-3.1-70B",
        "NousResearch/Hermes-3-Llama-3.1-70B-FP8",
        "NousResearch/Hermes-3-Llama-3.1-70B-GGUF",
        "NousResearch/Hermes-3-Llama-3.1-405B",
        "NousResearch/Hermes-3-Llama-3.1-405B-FP8",
        "NousResearch/Hermes-4-14B",
        "NousResearch/Hermes-4-14B-FP8",
        "NousResearch/Hermes-4-70B",
        "NousResearch/Hermes-4-70B-FP8",
        "NousResearch/Hermes-4-405B",
        "NousResearch/Hermes-4-405B-FP8",
        "NousResearch/Hermes-4.3-36B",
        "NousResearch/Hermes-4.3-36B-GGUF",
        "DevQuasar/NousResearch.Hermes-4-405B-GGUF",
        "Doradus/Hermes-4.3-36B-FP8",
        "bartowski/Hermes-3-Llama-3.2-3B-GGUF",
        "bartowski/Hermes-3-Llama-3.1-8B-GGUF",
        "bartowski/Hermes-3-Llama-3.1-70B-GGUF",
        "bartowski/Hermes-3-Llama-3.1-405B-GGUF",
        "bartowski/NousResearch_Hermes-4-14B-GGUF",
        "bartowski/NousResearch_Hermes-4-70B-GGUF",
        "bartowski/NousResearch_Hermes-4.3-36B-GGUF",
        "enfuse/Hermes-4-405B-NVFP4",
        "ktoprakucar/Hermes-3-Llama-3.1-8B-Q8-GPTQ",
        "lmstudio-community/Hermes-4-70B-GGUF",
        "mradermacher/Hermes-3-Llama-3.2-3B-GGUF",
        "solidrust/Hermes-3-Llama-3.1-8B-AWQ",
    } == {variant.repo for variant in VARIANTS.values()}


def test_precisions() -> None:
    """Each model comes in these precisions, most bits first: the order in which they are tried."""
    assert {
        "hermes-3-3b": "bf16 f16 q8_0 q6_k q5_k_m q4_k_m q4_k_s q4_0 iq4_xs q3_k_m q2_k",
        "hermes-3-8b": "bf16 q8_0 gptq-8bit q6_k q5_k_m q4_k_m q4_k_s iq4_xs awq q3_k_m q2_k",
        "hermes-3-70b": "bf16 q8_0 fp8 q6_k q5_k_m q4_k_m q4_k_s iq4_xs q3_k_m q2_k",
        "hermes-3-405b": "bf16 q8_0 fp8 q6_k q5_k_m q4_k_m q4_k_s iq4_xs q3_k_m q2_k",
        "hermes-4-14b": "bf16 q8_0 fp8 q6_k q5_k_m q4_k_m q4_k_s iq4_xs q3_k_m",
        "hermes-4-70b": "bf16 q8_0 fp8 q6_k q4_k_m",
        "hermes-4-405b": "bf16 fp8 q5_k_m q4_k_m nvfp4 q3_k_m",
        "hermes-4.3-36b": "bf16 q8_0 fp8 q6_k q5_k_m q4_k_m iq4_xs q3_k_m",
    } == {name: " ".join(v.precision for v in variants) for name, variants in built_in_catalog().items()}


def test_most_bits_first() -> None:
    """Variants of a model come by their bits; what has as many comes by its name."""
    for variants in built_in_catalog().values():
        assert sorted(variants, key=lambda v: (-v.format.bits, v.name)) == list(variants)


def test_names() -> None:
    """A short name is the model's and the precision, and stands for one variant."""
    everything = [variant for variants in built_in_catalog().values() for variant in variants]

    assert len(everything) == len({v.name for v in everything})
    assert {v.name for v in everything} == {f"{v.model}-{v.precision}" for v in everything}


def test_a_file_stands_for_one_variant() -> None:
    """No two variants are the same download."""
    assert len(VARIANTS) == len({(v.repo, v.files) for v in VARIANTS.values()})


def test_revisions() -> None:
    """No commit is known: `main` is resolved at the first deploy. None is in a folder."""
    assert {(None, None)} == {(v.revision, v.path) for v in VARIANTS.values()}


def test_gated() -> None:
    """No Hermes asks for consent."""
    assert {False} == {v.gated for v in VARIANTS.values()}


@pytest.mark.parametrize("variant", GGUF, ids=lambda v: v.name)
def test_gguf_files(variant: Variant) -> None:
    """A GGUF variant names its file, and the file names the quantisation."""
    assert 1 == len(variant.files)
    assert variant.files[0].endswith(".gguf")
    assert variant.precision in variant.files[0].lower()


def test_safetensors_files() -> None:
    """Safetensors come whole: all of the top folder."""
    assert {()} == {variant.files for variant in SAFETENSORS}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hermes-3-3b-q4_0", "Hermes-3-Llama-3.2-3B-Q4_0.gguf"),
        ("hermes-3-3b-q4_k_m", "Hermes-3-Llama-3.2-3B.Q4_K_M.gguf"),
        ("hermes-3-8b-q4_k_m", "Hermes-3-Llama-3.1-8B.Q4_K_M.gguf"),
        ("hermes-3-8b-iq4_xs", "Hermes-3-Llama-3.1-8B-IQ4_XS.gguf"),
        ("hermes-3-70b-q4_k_m", "Hermes-3-Llama-3.1-70B.Q4_K_M.gguf"),
        ("hermes-4-14b-q6_k", "NousResearch_Hermes-4-14B-Q6_K.gguf"),
        ("hermes-4-70b-q4_k_m", "NousResearch_Hermes-4-70B-Q4_K_M.gguf"),
        ("hermes-4.3-36b-q4_k_m", "hermes-4_3_36b-Q4_K_M.gguf"),
        ("hermes-4.3-36b-iq4_xs", "NousResearch_Hermes-4.3-36B-IQ4_XS.gguf"),
    ],
)
def test_file_names(name: str, file: str) -> None:
    """NousResearch puts a point before the quantisation, others a hyphen: names are the repository's own."""
    assert (file,) == VARIANTS[name].files


def test_split_files() -> None:
    """What is larger than 50 GB is split: into a folder (bartowski), or beside the others (LM Studio, DevQuasar)."""
    assert {
        "hermes-3-70b-q8_0": "Hermes-3-Llama-3.1-70B-Q8_0/*.gguf",
        "hermes-3-70b-q6_k": "Hermes-3-Llama-3.1-70B-Q6_K/*.gguf",
        "hermes-3-405b-q8_0": "Hermes-3-Llama-3.1-405B-Q8_0/*.gguf",
        "hermes-3-405b-q6_k": "Hermes-3-Llama-3.1-405B-Q6_K/*.gguf",
        "hermes-3-405b-q5_k_m": "Hermes-3-Llama-3.1-405B-Q5_K_M/*.gguf",
        "hermes-3-405b-q4_k_m": "Hermes-3-Llama-3.1-405B-Q4_K_M/*.gguf",
        "hermes-3-405b-q4_k_s": "Hermes-3-Llama-3.1-405B-Q4_K_S/*.gguf",
        "hermes-3-405b-iq4_xs": "Hermes-3-Llama-3.1-405B-IQ4_XS/*.gguf",
        "hermes-3-405b-q3_k_m": "Hermes-3-Llama-3.1-405B-Q3_K_M/*.gguf",
        "hermes-3-405b-q2_k": "Hermes-3-Llama-3.1-405B-Q2_K/*.gguf",
        "hermes-4-70b-q8_0": "Hermes-4-70B-Q8_0-*-of-00002.gguf",
        "hermes-4-70b-q6_k": "NousResearch_Hermes-4-70B-Q6_K/*.gguf",
        "hermes-4-405b-q5_k_m": "NousResearch.Hermes-4-405B.Q5_K_M-*-of-00022.gguf",
        "hermes-4-405b-q4_k_m": "NousResearch.Hermes-4-405B.Q4_K_M-*-of-00018.gguf",
        "hermes-4-405b-q3_k_m": "NousResearch.Hermes-4-405B.Q3_K_M-*-of-00015.gguf",
    } == {v.name: v.files[0] for v in GGUF if "*" in v.files[0]}
    assert {v.name for v in GGUF if v.bytes > 50e9} == {v.name for v in GGUF if "*" in v.files[0]}


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda v: v.name)
def test_source(variant: Variant) -> None:
    """Every size says where it is from; one in round gigabytes says so."""
    assert "" != variant.source
    assert (variant.bytes % 10_000_000 == 0) == ("rounded to" in variant.source)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("hermes-3-3b-bf16", 6_425_499_648),
        ("hermes-3-8b-bf16", 16_060_522_496),
        ("hermes-3-70b-bf16", 141_107_412_992),
        ("hermes-3-405b-bf16", 811_706_777_600),
        ("hermes-4-70b-bf16", 141_107_412_992),
        ("hermes-4-405b-bf16", 811_706_777_600),
        ("hermes-4.3-36b-bf16", 72_302_209_024),
    ],
)
def test_bf16_is_two_bytes_a_parameter(name: str, size: int) -> None:
    """The size written down is, to the byte, the one that follows from the architecture."""
    variant = VARIANTS[name]

    assert size == variant.bytes == published_bytes(variant.shape, variant.format)


def test_bf16_of_qwen3() -> None:
    """A Qwen3 has norms of its queries' and keys' heads besides, which a shape does not count: 20 kB."""
    variant = VARIANTS["hermes-4-14b-bf16"]
    shape = variant.shape

    assert 29_536_614_400 == variant.bytes
    assert variant.bytes == published_bytes(shape, variant.format) + 2 * 2 * shape.layers * shape.head_dim


@pytest.mark.parametrize("variant", SAFETENSORS, ids=lambda v: v.name)
def test_safetensors_follow_from_the_shape(variant: Variant) -> None:
    """The size written down and the one that follows from shape and precision agree to 1 %."""
    assert variant.bytes == pytest.approx(published_bytes(variant.shape, variant.format), rel=0.01)


@pytest.mark.parametrize(
    ("name", "shards"),
    [
        ("hermes-3-3b-bf16", [4.97, 1.46]),
        ("hermes-3-8b-bf16", [4.98, 5.00, 4.92, 1.17]),
        ("hermes-3-8b-awq", [4.68, 1.05]),
        ("hermes-3-8b-gptq-8bit", [9.25]),
    ],
)
def test_published_shards(name: str, shards: list[float]) -> None:
    """Shards of the repositories' trees, in GB to two digits, add up to the size written down."""
    assert sum(shards) * 1e9 == pytest.approx(VARIANTS[name].bytes, abs=len(shards) * 5e6)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("hermes-4-405b-nvfp4", 218.25),  # "~219 GB" of enfuse's card
        ("hermes-4.3-36b-fp8", 35.16),  # "36GB" of Doradus' card
        ("hermes-4.3-36b-bf16", 67.34),  # "68GB" of Doradus' card
        ("hermes-4.3-36b-q6_k", 27.62),  # measured by a user, as the next two
        ("hermes-4.3-36b-q4_k_m", 20.26),
        ("hermes-4.3-36b-iq4_xs", 18.15),
    ],
)
def test_gigabytes_of_cards_are_gibibytes(name: str, gib: float) -> None:
    """Cards that print `du` mean 2^30 bytes."""
    assert gib == pytest.approx(VARIANTS[name].bytes / 2**30, abs=0.015)


@pytest.mark.parametrize("variant", GGUF, ids=lambda v: v.name)
def test_gguf_sizes_follow_from_bits(variant: Variant) -> None:
    """Published GGUF files are the parameters times the precision's bits, to 3 %; seven are further off.

    Mixtures give embeddings and the output layer more bits than the rest: a model has more bits the smaller it is, the
    more so the fewer the rest has.
    """
    percent = (variant.bytes * 8 / (parameters(variant.shape) * variant.format.bits) - 1) * 100
    off = {
        "hermes-3-3b-q4_k_m": 4,
        "hermes-3-3b-q4_k_s": 4,
        "hermes-3-3b-q4_0": 4,
        "hermes-3-3b-iq4_xs": 4,
        "hermes-3-3b-q3_k_m": 7,
        "hermes-3-3b-q2_k": 10,
        "hermes-3-405b-q2_k": -4,
    }

    assert off.get(variant.name, 0) == (round(percent) if abs(percent) > 3 else 0)


@pytest.mark.parametrize(
    ("precision", "block", "weights"),
    [("q8_0", 34, 32), ("q6_k", 210, 256), ("f16", 2, 1)],
    ids=["q8_0", "q6_k", "f16"],
)
def test_gguf_of_one_type(precision: str, block: int, weights: int) -> None:
    """Where all matrices have one type, the file is its blocks, vectors in 32 bits and a header of a few MB.

    Blocks: ggml-common.h. The header is the vocabulary; sizes are published to 10 MB.
    """
    variants = [variant for variant in GGUF if variant.precision == precision]
    headers = {}
    for variant in variants:
        vectors = vector_parameters(variant.shape)
        matrices = parameters(variant.shape) - vectors
        headers[variant.name] = variant.bytes - matrices * block / weights - vectors * 4

    assert headers
    assert {} == {name: size for name, size in headers.items() if not 0 < size < 16e6}


@pytest.mark.parametrize(
    ("hermes_3", "hermes_4"), [("hermes-3-70b", "hermes-4-70b"), ("hermes-3-405b", "hermes-4-405b")]
)
def test_same_base_same_size(hermes_3: str, hermes_4: str) -> None:
    """Hermes 3 and 4 of one base take the same in each precision that both have."""
    sizes = [{v.precision: v.bytes for v in built_in_catalog()[model]} for model in (hermes_3, hermes_4)]
    common = sizes[0].keys() & sizes[1].keys()

    assert {p: sizes[0][p] for p in common} == {p: sizes[1][p] for p in common}


@pytest.mark.parametrize("name", built_in_catalog())
def test_fewer_bits_fewer_bytes(name: str) -> None:
    """In a model, and among files of one container, the order by bits is the order by bytes."""
    for container in ("safetensors", "gguf"):
        sizes = [v.bytes for v in built_in_catalog()[name] if v.format.container == container]

        assert sorted(sizes, reverse=True) == sizes


# ---------------------------------------------------------------- what people and engines are told


def test_architectures() -> None:
    """Hermes 4 14B and 4.3 are no Llamas; the latter has biases."""
    shapes = {name: variants[0].shape for name, variants in built_in_catalog().items()}

    assert {
        "hermes-3-3b": ("LlamaForCausalLM", False),
        "hermes-3-8b": ("LlamaForCausalLM", False),
        "hermes-3-70b": ("LlamaForCausalLM", False),
        "hermes-3-405b": ("LlamaForCausalLM", False),
        "hermes-4-14b": ("Qwen3ForCausalLM", False),
        "hermes-4-70b": ("LlamaForCausalLM", False),
        "hermes-4-405b": ("LlamaForCausalLM", False),
        "hermes-4.3-36b": ("SeedOssForCausalLM", True),
    } == {name: (shape.architecture, shape.qkv_bias) for name, shape in shapes.items()}
    assert ["hermes-3-3b"] == [name for name, shape in shapes.items() if shape.tied_embeddings]


def test_kv_bytes_a_token() -> None:
    """Keys and values of one token in 16 bits: the 36B takes 256 KiB, twice what a published table says."""
    shapes = {name: variants[0].shape for name, variants in built_in_catalog().items()}

    assert {
        "hermes-3-3b": 114_688,
        "hermes-3-8b": 131_072,
        "hermes-3-70b": 327_680,
        "hermes-3-405b": 516_096,
        "hermes-4-14b": 163_840,
        "hermes-4-70b": 327_680,
        "hermes-4-405b": 516_096,
        "hermes-4.3-36b": 262_144,
    } == {name: shape.layers * shape.kv_elements() * 2 for name, shape in shapes.items()}


def test_contexts() -> None:
    """The longest context: 40960 tokens of the 14B, 524288 of the 36B, 131072 of all others."""
    contexts = {name: variants[0].shape.max_context for name, variants in built_in_catalog().items()}

    assert {"hermes-4-14b": 40_960, "hermes-4.3-36b": 524_288} == {k: v for k, v in contexts.items() if v != 131_072}


def test_licences() -> None:
    """Llama's derivatives are under its licence, the others Apache-2.0; Doradus' card contradicts that."""
    assert {
        "hermes-3-3b": {"llama3"},
        "hermes-3-8b": {"llama3"},
        "hermes-3-70b": {"llama3"},
        "hermes-3-405b": {"llama3"},
        "hermes-4-14b": {"apache-2.0"},
        "hermes-4-70b": {"llama3"},
        "hermes-4-405b": {"llama3"},
        "hermes-4.3-36b": {"apache-2.0", "mit"},
    } == {name: {v.licence for v in variants} for name, variants in built_in_catalog().items()}
    assert ["hermes-4.3-36b-fp8"] == [v.name for v in VARIANTS.values() if v.licence == "mit"]


def test_official() -> None:
    """Official is what NousResearch publishes itself: of Hermes 4 14B, 70B and 405B no GGUF."""
    official = [v for v in VARIANTS.values() if v.official]

    assert {v.name for v in VARIANTS.values() if v.repo.startswith("NousResearch/")} == {v.name for v in official}
    assert {"hermes-3-3b", "hermes-3-8b", "hermes-3-70b", "hermes-4.3-36b"} == {v.model for v in official if v.files}


def test_prompt_formats() -> None:
    """Hermes 3 and Hermes 4 14B speak ChatML, the others with Llama 3's headers."""
    formats = {name: {v.prompt_format for v in variants} for name, variants in built_in_catalog().items()}

    assert {"hermes-4-70b", "hermes-4-405b", "hermes-4.3-36b"} == {k for k, v in formats.items() if v == {"llama3"}}
    assert {"hermes-3-3b", "hermes-3-8b", "hermes-3-70b", "hermes-3-405b", "hermes-4-14b"} == {
        name for name, found in formats.items() if found == {"chatml"}
    }


def test_tool_parsers() -> None:
    """Every Hermes calls tools as `hermes`, in both engines."""
    assert [{"vllm": "hermes", "sglang": "hermes"}] * len(VARIANTS) == [v.tool_parsers for v in VARIANTS.values()]


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda v: v.name)
def test_thinking(variant: Variant) -> None:
    """Hermes 4 thinks when the template's `thinking` is true, and each engine names its parser; Hermes 3 does not."""
    thinks = not variant.model.startswith("hermes-3")

    assert ({"vllm": "deepseek_v3", "sglang": "deepseek-v3"} if thinks else {}) == variant.reasoning_parsers
    assert ("thinking" if thinks else None) == variant.thinking_switch


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda v: v.name)
def test_sampling(variant: Variant) -> None:
    """Sampling is what the cards use."""
    hermes_3 = {"temperature": 0.8, "repetition_penalty": 1.1}
    hermes_4 = {"temperature": 0.6, "top_p": 0.95, "top_k": 20}

    assert (hermes_3 if variant.model.startswith("hermes-3") else hermes_4) == variant.sampling


def test_quant_methods() -> None:
    """Only what was seen in a repository is written down; of other FP8 repositories their own config.json counts."""
    assert {
        "hermes-3-8b-gptq-8bit": "gptq",
        "hermes-3-8b-awq": "awq",
        "hermes-3-70b-fp8": "compressed-tensors",
        "hermes-4-405b-nvfp4": "compressed-tensors",
        "hermes-4.3-36b-fp8": "compressed-tensors",
    } == {v.name: v.quant_method for v in VARIANTS.values() if v.quant_method}


# ---------------------------------------------------------------- own models


def test_own_model() -> None:
    """An own model becomes a variant with its own numbers and the defaults of a Hermes 4."""
    variant = own().to_variant()

    assert variant
    assert {
        "name": "my-llama",
        "model": "my-llama",
        "repo": "me/my-llama",
        "path": None,
        "revision": None,
        "precision": "bf16",
        "files": [],
        "bytes": 16_060_522_496,
        "source": "hermes_catalog",
        "shape": Shape.model_validate(SHAPE).to_json(),
        "licence": None,
        "gated": False,
        "official": True,
        "prompt_format": None,
        "tool_parsers": {"vllm": "hermes", "sglang": "hermes"},
        "reasoning_parsers": {"vllm": "deepseek_v3", "sglang": "deepseek-v3"},
        "thinking_switch": "thinking",
        "sampling": {},
        "quant_method": None,
        "only_by_name": False,
    } == variant.to_json()


def test_own_gguf() -> None:
    """An own GGUF model names its file."""
    variant = own(precision="q4_k_m", file="my-llama-Q4_K_M.gguf").to_variant()

    assert variant
    assert ("my-llama-Q4_K_M.gguf",) == variant.files


def test_own_folder() -> None:
    """An own model may lie in a folder on the host."""
    variant = own(repo=None, path="/srv/models/my-llama").to_variant()

    assert variant
    assert ("/srv/models/my-llama", "/srv/models/my-llama") == (variant.repo, variant.path)


def test_own_model_without_parsers() -> None:
    """A model that neither calls tools nor thinks has no parsers and no switch."""
    variant = CatalogEntry.model_validate({**OWN, "tool_parser": None, "reasoning_parser": None}).to_variant()

    assert variant
    assert ({}, {}, None) == (variant.tool_parsers, variant.reasoning_parsers, variant.thinking_switch)


@pytest.mark.parametrize("missing", ["shape", "bytes", "precision"])
def test_incomplete(missing: str) -> None:
    """A model that leaves a number to its own files is none yet while they were not read."""
    entry = own(**{missing: None})

    assert (False, None) == (entry.is_complete, entry.to_variant())


def test_complete() -> None:
    """With shape, bytes and precision nothing has to be read."""
    assert own().is_complete


def test_facts() -> None:
    """What the inventory leaves out comes from the model's own files."""
    variant = own(shape=None, bytes=None, precision=None).to_variant(FACTS)

    assert variant
    assert (FACTS.revision, "fp8", 9_083_953_152, FACTS.shape, "compressed-tensors", "the model's own files") == (
        variant.revision,
        variant.precision,
        variant.bytes,
        variant.shape,
        variant.quant_method,
        variant.source,
    )


def test_inventory_before_facts() -> None:
    """What the inventory says stands before what the model's own files say."""
    revision = "f" * 40
    variant = own(revision=revision).to_variant(FACTS)

    assert variant
    assert (revision, "bf16", 16_060_522_496, Shape.model_validate(SHAPE), "hermes_catalog") == (
        variant.revision,
        variant.precision,
        variant.bytes,
        variant.shape,
        variant.source,
    )


@pytest.mark.parametrize(
    ("changes", "place", "text"),
    [
        ({"repo": None}, (), "Value error, give either repo or path"),
        ({"path": "/srv/models/my-llama"}, (), "Value error, give either repo or path"),
        (
            {"repo": None, "path": "/srv/models/my-llama", "revision": "0" * 40},
            (),
            "Value error, a folder has no revision",
        ),
        ({"name": "my llama"}, ("name",), r"String should match pattern '^[\w.][\w.-]*$'"),
        ({"repo": "my-llama"}, ("repo",), r"String should match pattern '^[\w.][\w.-]*/[\w.-]+$'"),
        ({"repo": None, "path": "models/my-llama"}, ("path",), r"String should match pattern '^/[\w./+-]+$'"),
        ({"revision": "main"}, ("revision",), "String should match pattern '^[0-9a-f]{40}$'"),
        ({"file": "my-llama.bin"}, ("file",), r"String should match pattern '^[\w./+-]+\.gguf$'"),
        ({"precision": "q8_0"}, (), "Value error, precision q8_0 is one of GGUF files: name the file"),
        (
            {"precision": "bf16", "file": "my-llama.gguf"},
            (),
            "Value error, precision bf16 is not one of GGUF files, and my-llama.gguf is such a file",
        ),
        ({"bytes": 0}, ("bytes",), "Input should be greater than 0"),
        (
            {"precision": "int3"},
            ("precision",),
            f"Value error, no precision 'int3'; there are {', '.join(PRECISIONS)}",
        ),
        ({"layers": 32}, ("layers",), "Extra inputs are not permitted"),
        ({"shape": {**SHAPE, "heads": 0}}, ("shape", "heads"), "Input should be greater than 0"),
    ],
)
def test_refused(changes: dict[str, object], place: tuple[str, ...], text: str) -> None:
    """What cannot be an own model is refused with the key's name."""
    with pytest.raises(ValidationError) as error:
        own(**changes)

    assert [(place, text)] == [(e["loc"], e["msg"]) for e in error.value.errors()]


def test_own_models_join() -> None:
    """Own models come after the built-in ones; one that is not complete has no variants yet."""
    merged = merge_catalog([own(), own(name="other", bytes=None)])

    assert [*built_in_catalog(), "my-llama", "other"] == list(merged)
    assert (["my-llama"], ()) == ([v.name for v in merged["my-llama"]], merged["other"])


def test_own_model_with_facts_joins() -> None:
    """Facts are matched by the own model's name."""
    merged = merge_catalog([own(name="other", bytes=None)], {"other": FACTS, "hermes-3-8b": FACTS})

    assert [9_083_953_152] == [v.bytes for v in merged["other"]]
    assert built_in_catalog()["hermes-3-8b"] == merged["hermes-3-8b"]


def test_own_model_hides_built_in_one() -> None:
    """An own model of a known name takes its place; the others stay."""
    merged = merge_catalog([own(name="hermes-3-8b")])

    assert ["me/my-llama"] == [v.repo for v in merged["hermes-3-8b"]]
    assert list(built_in_catalog()) == list(merged)
