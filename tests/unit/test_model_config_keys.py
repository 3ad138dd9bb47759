"""What each key of a ``config.json`` says, one at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hermeion.model_config import ModelConfig, parse_config
from hermeion.precisions import PRECISIONS

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def parsed(**changes: Any) -> ModelConfig:
    """A small Llama's configuration, changed."""
    return parse_config(json.dumps(LLAMA | changes), "here")


def groups(**weights: Any) -> dict[str, Any]:
    """A quantisation with compressed-tensors."""
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}


@pytest.mark.parametrize(
    ("quantisation", "precision"),
    [
        (None, "bf16"),
        ({}, "bf16"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8-block"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quantization": {"quant_algo": "NVFP4"}}, "nvfp4"),
        ({"quant_method": "modelopt_fp4"}, "nvfp4"),
        ({"quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq"),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "gptq-8bit"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        (groups(num_bits=8, type="float", strategy="channel"), "fp8"),
        (groups(num_bits=8, type="float", strategy="tensor"), "fp8"),
        (groups(num_bits=8, type="float", strategy="block", block_structure=[128, 128]), "fp8-block"),
        (groups(num_bits=8, type="int", strategy="channel"), "int8"),
        (groups(num_bits=8, type="int", strategy="group", group_size=128), "gptq-8bit"),
        (groups(num_bits=4, type="int", strategy="group", group_size=128), "gptq"),
        (groups(num_bits=4, type="float", strategy="tensor_group", group_size=16), "nvfp4"),
        ({**groups(num_bits=4, type="float"), "format": "nvfp4-pack-quantized"}, "nvfp4"),
        ({"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": {"num_bits": 8}}, "bf16"),
    ],
)
def test_quantisation(quantisation: dict[str, Any] | None, precision: str) -> None:
    """Every way of writing a format of weights is put into one word, which has a size."""
    assert precision == parsed(quantization_config=quantisation).precision
    assert precision in PRECISIONS


def test_fbgemm_is_marked() -> None:
    """What vLLM only loads with a flag is told apart from other FP8."""
    config = parsed(quantization_config={"quant_method": "fbgemm_fp8"})

    assert ("fp8", "fbgemm_fp8", True) == (config.precision, config.quant_method, config.deprecated)


@pytest.mark.parametrize(
    ("changes", "dtype", "precision"),
    [
        ({"torch_dtype": "float32"}, "float32", "fp32"),
        ({"torch_dtype": "torch.float16"}, "float16", "fp16"),
        ({"torch_dtype": None, "dtype": "float16"}, "float16", "fp16"),
        ({"torch_dtype": None}, "bfloat16", "bf16"),
    ],
)
def test_dtype(changes: dict[str, Any], dtype: str, precision: str) -> None:
    """Both names of the key are read; what is not told is 16 bits."""
    config = parsed(**changes)

    assert (dtype, precision) == (config.dtype, config.precision)


@pytest.mark.parametrize(
    ("changes", "context", "positions"),
    [
        ({}, 8192, None),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 8192, None),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, 32768, None),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 16384, None),
        ({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 4096}}, 8192, 16384),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 4096}}, 8192, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 8192, None),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096}, 8192, 12288),
        ({"rope_scaling": {"type": "su", "original_max_position_embeddings": 4096}}, 8192, 12288),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}, 8192, 4 * 8192),
    ],
)
def test_rotary_caches(changes: dict[str, Any], context: int, positions: int | None) -> None:
    """Context and cached positions of each kind of rotary embedding, old and new way of writing it."""
    shape = parsed(**changes).shape

    assert (context, positions) == (shape.max_context, shape.rotary_positions)


def test_rotary_caches_of_two_kinds_of_layers() -> None:
    """Gemma 3 as Transformers 5 writes it: one set of parameters for each kind of layer, one cache for each."""
    parameters = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    }
    text = json.dumps({"architectures": ["Gemma3ForCausalLM"], "rope_parameters": parameters})
    shape = parse_config(text, "here").shape

    assert (131072, 9 * 131072) == (shape.max_context, shape.rotary_positions)


