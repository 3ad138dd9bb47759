"""The table of GPUs, and what the driver says about them."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import pytest

from hermeion.errors import ProbeError
from hermeion.gpus import (
    NVSWITCH_IDS,
    SMI_FIELDS,
    architecture_of,
    find_model,
    gpu_models,
    normalise_pci_address,
    parse_nvidia_smi,
    parse_topology,
)
from hermeion.units import GIB, MIB

CAPABILITIES = {
    "pascal": {(6, 0), (6, 1)},
    "volta": {(7, 0)},
    "turing": {(7, 5)},
    "ampere": {(8, 0), (8, 6)},
    "ada": {(8, 9)},
    "hopper": {(9, 0)},
    "blackwell": {(10, 0), (10, 3), (12, 0), (12, 1)},
}


def rows() -> list[dict[str, object]]:
    """The table as it is written."""
    table: list[dict[str, object]] = tomllib.loads(files("hermeion.data").joinpath("gpus.toml").read_text())["gpu"]
    return table


def test_pci_ids_are_unique() -> None:
    """A PCI id names one model; a second one would hide the first."""
    ids = [pci_id for row in rows() for pci_id in row["pci_ids"]]  # type: ignore[attr-defined]

    assert len(ids) == len(set(ids)) == len(gpu_models())


def test_names_are_unique() -> None:
    """A model has one row."""
    names = [row["name"] for row in rows()]

    assert len(names) == len(set(names))


def test_pci_ids_are_as_sysfs_writes_them() -> None:
    """Four lower-case hexadecimal digits, and the board's four where they decide: as the probe prints them."""
    assert [] == [pci_id for pci_id in gpu_models() if not re.fullmatch(r"[0-9a-f]{4}(:[0-9a-f]{4})?", pci_id)]


@pytest.mark.parametrize(
    ("subsystem", "name"),
    [("227a", "NVIDIA RTX PRO 5000 72GB Blackwell"), ("204d", "NVIDIA RTX PRO 5000 Blackwell"), ("", None)],
)
def test_the_board_decides(subsystem: str, name: str | None) -> None:
    """One device id, two products: the board's id tells them apart, and the smaller one counts when it is unknown."""
    model = find_model("2bb3", subsystem)

    assert model is not None
    assert (name or "NVIDIA RTX PRO 5000 Blackwell") == model.name


def test_no_gpu_is_an_nvswitch() -> None:
    """The two tables of PCI ids do not overlap."""
    assert set() == NVSWITCH_IDS & set(gpu_models())


def test_architecture_fits_capability() -> None:
    """Architecture and compute capability of each model agree."""
    wrong = [m.name for m in gpu_models().values() if m.compute_capability not in CAPABILITIES[m.architecture]]

    assert [] == wrong


def test_memory_fits_name() -> None:
    """Where a name tells gigabytes, the driver's figure is at most that and at least 85 % of it."""
    wrong = [
        model.name
        for model in gpu_models().values()
        if (told := re.search(r"(\d+)GB", model.name))
        and "GH200" not in model.name  # whose name tells the processor's memory
        and not 0.85 * int(told[1]) * 10**9 <= model.memory <= int(told[1]) * GIB
    ]

    assert [] == wrong


@pytest.mark.parametrize(
    ("pci_id", "name", "mib", "capability"),
    [
        ("2684", "NVIDIA GeForce RTX 4090", 24564, (8, 9)),
        ("2330", "NVIDIA H100 80GB HBM3", 81559, (9, 0)),
        ("20b2", "NVIDIA A100 80GB", 81154, (8, 0)),
        ("2b85", "NVIDIA GeForce RTX 5090", 32607, (12, 0)),
    ],
)
def test_known_models(pci_id: str, name: str, mib: int, capability: tuple[int, int]) -> None:
    """The table's figures of well-known cards, in bytes."""
    model = gpu_models()[pci_id]

    assert (name, mib * MIB, capability) == (model.name, model.memory, model.compute_capability)


GOOD = "GPU-1, NVIDIA H100 80GB HBM3, 00000000:1B:00.0, 81559, 5, 9.0, 580.95.05, Disabled"


def test_smi_row() -> None:
    """A row becomes a GPU: bytes for MiB, and the address as sysfs writes it."""
    (gpu,) = parse_nvidia_smi([GOOD])

    assert {
        "uuid": "GPU-1",
        "pci_address": "0000:1b:00.0",
        "name": "NVIDIA H100 80GB HBM3",
        "memory": 81559 * MIB,
        "memory_used": 5 * MIB,
        "compute_capability": [9, 0],
        "driver": "580.95.05",
        "mig": False,
        "trouble": None,
    } == gpu.to_json()
    assert len(SMI_FIELDS) == len(GOOD.split(", "))


