"""What a ``config.json`` says of a model's size.

The files in ``data/configs`` are those of the repositories they are named after, written down by hand; parameters are
compared with what Transformers' own classes have, and weights with what vLLM printed when it had loaded them.
"""

from __future__ import annotations

import csv

import pytest

from hermeion.model_config import ModelConfig, parse_config
from hermeion.precisions import PRECISIONS
from hermeion.units import GIB
from hermeion.weights import published_bytes, weight_bytes
from tests.unit.builders import ROOT

DATA = ROOT / "tests/unit/data"


def published(name: str) -> ModelConfig:
    """A published model's configuration."""
    return parse_config((DATA / "configs" / f"{name.replace('/', '--')}.json").read_text(), name)


def logs() -> list[dict[str, str]]:
    """What vLLM printed at its start, one row a start."""
    lines = (DATA / "vllm-memory-logs.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


QUANTISED = {"fp8": "fp8", "compressed-tensors": "fp8", "gptq_marlin": "gptq", "mxfp4": "mxfp4"}


@pytest.mark.parametrize(
    "row", logs(), ids=lambda row: f"{row['model']}-{row['quant']}-{row['dtype']}-tp{row['tp']}-pp{row['pp']}"
)
def test_weights_are_what_vllm_loads(row: dict[str, str]) -> None:
    """Bytes computed from the configuration are within 1 % of `Model loading took`."""
    config = published(row["model"])
    precision = QUANTISED.get(row["quant"], "fp32" if row["dtype"] == "float32" else "bf16")

    computed = weight_bytes(
        config.shape,
        PRECISIONS[precision],
        tensor_parallel=int(row["tp"]),
        pipeline_parallel=int(row["pp"]),
        element=4 if row["dtype"] == "float32" else 2,
    )

    assert float(row["weights_gib"]) == pytest.approx(computed.total / GIB, rel=0.01)


# Of Transformers' classes, all parameters. Left out of granite-vision: SigLIP's pooling head, which nobody uses.
PARAMETERS = {
    "Doradus/Hermes-4.3-36B-FP8": 36_151_104_512,
    "NousResearch/Hermes-3-Llama-3.1-405B": 405_853_388_800,
    "NousResearch/Hermes-3-Llama-3.1-405B-FP8": 405_853_388_800,
    "NousResearch/Hermes-3-Llama-3.1-8B": 8_030_261_248,
    "NousResearch/Hermes-4-14B": 14_768_307_200,
    "NousResearch/Hermes-4-70B-FP8": 70_553_706_496,
    "NousResearch/Hermes-4.3-36B": 36_151_104_512,
    "Qwen/Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "Qwen/Qwen2.5-72B-Instruct": 72_706_203_648,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "RedHatAI/Llama-3.3-70B-Instruct-fp8-dynamic": 70_553_706_496,
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16": 8_030_261_248,
    "RedHatAI/Qwen2.5-7B-Instruct-fp8-dynamic": 7_615_616_512,
    "codellama/CodeLlama-7b-hf": 6_738_546_688,
    "deepseek-ai/DeepSeek-V2-Lite-Chat": 15_706_484_224,
    "deepseek-ai/DeepSeek-V3": 671_026_404_352,
    "enfuse/Hermes-4-405B-NVFP4": 405_853_388_800,
    "google/gemma-2-27b-it": 27_227_128_320,
    "google/gemma-2-2b-it": 2_614_341_888,
    "google/gemma-2-9b-it": 9_241_705_984,
    "google/gemma-3-12b-it": 12_187_325_040,
    "google/gemma-3-27b-it": 27_432_406_640,
    "google/gemma-3-4b-it": 4_300_079_472,
    "google/gemma-7b": 8_537_680_896,
    "ibm-granite/granite-3.1-2b-instruct": 2_533_531_648,
    "ibm-granite/granite-3.1-8b-instruct": 8_170_848_256,
    "ibm-granite/granite-3.3-8b-instruct": 8_170_864_640,
    "ibm-granite/granite-vision-3.3-2b": 2_960_156_272,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "microsoft/phi-2": 2_779_683_840,
    "microsoft/phi-4": 14_659_507_200,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": 24_011_361_280,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46_702_792_704,
    "moonshotai/Kimi-Dev-72B": 72_706_203_648,
    "openai/gpt-oss-120b": 116_829_156_672,
    "openai/gpt-oss-20b": 20_914_757_184,
}


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_parameters_of_published_models(name: str, parameters: int) -> None:
    """The shape has the parameters of Transformers' own class, but for biases and norms: 0.04 %."""
    assert parameters == pytest.approx(published_bytes(published(name).shape, PRECISIONS["bf16"]) / 2, rel=4e-4)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("openai/gpt-oss-20b", 13_761_264_768),
        ("openai/gpt-oss-120b", 65_248_815_744),
        ("Doradus/Hermes-4.3-36B-FP8", 37_751_105_536),
        ("enfuse/Hermes-4-405B-NVFP4", 234_339_867_536),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", 5_735_747_584),
    ],
)
def test_bytes_of_published_quantised_models(name: str, size: int) -> None:
    """The published files have the bytes of shape and precision together: 0.2 %."""
    config = published(name)

    assert size == pytest.approx(published_bytes(config.shape, PRECISIONS[config.precision]), rel=2e-3)


