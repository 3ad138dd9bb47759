"""GPUs as people write them, and cards that are known by their memory alone."""

from __future__ import annotations

import pytest

from hermeion.errors import InventoryError
from hermeion.gpu_names import MOST, SAME_TOTAL, device_of, find_gpu_set, parse_gpu_set, plain
from hermeion.gpus import SMI_TO_CUDA, gpu_models
from hermeion.units import GIB, MIB


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("rtx-4090", "rtx4090"),
        ("Tesla T4", "t4"),
        ("Quadro RTX 8000", "rtx8000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtxpro6000blackwellserver"),
        ("NVIDIA H100 80GB HBM3", "h10080gbhbm3"),
    ],
)
def test_names_without_ornaments(name: str, expected: str) -> None:
    """What is told apart are letters and digits; maker, family and edition are ornaments."""
    assert expected == plain(name)


def test_every_model_is_found_by_its_own_name() -> None:
    """The name of the table means that model alone, whatever begins with it."""
    for model in gpu_models().values():
        assert ([model], 1) == find_gpu_set(model.name)
        assert (model, 3) == parse_gpu_set(f"3 × {model.name}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A100", ["NVIDIA A100 40GB", "NVIDIA A100 64GB", "NVIDIA A100 80GB"]),
        ("8xH100", ["NVIDIA H100 80GB HBM3", "NVIDIA H100 NVL", "NVIDIA H100 PCIe", "NVIDIA H100 SXM 94GB"]),
        ("T4", ["Tesla T4"]),
        ("4090", ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090 D"]),
        ("RTX 4090", ["NVIDIA GeForce RTX 4090"]),
        ("L4", ["NVIDIA L4"]),
        ("V100", ["Tesla V100 16GB", "Tesla V100 32GB"]),
    ],
)
def test_what_a_name_may_mean(text: str, names: list[str]) -> None:
    """A whole name means one card, a beginning all that begin so, and a part all that contain it."""
    assert names == sorted(model.name for model in find_gpu_set(text)[0])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A100", "NVIDIA A100 40GB"),
        ("A100 80", "NVIDIA A100 80GB"),
        ("V100", "Tesla V100 16GB"),
        ("H200", "NVIDIA H200"),
        ("4090", "NVIDIA GeForce RTX 4090"),
    ],
)
def test_the_smallest_of_several_forms_counts(text: str, name: str) -> None:
    """What fits on the form with the least memory fits on the others."""
    assert name == parse_gpu_set(text)[0].name


@pytest.mark.parametrize(
    ("text", "count"),
    [("L40S", 1), ("2xL40S", 2), ("2 x L40S", 2), ("2×L40S", 2), ("2*L40S", 2), (" 16xl40s ", 16), ("64xL40S", MOST)],
)
def test_numbers(text: str, count: int) -> None:
    """A number, a sign for times, a name; without a number it is one."""
    assert count == parse_gpu_set(text)[1]


@pytest.mark.parametrize("text", ["65xL40S", "0 x L40S", "2x NVIDIA", "8x"])
def test_what_is_no_set(text: str) -> None:
    """Too many GPUs, none at all, or no name: quoted, with the form."""
    with pytest.raises(InventoryError) as caught:
        parse_gpu_set(text)

    assert f"not a set of GPUs: {text!r}. Write a number and a model, such as 2xL40S." == str(caught.value)


@pytest.mark.parametrize("text", ["8", "x", "4 x 2", "100xL40S", "4x80", "Radeon", "x2"])
def test_what_is_no_model(text: str) -> None:
    """A number alone, or a digit or two that stand in many names, mean no model."""
    with pytest.raises(InventoryError) as caught:
        find_gpu_set(text)

    assert str(caught.value).startswith(f"no GPU model {text!r} in the table. There are: ")


