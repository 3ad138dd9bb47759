"""What is wrong with a ``config.json``, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from hermeion.errors import ModelError
from hermeion.model_config import parse_config
from tests.unit.builders import ROOT

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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{\n  "hidden_size": 4096,\n  "vocab_size" 32000\n}',
            " is not JSON: line 3, column 16: Expecting ':' delimiter. Pull the file again.",
        ),
        ("", " is not JSON: line 1, column 1: Expecting value. Pull the file again."),
        ("<html>", " is not JSON: line 1, column 1: Expecting value. Pull the file again."),
        ("[]", " is a list, and must be a JSON object. Pull the file again."),
        ("null", " is null, and must be a JSON object. Pull the file again."),
        ("7", " is a number, and must be a JSON object. Pull the file again."),
    ],
)
def test_what_is_no_json_object(text: str, message: str) -> None:
    """A file that is no JSON object is refused with the place of the fault."""
    assert message == error_of(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"vocab_size": ' + "9" * 5000 + "}"])
def test_json_that_python_cannot_read(text: str) -> None:
    """Endless nesting and numbers of thousands of digits are faults of the file, not of the program."""
    assert error_of(text).startswith(" is JSON that cannot be read: ")


@pytest.mark.parametrize(
    "key",
    [
        "hidden_size",
        "intermediate_size",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "vocab_size",
    ],
)
@pytest.mark.parametrize("null", [False, True])
def test_missing_keys(key: str, null: bool) -> None:
    """A key that is needed and missing, or null, is named."""
    text = changed(**{key: None}) if null else changed(key)

    assert f"{key} is missing. {NEXT}" == error_of(text)


@pytest.mark.parametrize(
    ("key", "value", "shown", "most"),
    [
        ("num_hidden_layers", 0, "0", 1000),
        ("num_hidden_layers", -3, "-3", 1000),
        ("num_hidden_layers", 1001, "1001", 1000),
        ("num_hidden_layers", "32", '"32"', 1000),
        ("num_hidden_layers", 32.0, "32.0", 1000),
        ("num_hidden_layers", True, "true", 1000),
        ("num_hidden_layers", list(range(40)), str(list(range(40)))[:60] + "…", 1000),
        ("hidden_size", 4096.5, "4096.5", 1_000_000),
        ("hidden_size", 1_000_001, "1000001", 1_000_000),
        ("vocab_size", 10_000_001, "10000001", 10_000_000),
        ("num_key_value_heads", 0, "0", 10_000),
        ("head_dim", 20_000, "20000", 10_000),
    ],
)
def test_absurd_numbers(key: str, value: object, shown: str, most: int) -> None:
    """A number of the wrong type or size is shown with what it may be."""
    assert f"{key} is {shown}, and must be a whole number from 1 to {most}. {NEXT}" == error_of(changed(**{key: value}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_key_value_heads": 5}, "num_key_value_heads is 5, which does not divide num_attention_heads, 32."),
        ({"num_attention_heads": 33}, "num_attention_heads is 33, which does not divide hidden_size, 4096."),
        (
            {"architectures": ["MixtralForCausalLM"], "num_local_experts": 8, "num_experts_per_tok": 9},
            "num_experts_per_tok is 9, but num_local_experts is 8.",
        ),
        (
            {"architectures": ["MixtralForCausalLM"], "num_experts_per_tok": 2},
            "num_local_experts is missing.",
        ),
        (
            {"layer_types": ["full_attention"] * 31},
            "layer_types names 31 layers, but num_hidden_layers is 32.",
        ),
        (
            {"architectures": ["Gemma2ForCausalLM"], "sliding_window_pattern": 0},
            "sliding_window_pattern is 0, and must be a whole number from 1 to 10000000.",
        ),
        ({"layer_types": "full"}, "layer_types is a text, and must be a list."),
        ({"attention_bias": "yes"}, 'attention_bias is "yes", and must be true or false.'),
        ({"rope_scaling": [1]}, "rope_scaling is a list, and must be an object."),
        ({"architectures": "LlamaForCausalLM"}, "architectures is a text, and must be a list."),
        ({"torch_dtype": 16}, "torch_dtype is a number, and must be a text."),
        ({"torch_dtype": "int8"}, "torch_dtype is 'int8', and must be one of bfloat16, float16, float32."),
        (
            {"rope_scaling": {"rope_type": "ntk"}},
            "rope_scaling.rope_type is 'ntk', and must be one of default, dynamic, linear, llama3, longrope, mrope, "
            "su, yarn.",
        ),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling.factor is missing."),
        (
            {"rope_scaling": {"type": "linear", "factor": -2}},
            "rope_scaling.factor is -2, and must be a number above 0 and up to 10000000.",
        ),
        ({"partial_rotary_factor": 1.5}, "partial_rotary_factor is 1.5, and must be a number above 0 and up to 1."),
        (
            {"quantization_config": {"bits": 4}},
            "quantization_config.quant_method is missing, so that the weights' format is unknown.",
        ),
    ],
)  # fmt: skip
def test_contradictions(changes: dict[str, Any], message: str) -> None:
    """What contradicts something, or cannot be read, is named with both sides."""
    assert f"{message} {NEXT}" == error_of(changed(**changes))


WRONG: list[object] = [None, -1, 0, 1, "x", "", [], {}, True, 1e99, 10**30, [None], {"a": {}}, [0, 0]]


@pytest.mark.parametrize(
    "name", ["ibm-granite--granite-vision-3.3-2b", "moonshotai--Kimi-VL-A3B-Instruct", "enfuse--Hermes-4-405B-NVFP4"]
)
def test_no_value_makes_it_fall_over(name: str) -> None:
    """Whatever stands at any place of a file, the answer is a configuration or a ModelError."""
    text = (ROOT / f"tests/unit/data/configs/{name}.json").read_text()

    def places(value: object, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, below in inner:
            yield (*way, key)
            yield from places(below, (*way, key))

    for way in places(json.loads(text)):
        for wrong in WRONG:
            config = json.loads(text)
            holder = config
            for key in way[:-1]:
                holder = holder[key]
            holder[way[-1]] = wrong
            with suppress(ModelError):
                parse_config(json.dumps(config), WHERE)