def test_smi_rows_in_pci_order() -> None:
    """GPUs come in the order of the bus, however the driver lists them."""
    other = GOOD.replace("1B", "0A").replace("GPU-1", "GPU-2")

    assert ["GPU-2", "GPU-1"] == [gpu.uuid for gpu in parse_nvidia_smi([GOOD, other])]


@pytest.mark.parametrize(
    "row",
    [
        "No devices were found",
        "",
        GOOD.replace("81559", "much"),
        GOOD.replace("9.0", "9"),
        GOOD.replace(", 580.95.05", ""),
        GOOD.replace("00000000:1B", "x:1B"),
        GOOD + ", more",
    ],
)
def test_smi_row_that_cannot_be_read(row: str) -> None:
    """A row that is not as asked for is quoted, not guessed at."""
    with pytest.raises(ProbeError) as caught:
        parse_nvidia_smi([row])

    assert f"nvidia-smi printed a row that cannot be read: {row!r}" == str(caught.value)


@pytest.mark.parametrize("said", ["[N/A]", "N/A", "[Not Supported]", "Not Supported"])
def test_memory_that_a_gpu_does_not_have(said: str) -> None:
    """A GPU that shares the host's memory says so in one of four ways."""
    (gpu,) = parse_nvidia_smi([f"GPU-1, NVIDIA GB10, 0000000F:01:00.0, {said}, {said}, 12.1, 580.95.05, [N/A]"])

    assert (None, None, None, False) == (gpu.memory, gpu.memory_used, gpu.trouble, gpu.mig)


@pytest.mark.parametrize("word", ["GPU requires reset", "GPU is lost", "Unknown Error", "Timeout"])
def test_gpu_in_trouble(word: str) -> None:
    """A GPU in trouble says its trouble in place of numbers."""
    (gpu,) = parse_nvidia_smi([GOOD.replace("81559, 5", f"[{word}], [{word}]")])

    assert (word, None, None) == (gpu.trouble, gpu.memory, gpu.compute_capability)


def test_mig() -> None:
    """A GPU that is cut into slices is told from a whole one."""
    (gpu,) = parse_nvidia_smi([GOOD.replace("Disabled", "Enabled")])

    assert gpu.mig


TOPOLOGY = [
    "\t\x1b[4mGPU0\tGPU1\tGPU2\tGPU3\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m",
    "GPU0\t X \tNV4\tSYS\tSYS\t0-15\t0\t\tN/A",
    "GPU1\tNV4\t X \tSYS\tSYS\t0-15\t0\t\tN/A",
    "GPU2\tSYS\tSYS\t X \tPHB\t16-31\t1\t\tN/A",
    "GPU3\tSYS\tSYS\tPHB\t X \t16-31\t1\t\tN/A",
    "",
    "Legend:",
    "  NV#  = Connection traversing a bonded set of # NVLinks",
]


def test_topology() -> None:
    """NVLink joins what the matrix marks with NV; PCIe, the legend and the heading join nothing."""
    assert ((0, 1),) == parse_topology(TOPOLOGY)


@pytest.mark.parametrize(
    ("pci_id", "expected"), [("2684", "ada"), ("20b2", "ampere"), ("3001", "rubin"), ("ffff", "unknown")]
)
def test_architecture_by_range(pci_id: str, expected: str) -> None:
    """An id that is not in the table still tells the architecture, if it lies in a known range."""
    assert expected == architecture_of(pci_id)


def test_ranges_agree_with_the_table() -> None:
    """Every GPU of the table lies in its architecture's range; GB10 is a part of its own."""
    wrong = {
        model.name: architecture_of(pci_id.partition(":")[0])
        for pci_id, model in gpu_models().items()
        if architecture_of(pci_id.partition(":")[0]) != model.architecture
    }

    assert {} == wrong


@pytest.mark.parametrize(
    ("address", "expected"), [("00000000:1B:00.0", "0000:1b:00.0"), ("00010000:00:1E.0", "10000:00:1e.0")]
)
def test_pci_address(address: str, expected: str) -> None:
    """The driver writes the domain with eight digits, sysfs with four or as many as it takes."""
    assert expected == normalise_pci_address(address)
