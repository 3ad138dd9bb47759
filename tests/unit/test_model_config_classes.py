"""Every class of models whose configuration is understood, compared with Transformers' own.

The parameters were counted in Transformers 5.23 with these very configurations.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hermeion.model_config import parse_config
from hermeion.model_config.families import DECODERS
from hermeion.model_config.wrappers import WRAPPERS
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Shape
from hermeion.weights import published_bytes

SIZES: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 1024}

CLASSES: dict[str, tuple[int, dict[str, Any]]] = {
    "Cohere2ForCausalLM": (7_504_793_600, {}),
    "CohereForCausalLM": (7_504_793_600, {}),
    "DeepseekV2ForCausalLM": (
        6_680_727_552,
        {"n_routed_experts": 8, "n_shared_experts": 2, "first_k_dense_replace": 1, "q_lora_rank": None, **EXPERTS},
    ),
    "DeepseekV3ForCausalLM": (
        6_114_480_128,
        {"n_routed_experts": 8, "n_shared_experts": 1, "first_k_dense_replace": 3, **EXPERTS},
    ),
    "Exaone4ForCausalLM": (8_030_269_440, {}),
    "Gemma2ForCausalLM": (8_847_364_096, {}),
    "Gemma3ForCausalLM": (8_847_380_480, {}),
    "GemmaForCausalLM": (8_847_101_952, {}),
    "Glm4ForCausalLM": (8_030_720_000, {}),
    "Glm4MoeForCausalLM": (
        6_081_130_496,
        {
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "attention_bias": True,
            "use_qk_norm": True,
            **EXPERTS,
        },
    ),
    "GptOssForCausalLM": (
        8_167_855_360,
        {"num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 2048},
    ),
    "GraniteForCausalLM": (8_030_261_248, {}),
    "GraniteMoeForCausalLM": (
        5_615_390_720,
        {"num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 1024},
    ),
    "LLaMAForCausalLM": (8_030_261_248, {}),
    "Llama4ForCausalLM": (
        7_628_132_352,
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2,
            "intermediate_size": 2048,
            "intermediate_size_mlp": 8192,
        },
    ),
    "LlamaForCausalLM": (8_030_261_248, {}),
    "Ministral3ForCausalLM": (8_030_261_248, {}),
    "MinistralForCausalLM": (8_030_261_248, {}),
    "MistralForCausalLM": (8_030_261_248, {}),
    "MixtralForCausalLM": (47_491_321_856, {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "Olmo2ForCausalLM": (8_030_425_088, {}),
    "OlmoeForCausalLM": (5_615_554_560, {"num_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 1024}),
    "Phi3ForCausalLM": (8_030_261_248, {}),
    "PhiForCausalLM": (6_152_262_912, {}),
    "Qwen2ForCausalLM": (8_030_457_856, {}),
    "Qwen2MoeForCausalLM": (
        7_225_741_312,
        {"num_experts": 8, "shared_expert_intermediate_size": 2048, "decoder_sparse_step": 2, **EXPERTS},
    ),
    "Qwen3ForCausalLM": (8_030_269_440, {}),
    "Qwen3MoeForCausalLM": (5_690_863_616, {"num_experts": 8, "mlp_only_layers": [0], **EXPERTS}),
    "SeedOssForCausalLM": (8_030_457_856, {}),
    "SmolLM3ForCausalLM": (7_504_924_672, {}),
    "Starcoder2ForCausalLM": (5_627_060_224, {}),
}


def shape_of(**config: Any) -> Shape:
    """The shape of a configuration."""
    return parse_config(json.dumps(config), "here").shape


@pytest.mark.parametrize(("architecture", "expected"), CLASSES.items())
def test_parameters_of_a_class(architecture: str, expected: tuple[int, dict[str, Any]]) -> None:
    """A class's matrices are all counted; biases and norms of heads may be missing: 0.03 %."""
    parameters, own = expected
    shape = shape_of(architectures=[architecture], **SIZES | own)

    assert parameters == pytest.approx(published_bytes(shape, PRECISIONS["bf16"]) / 2, rel=3e-4)
    assert architecture == shape.architecture


def test_every_class_is_compared() -> None:
    """No class is known without having been compared."""
    assert set(DECODERS) == set(CLASSES)
    assert set(WRAPPERS) == {case[0] for case in TOWERS}


CLIP_LAYER = 12_596_224
INTERN_BIASES = 24 * 3 * 1024
SIGLIP_HEAD = 7_087_104
SIGLIP_WITH_64_BY_64_PATCHES = 416_866_032
KIMI_PROJECTOR = 2 * 1152 + 4608 * 4608 + 4608 + 4608 * 2048 + 2048