MEASURED = [
    (81559, 81090, "NVIDIA H100 80GB HBM3"),
    (81920, 81152, "NVIDIA A100 80GB"),
    (81251, 81152, "NVIDIA A100 80GB"),
    (81154, 81152, "NVIDIA A100 80GB"),
    (40960, 40437, "NVIDIA A100 40GB"),
    (40536, 40437, "NVIDIA A100 40GB"),
    (24564, 24094, "NVIDIA GeForce RTX 4090"),
    (32607, 32112, "NVIDIA GeForce RTX 5090"),
    (46068, 45455, "NVIDIA L40S"),
    (49140, 48506, "NVIDIA RTX 6000 Ada Generation"),
    (97887, 97249, "NVIDIA RTX PRO 6000 Blackwell"),
    (143771, 143155, "NVIDIA H200"),
]


@pytest.mark.parametrize(("total", "cuda", "name"), MEASURED)
def test_what_cuda_sees_of_a_total(total: int, cuda: int, name: str) -> None:
    """A total as `nvidia-smi` prints it is recognised, and what CUDA sees of that card was measured (MiB)."""
    device = device_of(total * MIB)

    assert cuda * MIB == device.cuda
    assert device.model is not None
    assert (name in device.basis) or device.basis.endswith("…)")


@pytest.mark.parametrize(("total", "cuda", "name"), MEASURED)
def test_what_cuda_says_itself_is_taken_as_it_is(total: int, cuda: int, name: str) -> None:
    """A total that CUDA printed is not reduced a second time."""
    device = device_of(cuda * MIB)

    assert device.model is not None
    # An A100 shows CUDA all but 2 MiB: both figures mean the same.
    assert cuda * MIB == pytest.approx(device.cuda, abs=2 * MIB)


@pytest.mark.parametrize(
    ("gib", "name"),
    [(79.19, "H100"), (79.25, "A100"), (39.49, "A100"), (23.53, "RTX"), (44.39, "L"), (139.8, "H200"), (31.36, "5090")],
)
def test_figures_of_logs_in_gib(gib: float, name: str) -> None:
    """Logs print what CUDA sees in GiB with two digits; that is near enough to know the card."""
    device = device_of(round(gib * GIB))

    assert device.model is not None
    assert name in device.basis
    assert gib * GIB == pytest.approx(device.cuda, rel=SAME_TOTAL)


@pytest.mark.parametrize("mib", [1000, 20000, 60000, 200_000, 1_000_000])
def test_an_unknown_total(mib: int) -> None:
    """A total of no known card is taken as `nvidia-smi`'s: CUDA sees at most 768 MiB less."""
    device = device_of(mib * MIB)

    assert None is device.model
    assert mib * MIB - SMI_TO_CUDA == device.cuda
    assert "unknown card" in device.basis


def test_a_card_shows_cuda_less_than_the_driver() -> None:
    """What CUDA sees lies below the total and within the reserve that unknown cards get, but for unified memory."""
    for model in gpu_models().values():
        assert 0 <= model.memory - model.cuda_memory <= SMI_TO_CUDA
        assert (model.memory == model.cuda_memory) == model.unified
        assert all(model.memory < other for other in model.also)


@pytest.mark.parametrize(("shift", "known"), [(0.0004, True), (0.0006, False), (-0.0004, True)])
def test_how_near_is_the_same(shift: float, known: bool) -> None:
    """A total within a two-thousandth of a card's is that card's."""
    total = gpu_models()["2bb3:227a"].memory  # no other card is near it

    assert known == (device_of(round(total * (1 + shift))).model is not None)


def test_a_whole_word_is_meant() -> None:
    """The RTX PRO 6000 is not the 6000D, whose name begins like it and which has less memory."""
    assert "NVIDIA RTX PRO 6000 Blackwell" == parse_gpu_set("RTX PRO 6000")[0].name
    assert "NVIDIA RTX PRO 6000D" == parse_gpu_set("RTXPRO6000D")[0].name


def test_of_cards_of_one_total_the_one_that_was_seen() -> None:
    """24576 MiB is a 3090's total and an A30's; of the 3090 it is known what CUDA sees."""
    device = device_of(24576 * MIB)

    assert device.model is not None
    assert ("NVIDIA GeForce RTX 3090", 24125 * MIB) == (device.model.name, device.cuda)
