"""What runs on a set of GPUs."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hermeion.cli import app
from hermeion.errors import InventoryError
from hermeion.gpu_names import parse_gpu_set
from hermeion.variants import built_in_catalog
from hermeion.what_fits import Fit, what_fits


def fits(gpu_set: str, context: int | None = None) -> dict[str, Fit]:
    """Fits by variant."""
    return {fit.variant: fit for fit in what_fits(built_in_catalog(), gpu_set, context)[2]}


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("2xL40S", "NVIDIA L40S", 2),
        ("RTX5090", "NVIDIA GeForce RTX 5090", 1),
        ("1xRTX6000Ada", "NVIDIA RTX 6000 Ada Generation", 1),
        ("8 x H100", "NVIDIA H100 80GB HBM3", 8),
        ("4×rtx 4090", "NVIDIA GeForce RTX 4090", 4),
        ("1xL4", "NVIDIA L4", 1),
        ("1xRTX 4060 Ti", "NVIDIA GeForce RTX 4060 Ti", 1),
    ],
)
def test_gpu_sets(text: str, name: str, count: int) -> None:
    """A set of GPUs is written as people write it."""
    model, found = parse_gpu_set(text)

    assert (name, count) == (model.name, found)


@pytest.mark.parametrize("text", ["", "0xL40S", "99xL40S", "2x"])
def test_no_gpu_set(text: str) -> None:
    """What is no set of GPUs is quoted, with the form."""
    with pytest.raises(InventoryError) as caught:
        parse_gpu_set(text)

    assert f"not a set of GPUs: {text!r}. Write a number and a model, such as 2xL40S." == str(caught.value)


def test_unknown_gpu_model() -> None:
    """An unknown GPU model is named, with those that are known."""
    with pytest.raises(InventoryError) as caught:
        parse_gpu_set("2xVoodoo3")

    assert str(caught.value).startswith("no GPU model '2xVoodoo3' in the table. There are: GeForce RTX 2080 Ti, ")


def test_the_36b_on_a_5090() -> None:
    """The published card says about 2K tokens on a 32 GB card; the weights alone are larger than the card."""
    fit = fits("1xRTX5090")["hermes-4.3-36b-fp8"]

    assert (0, "weights and overhead need 38.2 GiB per GPU, 29.3 GiB may be used") == (fit.gpus, fit.reason)


def test_the_36b_on_48_gb() -> None:
    """About 24 thousand tokens on a 48 GB card: 24,064 by hand, less a thousandth for the scales of the files."""
    fit = fits("1xRTX6000Ada")["hermes-4.3-36b-fp8"]

    assert (23_808, 47_872, 1) == (fit.context, fit.fp8_context, fit.gpus)


def test_405b_on_eight_h100() -> None:
    """The 405B in FP8 serves its whole context on eight H100s, and in BF16 it does not fit."""
    found = fits("8xH100")

    assert (8, 131072) == (found["hermes-4-405b-fp8"].gpus, found["hermes-4-405b-fp8"].context)
    assert 0 == found["hermes-4-405b-bf16"].gpus


def test_a_shorter_context_takes_fewer_gpus() -> None:
    """With a stated context, as few GPUs as serve it."""
    assert (4, 2) == (fits("8xH100")["hermes-4.3-36b-bf16"].gpus, fits("8xH100", 65536)["hermes-4.3-36b-bf16"].gpus)


def test_volta_is_refused_by_name() -> None:
    """A card that vLLM does not know is refused with the reason; llama.cpp serves GGUF there."""
    found = fits("1xV100 32GB")
    reasons = {fit.reason for fit in found.values() if fit.engine == "vllm"}

    assert {"compute capability 7.0 is older than vLLM's minimum of 7.5"} == reasons
    assert 1 == found["hermes-3-8b-q4_k_m"].gpus


def test_nvfp4_on_two_b200() -> None:
    """The 405B in NVFP4 fits two B200s with a whole context; the card says 219 GB and means GiB."""
    fit = fits("2xB200")["hermes-4-405b-nvfp4"]

    assert (2, 131072, True) == (fit.gpus, fit.context, fit.native)


def test_what_is_only_stored_is_marked() -> None:
    """FP8 on an A100 saves memory and not time, and is told from FP8 on an H100."""
    assert (False, True) == (
        fits("1xA100 80GB")["hermes-4.3-36b-fp8"].native,
        fits("1xH100")["hermes-4.3-36b-fp8"].native,
    )


def test_command() -> None:
    """`hermeion models` lists the catalogue; --fits lists what fits and what does not; --json both for programs."""
    listed = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    assert sum(len(variants) for variants in built_in_catalog().values()) == len(listed)

    text = CliRunner().invoke(app, ["models", "--fits", "1xRTX5090"], env={"COLUMNS": "120"}).stdout
    assert "On 1 × NVIDIA GeForce RTX 5090 (31.8 GiB each)" in text
    assert "no  hermes-4.3-36b-fp8: weights and overhead need 38.2 GiB per GPU, 29.3 GiB may be used" in text

    data = json.loads(CliRunner().invoke(app, ["models", "--fits", "1xRTX5090", "--json"]).stdout)
    assert {"model": "NVIDIA GeForce RTX 5090", "count": 1, "memory": 32607 * 2**20} == data["gpus"]