# Class, its text_config, its vision_config, parameters of tower and projector as Transformers has them, and of those
# the ones that vLLM leaves out: pooling heads, layers above the one that is used, the norm behind them. MoonViT, which
# Transformers does not have, is SigLIP with other positions; its projector is that of vLLM's kimi_vl.py.
TOWERS: list[tuple[str, dict[str, Any], dict[str, Any], int, int]] = [
    (
        "Gemma3ForConditionalGeneration",
        {"model_type": "gemma3_text"},
        {"model_type": "siglip_vision_model"},
        94_654_464,
        SIGLIP_HEAD,
    ),
    ("InternVLForConditionalGeneration", {"model_type": "qwen2"}, {"image_size": [448, 448]}, 337_509_376, 0),
    ("InternVLChatModel", {"model_type": "qwen2"}, {"qkv_bias": True}, 337_509_376 + INTERN_BIASES, 0),
    (
        "KimiVLForConditionalGeneration",
        {"hidden_size": 2048},
        {"model_type": "moonvit"},
        SIGLIP_WITH_64_BY_64_PATCHES + KIMI_PROJECTOR,
        0,
    ),
    ("Llama4ForConditionalGeneration", {"model_type": "llama4_text"}, {}, 455_178_240, 0),
    (
        "LlavaForConditionalGeneration",
        {"model_type": "llama"},
        {
            "hidden_size": 1024,
            "image_size": 336,
            "intermediate_size": 4096,
            "model_type": "clip_vision_model",
            "num_hidden_layers": 24,
            "patch_size": 14,
        },
        324_487_168,
        CLIP_LAYER + 2 * 1024,
    ),
    (
        "LlavaNextForConditionalGeneration",
        {"model_type": "llama"},
        {
            "hidden_size": 1024,
            "image_size": 336,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "patch_size": 14,
        },
        324_491_264,
        CLIP_LAYER + 2 * 1024,
    ),
    ("Mistral3ForConditionalGeneration", {"hidden_size": 5120}, {"patch_size": 14}, 438_958_080, 0),
    ("Qwen2VLForConditionalGeneration", {"model_type": "qwen2_vl_text"}, {}, 675_759_104, 0),
    ("Qwen2_5_VLForConditionalGeneration", {"model_type": "qwen2_5_vl"}, {"hidden_size": 3584}, 3_083_025_152, 0),
    ("Qwen3VLForConditionalGeneration", {"model_type": "qwen3_vl_text"}, {"model_type": "qwen3_vl"}, 566_949_104, 0),
    ("Qwen3VLMoeForConditionalGeneration", {"model_type": "qwen3_vl_moe_text"}, {}, 566_949_104, 0),
]


@pytest.mark.parametrize(("architecture", "text", "vision", "parameters", "left_out"), TOWERS)
def test_parameters_of_towers(
    architecture: str, text: dict[str, Any], vision: dict[str, Any], parameters: int, left_out: int
) -> None:
    """Tower and projector have the parameters of Transformers' classes, exactly; what is left out is a class's own."""
    where = "llm_config" if architecture == "InternVLChatModel" else "text_config"
    shape = shape_of(architectures=[architecture], vision_config=vision, **{where: text})

    assert parameters - left_out == shape.tower_parameters


def test_text_config_takes_the_class_s_values() -> None:
    """A wrapper's decoder has its class's sizes where ``text_config`` leaves them out, as LLaVA 1.5 does."""
    shape = shape_of(
        architectures=["LlavaForConditionalGeneration"],
        text_config={"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096},
        vision_config={"model_type": "clip_vision_model"},
    )

    assert (32, 4096, 11008, 32, 32, 128, 32064, 4096, False) == (
        shape.layers,
        shape.hidden,
        shape.intermediate,
        shape.heads,
        shape.kv_heads,
        shape.head_dim,
        shape.vocab,
        shape.max_context,
        shape.tied_embeddings,
    )


@pytest.mark.parametrize(
    ("top", "text", "tied"),
    [
        ({}, {}, False),
        (True, True, True),
        (True, False, False),
        (False, True, False),
        (True, {}, True),
        ({}, True, True),
    ],
)
def test_tied_embeddings_of_a_wrapper(top: object, text: object, tied: bool) -> None:
    """Embeddings are one matrix where all that is told says so: rather one too many than one too few."""
    told = {"tie_word_embeddings": top} if isinstance(top, bool) else {}
    own = {"tie_word_embeddings": text} if isinstance(text, bool) else {}
    shape = shape_of(
        architectures=["Mistral3ForConditionalGeneration"],
        text_config={"model_type": "mistral"} | own,
        vision_config={},
        **told,
    )

    assert tied == shape.tied_embeddings


@pytest.mark.parametrize(
    ("text", "layers"),
    [({"architectures": ["Qwen2ForCausalLM"]}, 32), ({}, 32), ({"model_type": "qwen3", "num_hidden_layers": 36}, 36)],
)
def test_a_wrapper_s_decoder(text: dict[str, Any], layers: int) -> None:
    """The decoder is found by its model_type, by its class, or is the wrapper's usual one."""
    shape = shape_of(architectures=["InternVLChatModel"], llm_config=text, vision_config={})

    assert layers == shape.layers


@pytest.mark.parametrize(
    ("feature_layer", "layers", "outputs"), [(-2, 26, 1), (-1, 27, 1), (20, 20, 1), ([-24, -20, -12, -1], 27, 4)]
)
def test_layers_of_a_tower_that_are_used(feature_layer: int | list[int], layers: int, outputs: int) -> None:
    """Layers above the last one that is used are not loaded; outputs put side by side widen the projector."""

    def tower(wanted: object) -> int:
        return shape_of(
            architectures=["LlavaNextForConditionalGeneration"],
            text_config={"model_type": "granite", "hidden_size": 2048},
            vision_config={
                "hidden_size": 1152,
                "image_size": 384,
                "intermediate_size": 4304,
                "model_type": "siglip_vision_model",
                "num_hidden_layers": 27,
                "patch_size": 14,
            },
            vision_feature_layer=wanted,
        ).tower_parameters

    layer = 15_239_504
    assert (layers - 27) * layer + (outputs - 1) * 1152 * 2048 == tower(feature_layer) - tower(-1)
