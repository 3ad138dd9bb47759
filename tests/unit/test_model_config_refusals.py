"""Models whose ``config.json`` is in order, and which cannot be planned."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hermeion.errors import ModelError
from hermeion.model_config import parse_config
from hermeion.model_config.families import DECODERS, FAMILIES
from hermeion.model_config.wrappers import WRAPPERS

WHERE = "org/name config.json"
NEXT = "Correct it, or name a repository whose files the engine can load."
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def error_of(text: str) -> str:
    """The message of a file that is refused, without the file's name."""
    with pytest.raises(ModelError) as caught:
        parse_config(text, WHERE)
    message = str(caught.value)
    assert message.startswith(WHERE)
    return message.removeprefix(WHERE).removeprefix(": ")


def changed(*left_out: str, **changes: Any) -> str:
    """A Llama's configuration, changed, some keys left out."""
    config = LLAMA | changes
    return json.dumps({key: value for key, value in config.items() if key not in left_out})


@pytest.mark.parametrize("names", [None, [], [7], [None]])
def test_no_architectures(names: object) -> None:
    """Without the class nobody knows what the numbers mean."""
    expected = (
        " names no architectures, so that the kind of model is unknown. "
        "Name a repository with a Transformers model, or a GGUF file."
    )

    assert expected == error_of(changed(architectures=names))


@pytest.mark.parametrize(
    ("architecture", "nearest"),
    [
        ("LlamaForCasualLM", " The nearest known one is LlamaForCausalLM."),
        ("Qwen4ForCausalLM", " The nearest known one is Qwen3ForCausalLM."),
        ("ZZZ", ""),
    ],
)
def test_unknown_architecture(architecture: str, nearest: str) -> None:
    """An unknown class is named, with the nearest known one and all of them."""
    known = ", ".join(sorted((*DECODERS, *WRAPPERS)))

    assert f"the architecture {architecture} is not known.{nearest} Name a model of one of: {known}." == error_of(
        changed(architectures=[architecture])
    )


@pytest.mark.parametrize(
    "architecture",
    [
        "MambaForCausalLM",
        "Mamba2ForCausalLM",
        "JambaForCausalLM",
        "Qwen3NextForCausalLM",
        "Qwen3_5ForConditionalGeneration",
        "NemotronHForCausalLM",
        "FalconH1ForCausalLM",
        "RwkvForCausalLM",
        "RWKV7ForCausalLM",
        "GraniteMoeHybridForCausalLM",
        "KimiLinearForCausalLM",
    ],
)
def test_recurrent_layers(architecture: str) -> None:
    """State-space and linear-attention models are refused by name, with the reason."""
    expected = (
        f"{architecture} has state-space or linear-attention layers, whose memory does not grow with the context as a "
        "KV cache does and cannot be planned. Name a model whose layers are all attention."
    )

    assert expected == error_of(changed(architectures=[architecture]))


DECODER = "Name a decoder-only model, whose class ends in ForCausalLM or ForConditionalGeneration."


@pytest.mark.parametrize(
    "architecture", ["T5ForConditionalGeneration", "BartForCausalLM", "WhisperForConditionalGeneration"]
)
def test_encoder_decoders(architecture: str) -> None:
    """A model with an encoder and a decoder is refused by name."""
    assert f"{architecture} is an encoder-decoder and not decoder-only. {DECODER}" == error_of(
        changed(architectures=[architecture])
    )


@pytest.mark.parametrize(
    "architecture",
    ["BertModel", "XLMRobertaModel", "LlamaForSequenceClassification", "Qwen2ForRewardModel", "CLIPModel"],
)
def test_models_without_text(architecture: str) -> None:
    """A model that writes no text is refused by name."""
    assert f"{architecture} reads text and generates none. {DECODER}" == error_of(changed(architectures=[architecture]))


def test_layers_that_are_no_attention() -> None:
    """A hybrid under an ordinary class is found by its layers."""
    expected = (
        "layer_types has 'linear_attention', whose memory is not that of attention and cannot be planned. "
        "Name a model whose layers are all 'full_attention' or 'sliding_attention'."
    )

    assert expected == error_of(changed(layer_types=["linear_attention", "full_attention"] * 16))


def compressed(**weights: Any) -> dict[str, Any]:
    """A quantisation with compressed-tensors."""
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}


@pytest.mark.parametrize(
    ("quantisation", "what"),
    [
        ({"quant_method": "bitsandbytes"}, "bitsandbytes"),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, "modelopt W4A8_AWQ"),
        ({"quant_method": "fp8", "weight_block_size": [64, 64]}, "fp8 in blocks of 64 × 64"),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, "gptq with 3 bits"),
        ({"quant_method": "awq", "bits": 8, "group_size": 128}, "awq with 8 bits"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "gptq with groups of 32"),
        (
            compressed(num_bits=4, type="int", strategy="group", group_size=32),
            'compressed-tensors {"type": "int", "num_bits": 4, "strategy": "group", "group_size": 32}',
        ),
        (
            compressed(num_bits=8, type="float", strategy="group", group_size=32),
            'compressed-tensors {"type": "float", "num_bits": 8, "strategy": "group", "group_size": 32}',
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}},
                    "group_1": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}},
                },
            },
            "compressed-tensors that mix fp8 and nvfp4",
        ),
    ],
)
def test_quantisation_of_unknown_size(quantisation: dict[str, Any], what: str) -> None:
    """A format whose bytes nobody can tell is refused by name, with those that are known."""
    expected = (
        f"weights are quantised as {what}, whose size is not known. Known: fp8 (also in blocks of 128 × 128), "
        "fbgemm_fp8, modelopt FP8 and NVFP4, mxfp4, awq and gptq with 4 bits, gptq with 8 bits, compressed-tensors of "
        "these. Name a repository in one of them."
    )

    assert expected == error_of(changed(quantization_config=quantisation))


LLAVA = {"architectures": ["LlavaForConditionalGeneration"], "text_config": {"model_type": "llama"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {},
            "vision_config is missing, although the class has a vision tower. "
            "Name a repository whose files the engine can load.",
        ),
        (
            {"vision_config": {"model_type": "swin"}},
            "vision_config.model_type is 'swin', and must be one of clip_vision_model, pixtral, siglip_vision_model. "
            f"{NEXT}",
        ),
        (
            {"vision_config": {"hidden_size": 0}},
            f"vision_config.hidden_size is 0, and must be a whole number from 1 to 1000000. {NEXT}",
        ),
        (
            {"vision_config": {}, "vision_feature_layer": 40},
            f"vision_feature_layer is 40, but the tower has 12 layers. {NEXT}",
        ),
        (
            {"vision_config": {}, "vision_feature_layer": []},
            f"vision_feature_layer is [], but the tower has 12 layers. {NEXT}",
        ),
        (
            {"text_config": {"model_type": "mistral4"}},
            "text_config.model_type is 'mistral4', which is not known. "
            f"Name a model with one of: {', '.join(sorted(FAMILIES))}.",
        ),
        (
            {"text_config": {"model_type": "llama", "num_attention_heads": 33}},
            f"text_config.num_attention_heads is 33, which does not divide hidden_size, 4096. {NEXT}",
        ),
    ],
)  # fmt: skip
def test_wrappers(changes: dict[str, Any], message: str) -> None:
    """A fault in a tower or in the decoder behind it is named with the way to it."""
    assert message == error_of(json.dumps(LLAVA | changes))