@pytest.mark.parametrize(
    ("name", "context", "positions", "rotated", "window", "sliding"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 131072, None, None, None, 0),
        ("NousResearch/Hermes-4.3-36B", 524288, None, None, None, 0),
        ("Qwen/Qwen2.5-7B-Instruct", 32768, None, None, None, 0),
        ("google/gemma-2-27b-it", 8192, None, None, 4096, 23),
        ("google/gemma-3-4b-it", 131072, 9 * 131072, None, 1024, 29),
        ("google/gemma-3-27b-it", 131072, 9 * 131072, None, 1024, 52),
        ("openai/gpt-oss-20b", 131072, None, None, 128, 12),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", 163840, None, None, None, 0),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 128000, 4 * 128000, None, None, 0),
        ("microsoft/phi-2", 2048, None, 32, None, 0),
    ],
)
def test_context_of_published_models(
    name: str, context: int, positions: int | None, rotated: int | None, window: int | None, sliding: int
) -> None:
    """Longest context, positions in rotary caches, rotated part of a head and sliding windows."""
    shape = published(name).shape

    assert (context, positions, rotated, window, sliding) == (
        shape.max_context,
        shape.rotary_positions,
        shape.rotary_dim,
        shape.sliding_window,
        shape.sliding_layers,
    )


@pytest.mark.parametrize(
    ("name", "precision", "dtype", "method"),
    [
        ("NousResearch/Hermes-3-Llama-3.1-8B", "bf16", "bfloat16", None),
        ("NousResearch/Hermes-4-70B-FP8", "fp8", "bfloat16", "compressed-tensors"),
        ("microsoft/phi-2", "fp16", "float16", None),
        ("deepseek-ai/DeepSeek-V3", "fp8-block", "bfloat16", "fp8"),
        ("openai/gpt-oss-20b", "mxfp4", "bfloat16", "mxfp4"),
        ("enfuse/Hermes-4-405B-NVFP4", "nvfp4", "bfloat16", "compressed-tensors"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "gptq", "float16", "gptq"),
    ],
)
def test_precision_of_published_models(name: str, precision: str, dtype: str, method: str | None) -> None:
    """Format of the weights, number format of the rest, and the method as it is written."""
    config = published(name)

    assert (precision, dtype, method, False) == (
        config.precision,
        config.dtype,
        config.quant_method,
        config.deprecated,
    )


def test_every_fixture_is_used() -> None:
    """Each published configuration is compared with something."""
    known = {*PARAMETERS, "moonshotai/Kimi-VL-A3B-Instruct"}

    assert {path.stem.replace("--", "/", 1) for path in (DATA / "configs").iterdir()} == known
    assert {row["model"] for row in logs()} <= known
