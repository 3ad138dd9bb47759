"""What a GGUF file says of its model."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.headers import parse_gguf_header
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Experts, Latent
from tests.unit.gguf_files import LLAMA, WHERE, error_of, gguf, parsed, renamed


def test_llama() -> None:
    """Shape, precision, chat template and parts; llama.cpp keeps no rotary cache."""
    header = parsed()
    shape = header.shape

    assert ("llama", "q4_k_m", True, 1) == (
        header.architecture,
        header.precision,
        header.chat_template,
        header.split_count,
    )
    assert (32, 4096, 14336, 32, 8, 128, 500, 131072, 0, False) == (
        shape.layers,
        shape.hidden,
        shape.intermediate,
        shape.heads,
        shape.kv_heads,
        shape.head_dim,
        shape.vocab,
        shape.max_context,
        shape.rotary_positions,
        shape.tied_embeddings,
    )


@pytest.mark.parametrize(
    ("number", "precision"),
    [
        (0, "fp32"),
        (1, "f16"),
        (2, "q4_0"),
        (7, "q8_0"),
        (10, "q2_k"),
        (12, "q3_k_m"),
        (14, "q4_k_s"),
        (15, "q4_k_m"),
        (17, "q5_k_m"),
        (18, "q6_k"),
        (30, "iq4_xs"),
        (32, "f16"),
    ],
)
def test_file_types(number: int, precision: str) -> None:
    """llama.cpp's file types are formats of known size."""
    assert precision == parsed({"general.file_type": number}).precision
    assert precision in PRECISIONS


@pytest.mark.parametrize(("number", "name"), [(16, "Q5_K_S"), (38, "MXFP4_MOE"), (99, "of file type 99")])
def test_other_file_types(number: int, name: str) -> None:
    """A format of unknown size is refused by name."""
    expected = (
        f"{WHERE}: weights are {name}, whose size is not known. Name a file in one of: F32, F16, BF16, Q8_0, Q6_K, "
        "Q5_K_M, Q4_K_M, Q4_K_S, Q4_0, IQ4_XS, Q3_K_M, Q2_K."
    )

    assert expected == error_of(gguf(LLAMA | {"general.file_type": number}))


@pytest.mark.parametrize(
    ("file", "precision"),
    [
        ("Hermes-4-14B-Q4_K_M.gguf", "q4_k_m"),
        ("Qwen3-8B-Q8_0.gguf", "q8_0"),
        ("hermes.iq4_xs.gguf", "iq4_xs"),
        ("Hermes-4-70B-Q6_K-00001-of-00002.gguf", "q6_k"),
        ("model-BF16.gguf", "f16"),
        ("sub/Q5_K_M-Q4_0.gguf", "q4_0"),
    ],
)
def test_precision_by_name(file: str, precision: str) -> None:
    """Where the file type stands behind what was read, the file's name tells it."""
    metadata = {key: value for key, value in LLAMA.items() if key != "general.file_type"} | {"general.file_type": 15}
    data = gguf(metadata)

    assert precision == parse_gguf_header(data[: len(data) // 2], WHERE, file).precision


def test_file_type_goes_before_the_name() -> None:
    """What the file says of itself is right."""
    assert "q4_k_m" == parsed(file="Hermes-Q8_0.gguf").precision


@pytest.mark.parametrize(
    ("changes", "left_out", "expected"),
    [
        ({"llama.vocab_size": 512}, (), {"vocab": 512}),
        ({"llama.attention.head_count_kv": [8] * 32}, (), {"kv_heads": 8}),
        ({}, ("llama.attention.head_count_kv",), {"kv_heads": 32}),
        ({"llama.attention.key_length": 64}, (), {"head_dim": 64}),
        ({"llama.feed_forward_length": [0, 8192]}, (), {"intermediate": 8192}),
    ],
)
def test_optional_keys(changes: dict[str, Any], left_out: tuple[str, ...], expected: dict[str, int]) -> None:
    """Keys that a file may leave out, and values of each layer, of which the largest counts."""
    shape = parsed(changes, *left_out).shape

    assert expected == {key: getattr(shape, key) for key in expected}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (renamed("qwen2"), {"qkv_bias": True, "norms": 2}),
        (renamed("qwen3", attention__key_length=128), {"qkv_bias": False, "head_dim": 128}),
        (renamed("seed_oss"), {"qkv_bias": True}),
        (renamed("granite"), {"norms": 2}),
        (renamed("mistral"), {"sliding_layers": 0}),
        (renamed("phi3", attention__sliding_window=2047), {"sliding_layers": 32, "sliding_window": 2047}),
        (renamed("gemma2", attention__sliding_window=4096), {"norms": 4, "sliding_layers": 16}),
        (renamed("gemma3", attention__sliding_window=1024), {"norms": 4, "sliding_layers": 27, "rotary_positions": 0}),
        (
            renamed(
                "gemma3",
                attention__sliding_window=1024,
                attention__sliding_window_pattern=[True, True, False, True] * 8,
            ),
            {"sliding_layers": 24},
        ),
        (
            renamed("llama", expert_count=8, expert_used_count=2),
            {"experts": Experts(count=8, per_token=2, intermediate=14336)},
        ),
        (
            renamed("qwen3moe", expert_count=128, expert_used_count=8, expert_feed_forward_length=768),
            {"experts": Experts(count=128, per_token=8, intermediate=768)},
        ),
        (
            renamed(
                "qwen2moe",
                expert_count=60,
                expert_used_count=4,
                expert_feed_forward_length=1408,
                expert_shared_feed_forward_length=5632,
            ),
            {"experts": Experts(count=60, per_token=4, intermediate=1408, shared_intermediate=5632), "qkv_bias": True},
        ),
        (
            renamed(
                "gpt-oss",
                expert_count=32,
                expert_used_count=4,
                expert_feed_forward_length=2880,
                feed_forward_length=2880,
                attention__sliding_window=128,
            ),
            {
                "experts": Experts(count=32, per_token=4, intermediate=2880),
                "sliding_layers": 16,
                "sliding_window": 128,
                "qkv_bias": True,
            },
        ),
        (
            renamed(
                "deepseek2",
                expert_count=64,
                expert_used_count=6,
                expert_feed_forward_length=1408,
                expert_shared_count=2,
                leading_dense_block_count=1,
                attention__kv_lora_rank=512,
                attention__key_length=192,
                attention__value_length=128,
                rope__dimension_count=64,
            ),
            {
                "experts": Experts(
                    count=64, per_token=6, intermediate=1408, shared_intermediate=2816, dense_layers=1
                ),
                "latent": Latent(kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128),
            },
        ),
        (
            renamed(
                "deepseek2",
                expert_count=256,
                expert_used_count=8,
                expert_feed_forward_length=2048,
                expert_shared_count=1,
                leading_dense_block_count=3,
                attention__kv_lora_rank=512,
                attention__q_lora_rank=1536,
                attention__head_count_kv=1,
                attention__key_length=576,
                attention__value_length=512,
                attention__key_length_mla=192,
                attention__value_length_mla=128,
                rope__dimension_count=64,
            ),
            {"latent": Latent(kv_rank=512, query_rank=1536, nope_dim=128, rope_dim=64, value_dim=128)},
        ),
    ],
    ids=lambda value: value.get("general.architecture", "") if isinstance(value, dict) else None,
)  # fmt: skip
def test_architectures(metadata: dict[str, Any], expected: dict[str, Any]) -> None:
    """What the architectures differ in."""
    shape = parse_gguf_header(gguf(metadata), WHERE).shape

    assert expected == {key: getattr(shape, key) for key in expected}


