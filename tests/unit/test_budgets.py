"""`hermeion budget`: one engine on one kind of GPU, term by term."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hermeion.budgets import BudgetOptions, BudgetReport, make_budget
from hermeion.cli import app
from hermeion.engines import sglang
from hermeion.errors import HermeionError, InventoryError, ModelError
from hermeion.model_config import parse_config
from hermeion.units import GIB

CONFIGS = Path(__file__).with_name("data") / "configs"
HERMES_36B = "NousResearch--Hermes-4.3-36B"
HERMES_36B_FP8 = "Doradus--Hermes-4.3-36B-FP8"
HERMES_8B = "NousResearch--Hermes-3-Llama-3.1-8B"
HERMES_405B_NVFP4 = "enfuse--Hermes-4-405B-NVFP4"


def report(config: str, **options: Any) -> BudgetReport:
    """The budget of a model on H100s unless said otherwise."""
    text = (CONFIGS / f"{config}.json").read_text(encoding="utf-8")
    return make_budget(parse_config(text, config), BudgetOptions(**({"gpu_total_mib": 81559} | options)))


def run(*arguments: str) -> Any:
    """The command's answer to arguments, as programs read it."""
    done = CliRunner().invoke(app, ["budget", *arguments, "--json"], catch_exceptions=False)
    assert 0 == done.exit_code
    return json.loads(done.stdout)


def test_json() -> None:
    """Every term is in bytes, and terms add up to what vLLM asks for."""
    config = str(CONFIGS / f"{HERMES_36B_FP8}.json")
    found = run("--config", config, "--gpu-total-mib", "49140", "--max-model-len", "16384")

    terms = ("weights_bytes", "activation_peak_bytes", "non_torch_bytes", "cuda_graph_bytes", "kv_cache_bytes")
    assert found["requested_bytes"] == sum(found[term] for term in terms)
    assert found["weights_bytes"] == sum(
        found[part] for part in ("weights_elements_bytes", "weights_scales_bytes", "rotary_cache_bytes")
    )
    assert (24_064, True, "fp8", 48506 * 2**20) == (
        found["kv_cache_tokens"],
        found["fits"],
        found["precision"],
        found["device_bytes"],
    )
    assert {
        "gpu_memory_utilization": 0.92,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 2048,
        "tp": 1,
        "pp": 1,
        "engine_version": "0.33.0",
    } == found["defaults"]


def test_table() -> None:
    """In a terminal the terms stand in a table, and below it whether it fits."""
    config = str(CONFIGS / f"{HERMES_36B_FP8}.json")
    text = CliRunner().invoke(app, ["budget", "--config", config, "--gpu-total-mib", "49140"]).stdout

    assert "│ weights " in text
    assert "does not fit: a context of 524288 tokens needs 128.0 GiB of KV cache a GPU" in text
    assert "the longest context that fits \nis 24064 tokens" in text or "24064 tokens" in text


@pytest.mark.parametrize(
    ("config", "options", "tokens"),
    [
        (HERMES_36B_FP8, {"gpu_total_mib": 49140}, 24_064),
        (HERMES_36B_FP8, {"gpu_total_mib": 46068}, 12_832),
        (HERMES_36B_FP8, {"gpu_total_mib": 40960}, 0),
        (HERMES_36B_FP8, {"gpu_total_mib": 32607}, 0),
        (HERMES_36B_FP8, {"gpu_total_mib": 24564, "tp": 2}, 0),
        (HERMES_36B_FP8, {"gpu_total_mib": 81920}, 144_192),
        (HERMES_36B_FP8, {"gpu_total_mib": 81559}, 137_600),
        (HERMES_36B_FP8, {"gpu_total_mib": 143771}, 366_000),
        (
            HERMES_36B_FP8,
            {"gpu_total_mib": 49140, "gpu_memory_utilization": 0.95, "kv_cache_dtype": "fp8", "max_num_seqs": 32},
            61_120,
        ),
        ("NousResearch--Hermes-3-Llama-3.1-405B-FP8", {"tp": 8}, 305_216),
        (HERMES_405B_NVFP4, {"gpu_total_mib": 183359, "tp": 2}, 192_144),
        (HERMES_405B_NVFP4, {"gpu_total_mib": 183359, "tp": 4}, 847_984),
        (HERMES_8B, {"gpu_total_mib": 24564}, 40_128),
    ],
)
def test_worked_examples(config: str, options: dict[str, Any], tokens: int) -> None:
    """From `config.json` and the total that nvidia-smi prints, the KV cache is the one worked out by hand, to 1 %."""
    assert tokens == pytest.approx(report(config, **options).kv_cache_tokens, rel=0.01, abs=64)