@pytest.mark.parametrize(
    ("changes", "window", "layers"),
    [
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 4096}, 4096, 32),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": None}, None, 0),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 8192}, None, 0),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 0}, None, 0),
        ({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 4096, "max_window_layers": 28}, None, 0),
        (
            {
                "architectures": ["Qwen2ForCausalLM"],
                "sliding_window": 4096,
                "max_window_layers": 28,
                "use_sliding_window": True,
            },
            4096,
            4,
        ),
        ({"architectures": ["Cohere2ForCausalLM"]}, 4096, 24),
        (
            {"architectures": ["Exaone4ForCausalLM"], "sliding_window": 1024, "sliding_window_pattern": "LLLG"},
            1024,
            24,
        ),
        ({"architectures": ["Gemma2ForCausalLM"], "layer_types": ["full_attention"] * 32}, None, 0),
        (
            {
                "architectures": ["MinistralForCausalLM"],
                "sliding_window": 2048,
                "layer_types": ["sliding_attention", "full_attention"] * 16,
            },
            2048,
            16,
        ),
        ({"architectures": ["LlamaForCausalLM"], "sliding_window": 4096}, None, 0),
    ],
)
def test_sliding_windows(changes: dict[str, Any], window: int | None, layers: int) -> None:
    """Which layers slide: what is told layer by layer goes before a class's own rule."""
    shape = parsed(**changes).shape

    assert (window, layers) == (shape.sliding_window, shape.sliding_layers)


@pytest.mark.parametrize(
    ("changes", "tied"),
    [
        ({}, False),
        ({"tie_word_embeddings": True}, True),
        ({"architectures": ["GemmaForCausalLM"]}, True),
        ({"architectures": ["GemmaForCausalLM"], "tie_word_embeddings": False}, False),
        ({"architectures": ["CohereForCausalLM"]}, True),
    ],
)
def test_tied_embeddings(changes: dict[str, Any], tied: bool) -> None:
    """Whether the embeddings are one matrix: as it is told, or as the class has it."""
    assert tied == parsed(**changes).shape.tied_embeddings


@pytest.mark.parametrize(
    ("changes", "head", "kv_heads", "bias"),
    [
        ({}, 128, 8, False),
        ({"num_key_value_heads": None}, 128, 32, False),
        ({"head_dim": 64}, 64, 8, False),
        ({"attention_bias": True}, 128, 8, True),
        ({"architectures": ["Qwen2ForCausalLM"]}, 128, 8, True),
        ({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 2048}, 128, 8, False),
        ({"architectures": ["GemmaForCausalLM"]}, 256, 8, False),
        ({"architectures": ["SeedOssForCausalLM"], "hidden_size": 5120}, 128, 8, True),
    ],
)
def test_heads(changes: dict[str, Any], head: int, kv_heads: int, bias: bool) -> None:
    """Heads and biases: as they are told, or as the class has them."""
    shape = parsed(**changes).shape

    assert (head, kv_heads, bias) == (shape.head_dim, shape.kv_heads, shape.qkv_bias)


MOE: dict[str, Any] = {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
DEEP: dict[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 1408,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"architectures": ["MixtralForCausalLM"], "num_local_experts": 8, **MOE}, (8, 8, 14336, 0, 0)),
        ({"architectures": ["Qwen3MoeForCausalLM"], **MOE}, (64, 8, 768, 0, 0)),
        (
            {
                "architectures": ["Qwen3MoeForCausalLM"],
                "num_local_experts": 64,
                "num_experts_per_tok": 8,
                "moe_intermediate_size": 768,
            },
            (64, 8, 768, 0, 0),
        ),
        ({"architectures": ["Qwen3MoeForCausalLM"], **MOE, "decoder_sparse_step": 2}, (64, 8, 768, 0, 16)),
        ({"architectures": ["Qwen3MoeForCausalLM"], **MOE, "mlp_only_layers": [0, 5]}, (64, 8, 768, 0, 2)),
        (
            {"architectures": ["Qwen2MoeForCausalLM"], **MOE, "shared_expert_intermediate_size": 5632},
            (64, 8, 768, 5632, 0),
        ),
        (DEEP, (64, 6, 1408, 2816, 3)),
        ({**DEEP, "n_shared_experts": None, "first_k_dense_replace": 1}, (64, 6, 1408, 0, 1)),
        ({**DEEP, "first_k_dense_replace": 0, "moe_layer_freq": 2}, (64, 6, 1408, 2816, 16)),
        ({**DEEP, "n_routed_experts": None}, None),
        ({"architectures": ["Qwen3MoeForCausalLM"], **MOE, "num_experts": 0}, None),
        ({"architectures": ["Qwen3MoeForCausalLM"], **MOE, "decoder_sparse_step": 40}, None),
    ],
)
def test_experts(changes: dict[str, Any], expected: tuple[int, ...] | None) -> None:
    """Experts, how many a token passes, their sizes, and the layers that have none."""
    experts = parsed(**changes).shape.experts

    assert expected == (experts and tuple(experts.to_json().values()))