@pytest.mark.parametrize(
    ("metadata", "tensors", "cut", "tied"),
    [
        (LLAMA, ("token_embd.weight", "output.weight"), False, False),
        (LLAMA, ("token_embd.weight",), False, True),
        (LLAMA, ("token_embd.weight",), True, False),
        (LLAMA | {"split.count": 3}, ("token_embd.weight",), False, False),
        (renamed("gemma2"), ("token_embd.weight",), True, True),
    ],
)
def test_tied_embeddings(metadata: dict[str, Any], tensors: tuple[str, ...], cut: bool, tied: bool) -> None:
    """Embeddings are one matrix where the file has no output matrix; a part, or a beginning, does not tell."""
    data = gguf(metadata, tensors)

    assert tied == parse_gguf_header(data[:-1] if cut else data, WHERE).shape.tied_embeddings


def test_no_chat_template() -> None:
    """A whole file without a template has none."""
    assert parsed({}, "tokenizer.chat_template").chat_template is False


@pytest.mark.parametrize("architecture", ["mamba", "rwkv7", "bert"])
def test_unknown_architecture(architecture: str) -> None:
    """An unknown architecture is named, with those that are known."""
    known = (
        "cohere2, command-r, deepseek2, exaone4, gemma, gemma2, gemma3, glm4, glm4moe, gpt-oss, granite, granitemoe, "
        "llama, mistral, mistral3, mixtral, olmo2, olmoe, phi2, phi3, qwen2, qwen2moe, qwen3, qwen3moe, seed_oss, "
        "smollm3, starcoder2"
    )

    assert f"{WHERE}: the architecture {architecture} is not known. Name a model of one of: {known}." == error_of(
        gguf(renamed(architecture))
    )


@pytest.mark.parametrize(
    "key",
    [
        "general.architecture",
        "llama.block_count",
        "llama.embedding_length",
        "llama.attention.head_count",
        "llama.context_length",
        "tokenizer.ggml.tokens",
        "general.file_type",
    ],
)
def test_missing_keys(key: str) -> None:
    """A key that is needed and is in no part of the metadata is named."""
    data = gguf({name: value for name, value in LLAMA.items() if name != key})

    assert f"{WHERE}: {key} is missing. Convert the model with a current llama.cpp." == error_of(data)


def test_absurd_numbers() -> None:
    """The rules for numbers are those of ``config.json``, in its words."""
    expected = (
        f"{WHERE}: num_hidden_layers is 4000000000, and must be a whole number from 1 to 1000. Correct it, or name a "
        "repository whose files the engine can load."
    )

    assert expected == error_of(gguf(LLAMA | {"llama.block_count": 4_000_000_000}))