@pytest.mark.parametrize("mib", [81559, 81090])
def test_totals_of_either_kind(mib: int) -> None:
    """What nvidia-smi prints and what CUDA sees of a card are told apart."""
    assert 81090 * 2**20 == report(HERMES_8B, gpu_total_mib=mib).device.cuda


def test_files_correct_the_weights() -> None:
    """The size of the files counts: what an exclusion list leaves in 16 bits is in it."""
    plain = report("NousResearch--Hermes-3-Llama-3.1-405B-FP8", tp=8)
    with_files = report("NousResearch--Hermes-3-Llama-3.1-405B-FP8", tp=8, weights_bytes=496_000_000_000)

    more = (with_files.ranks[0].weights - plain.ranks[0].weights) / GIB
    assert 10.0 == pytest.approx(more, abs=0.3)


def test_quantised_while_loading() -> None:
    """With `--quantization fp8` the files stay as they are and the loaded weights are half as large."""
    plain = report(HERMES_8B, weights_bytes=16_060_522_496)
    quantised = report(HERMES_8B, weights_bytes=16_060_522_496, quantization="fp8")

    assert [14.96, 8.46] == pytest.approx([r.ranks[0].weights / GIB for r in (plain, quantised)], abs=0.01)


def test_old_versions_take_more() -> None:
    """vLLM 0.12 took a smaller share, sorted the vocabulary, and set no graphs aside."""
    old, new = report(HERMES_8B, engine_version="0.12.0"), report(HERMES_8B)

    assert (0.90, 0.92) == (old.utilisation, new.utilisation)
    assert 2.87 == pytest.approx((old.ranks[0].activations - new.ranks[0].activations) / GIB, abs=0.02)
    assert (0, True) == (old.ranks[0].graphs, new.ranks[0].graphs > 0)


def test_pipeline() -> None:
    """Of a pipeline every stage is told; the tokens are those of the fullest one."""
    found = report(HERMES_8B, pp=4)

    assert 4 == len(found.ranks)
    assert found.kv_cache_tokens == min(rank.kv_tokens_expected for rank in found.ranks)
    assert found.kv_cache_bytes == found.ranks[0].kv_expected


def test_sliding_windows_serve_more_than_their_tokens() -> None:
    """A model with sliding windows takes a longer request than the tokens that vLLM prints."""
    found = report("google--gemma-3-27b-it", max_model_len=131072)

    assert found.kv_cache_tokens < 131072
    assert found.fits


def test_sglang() -> None:
    """SGLang leaves a reserve of ten GiB on a large card and has the rest for weights and cache."""
    found = report(HERMES_36B, engine="sglang", tp=2, max_model_len=32768)

    assert ("sglang", "0.5.23", True) == (found.engine, found.engine_version, found.fits)
    assert found.ranks[0].idle > 10 * GIB


def test_llamacpp() -> None:
    """llama.cpp divides its cache among its requests."""
    found = report(HERMES_36B, engine="llamacpp", gpu_total_mib=24564, quantization="iq4_xs", max_num_seqs=1)
    four = report(HERMES_36B, engine="llamacpp", gpu_total_mib=24564, quantization="iq4_xs")

    assert (1, 4) == (found.sequences, four.sequences)
    assert 3 * four.longest_context < found.longest_context


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tp": 3},
            "--tp: 32 attention heads and 8 KV heads cannot be split over 3 GPUs. Sizes that work: 1, 2, 4, 8, 16, 32.",
        ),
        ({"pp": 33}, "--pp: 32 layers cannot be a pipeline of 33 stages."),
        ({"gpus": 4, "tp": 8}, "--gpus: --tp 8 × --pp 1 need 8 GPUs, and there are 4."),
        ({"dtype": "int3"}, "--dtype: 'int3' is not known. Known: auto, bfloat16, float16, float32."),
        ({"engine_version": "new"}, "--engine-version: 'new' is no version. Write it as 0.33.0."),
        (
            {"kv_cache_dtype": "int1"},
            "--kv-cache-dtype: 'int1' is not known. Known: auto, bf16, bfloat16, f16, float16, float32, fp16, "
            "fp8, fp8_e4m3, fp8_e5m2, q4_0, q8_0.",
        ),
        (
            {"engine": "sglang", "engine_version": "0.4.0"},
            f"--engine-version: sglang 0.4.0 was not read. Known: {sglang.VERSIONS[0]} to {sglang.VERSIONS[-1]}.",
        ),
        (
            {"engine": "llamacpp"},
            "--weights-bytes: llamacpp reads GGUF files: give the size of the file, or its precision with "
            "--quantization, such as q4_k_m.",
        ),
        (
            {"engine": "ollama", "quantization": "q4_k_m", "tp": 2},
            "--tp: ollama splits layers, not matrices. Write --gpus 2.",
        ),
        (
            {"engine": "llamacpp", "quantization": "q4_k_m", "gpus": 40},
            "--gpus: 32 layers cannot be split over 40 GPUs.",
        ),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    """An option that cannot be is named, with what can."""
    with pytest.raises(InventoryError) as caught:
        report(HERMES_8B, **options)

    assert message == str(caught.value)


def test_an_older_version_is_reckoned_as_the_newest() -> None:
    """SGLang's arithmetic was read in one version; for an older one that is known it is used, and that is said."""
    oldest, newest = sglang.VERSIONS[0], sglang.VERSIONS[-1]
    older, known = (report(HERMES_8B, engine="sglang", engine_version=version) for version in (oldest, newest))

    assert (f"the arithmetic is that of sglang {newest}; that of {oldest} was not read",) == older.remarks
    assert ((), known.ranks) == (known.remarks, older.ranks)


def test_unknown_quantisation() -> None:
    """A method that nobody knows is refused with those that are known."""
    with pytest.raises(InventoryError) as caught:
        report(HERMES_8B, quantization="magic")

    assert str(caught.value).startswith("--quantization: 'magic' is not known. Known: awq, awq_marlin, bf16, ")


def test_unknown_gguf_precision() -> None:
    """A precision that is no GGUF's is refused for llama.cpp."""
    with pytest.raises(InventoryError) as caught:
        report(HERMES_8B, engine="llamacpp", quantization="fp8")

    assert str(caught.value).startswith("--quantization: 'fp8' is no GGUF precision. Known: f16, q8_0, ")


def test_files_of_another_model() -> None:
    """Files that cannot be the model's are refused, with both sizes."""
    with pytest.raises(ModelError) as caught:
        report(HERMES_8B, weights_bytes=100 * GIB)

    assert (
        "the weights have 100.0 GiB and config.json describes 15.0 GiB in bf16: they are not of one model. "
        "Check both, and --quantization." == str(caught.value)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu-total-mib", "-5"], "--gpu-total-mib: input should be greater than 0 (found -5)"),
        (
            ["--gpu-total-mib", "81559", "--gpu-memory-utilization", "1.5"],
            "--gpu-memory-utilization: input should be less than or equal to 1 (found 1.5)",
        ),
        (
            ["--gpu-total-mib", "81559", "--max-model-len", "0"],
            "--max-model-len: input should be greater than or equal to 1 (found 0)",
        ),
        (
            ["--gpu-total-mib", "81559", "--engine", "tgi"],
            "--engine: input should be 'vllm', 'sglang', 'llamacpp' or 'ollama' (found 'tgi')",
        ),
    ],
)
def test_absurd_numbers(arguments: list[str], message: str) -> None:
    """A number that cannot be is refused by the option's name."""
    config = str(CONFIGS / f"{HERMES_8B}.json")
    done = CliRunner().invoke(app, ["budget", "--config", config, *arguments])

    assert isinstance(done.exception, HermeionError)
    assert message == str(done.exception)


def test_no_configuration(tmp_path: Path) -> None:
    """A configuration that cannot be read is named."""
    missing = tmp_path / "config.json"
    done = CliRunner().invoke(app, ["budget", "--config", str(missing), "--gpu-total-mib", "81559"])

    assert f"--config: {missing} cannot be read: [Errno 2] No such file or directory: '{missing}'" == str(
        done.exception
    )
