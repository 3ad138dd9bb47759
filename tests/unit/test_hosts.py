"""Joining the PCI bus with what the driver says."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.errors import PlacementError
from hermeion.gpus import gpu_models
from hermeion.hosts import UnusableGpu, reconcile
from hermeion.units import MIB
from tests.unit.builders import (
    GB10,
    H100,
    L40S,
    RTX_3090,
    RTX_4090,
    converged_answers,
    final_plan,
    make_probe,
    smi_row,
    uuid_of,
)


def test_without_driver() -> None:
    """A GPU is known from its PCI id alone; only its UUID is missing."""
    (gpu,) = reconcile("gpu-1", make_probe(driver=None)).gpus

    assert {
        "pci_address": "0000:01:00.0",
        "uuid": None,
        "model": "NVIDIA GeForce RTX 4090",
        "memory": 24564 * MIB,
        "cuda": 24094 * MIB,
        "free": 24564 * MIB,
        "architecture": "ada",
        "compute_capability": [8, 9],
        "bandwidth": 1008 * 10**9,
        "numa": -1,
    } == gpu.to_json()


def test_driver_adds_the_uuid_alone() -> None:
    """An idle GPU is the same with a driver and without, but for its UUID."""
    (before,) = reconcile("gpu-1", make_probe(driver=None)).gpus
    (after,) = reconcile("gpu-1", make_probe()).gpus

    assert before.model_copy(update={"uuid": uuid_of(0)}) == after


@pytest.mark.parametrize(
    ("measured", "counted"),
    [(24564, 24564), (24564 + 491, 24564), (24564 - 491, 24564), (24564 + 492, 25056), (24564 - 492, 24072)],
)
def test_measured_memory(measured: int, counted: int) -> None:
    """The table's memory counts within 2 % of the measured one, beyond that the measured one (MiB)."""
    (gpu,) = reconcile("gpu-1", make_probe(totals={0: measured})).gpus

    assert counted * MIB == gpu.memory


def test_memory_of_others() -> None:
    """What someone else holds on a GPU is not free."""
    (gpu,) = reconcile("gpu-1", make_probe(used={0: 1000})).gpus

    assert (24564 - 1000) * MIB == gpu.free


def test_memory_of_our_own() -> None:
    """What our own release holds is free: the plan must not move because it was applied."""
    plan = final_plan({"name": "hermes", "model": "hermes-3-8b", "gpus": 1}, gpus=(RTX_4090, RTX_4090))
    answers = converged_answers(plan)
    used, other = reconcile("gpu-1", make_probe((RTX_4090, RTX_4090), **answers | {"used": {0: 23000, 1: 500}})).gpus

    assert (24564 * MIB, (24564 - 500) * MIB) == (used.free, other.free)


def test_pci_order() -> None:
    """GPUs come in the order of the bus."""
    host = reconcile("gpu-1", make_probe((L40S, RTX_3090)))

    assert ["0000:01:00.0", "0000:02:00.0"] == [gpu.pci_address for gpu in host.gpus]
    assert [gpu_models()[L40S].name, gpu_models()[RTX_3090].name] == [gpu.model for gpu in host.gpus]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([], False),
        (["0000:85:00.0 0x22a3 0x068000 nvidia-nvswitch"], True),
        (["0000:85:00.0 0x1af1 0x068000"], True),
        (["0000:00:00.0 0x22b1 0x060400 pcieport"], False),  # Grace's root port
        (["0000:85:00.0 0x22a3 0x030200"], False),
    ],
)
def test_nvswitch(devices: list[str], expected: bool) -> None:
    """An NVSwitch is told by id and class together."""
    probe = make_probe((), more_pci=devices, driver=None)
    devices_but_gpus = probe.model_copy(update={"pci": tuple(d for d in probe.pci if not d.is_gpu)})

    assert expected == reconcile("gpu-1", devices_but_gpus).nvswitch


@pytest.mark.parametrize(
    "row",
    [
        "0000:02:00.0 0x2684 0x030000 vfio-pci",
        "0000:02:00.1 0x22ba 0x040300 snd_hda_intel",
    ],
)
def test_devices_that_are_not_ours(row: str) -> None:
    """A GPU given to a guest and a GPU's audio device are no GPUs of the host."""
    host = reconcile("gpu-1", make_probe(more_pci=[row]))

    assert ["0000:01:00.0"] == [gpu.pci_address for gpu in host.gpus]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"gpus": (H100, H100), "smi": (0, [smi_row(0, H100)])},
            "gpu-1: the driver sees 1 GPUs (0000:01:00.0), the PCI bus has 2 (0000:01:00.0, 0000:02:00.0). A GPU may "
            "have fallen off the bus: look into `dmesg | grep -i nvrm`, reboot, run again.",
        ),
        (
            {"smi": (0, [])},
            "gpu-1: the driver sees 0 GPUs (none), the PCI bus has 1 (0000:01:00.0). A GPU may have fallen off the "
            "bus: look into `dmesg | grep -i nvrm`, reboot, run again.",
        ),
    ],
)
def test_refusals(answers: dict[str, Any], message: str) -> None:
    """A bus that contradicts the driver stops the host, with both sides shown."""
    with pytest.raises(PlacementError) as caught:
        reconcile("gpu-1", make_probe(**answers))

    assert message == str(caught.value)


H100_ROW = smi_row(1, H100)
UNKNOWN = "0000:09:00.0 0xffff 0x030200"


@pytest.mark.parametrize(
    ("answers", "address", "model", "reason"),
    [
        (
            {"more_pci": [UNKNOWN], "driver": None},
            "0000:09:00.0",
            "unknown",
            "the NVIDIA GPU 10de:ffff (unknown) is not in the table of GPUs and no driver tells what it is. Install a "
            "driver, or add it to hermeion/data/gpus.toml",
        ),
        (
            {"gpus": (H100, H100), "smi": (0, [smi_row(0, H100), H100_ROW.replace("Disabled", "Enabled")])},
            "0000:02:00.0",
            "NVIDIA H100 80GB HBM3",
            f"it is cut into MIG slices, which Hermeion does not serve on. Join them (nvidia-smi -i {uuid_of(1)} "
            "-mig 0), or leave it to others",
        ),
        (
            {
                "gpus": (H100, H100),
                "smi": (0, [smi_row(0, H100), H100_ROW.replace("81559, 0", "[GPU requires reset], [Unknown Error]")]),
            },
            "0000:02:00.0",
            "NVIDIA H100 80GB HBM3",
            "nvidia-smi says 'GPU requires reset'. Stop what runs on it and reset it (nvidia-smi --gpu-reset -i "
            f"{uuid_of(1)}), or reboot the host; then run again",
        ),
        (
            {
                "gpus": (H100, GB10),
                "smi": (0, [smi_row(0, H100), smi_row(1, GB10).replace("122880, 0", "[N/A], [N/A]")]),
                "meminfo": (),
            },
            "0000:02:00.0",
            "NVIDIA GB10",
            "it reports no memory of its own, and /proc/meminfo could not be read",
        ),
    ],
)
def test_gpus_that_are_left_out(answers: dict[str, Any], address: str, model: str, reason: str) -> None:
    """A GPU that cannot be used is left out with its reason and the next step; the others can be planned."""
    host = reconcile("gpu-1", make_probe(**answers))

    assert [UnusableGpu(pci_address=address, model=model, reason=reason)] == list(host.unusable)
    assert ["0000:01:00.0"] == [gpu.pci_address for gpu in host.gpus]


def test_a_gpu_that_only_the_driver_knows() -> None:
    """A GPU that is not in the table is planned as the driver reports it."""
    row = "GPU-9, NVIDIA Something New, 00000000:09:00.0, 40000, 0, 13.0, 610.10.01, Disabled"
    host = reconcile("gpu-1", make_probe(more_pci=[UNKNOWN], smi=(0, [smi_row(0, RTX_4090), row])))

    assert ("NVIDIA Something New", 40000 * MIB, (13, 0)) == (
        host.gpus[1].model,
        host.gpus[1].memory,
        host.gpus[1].compute_capability,
    )


@pytest.mark.parametrize("total", [124_610, 119_000])
def test_unified_memory(total: int) -> None:
    """A GPU without memory of its own has the host's: the total of /proc/meminfo, and what is available of it (MiB)."""
    rows = [smi_row(0, GB10).replace("122880, 0", "[N/A], [N/A]")]
    meminfo = (f"MemTotal={total * 1024}", f"MemAvailable={(total - 6000) * 1024}")
    (gpu,) = reconcile("gpu-1", make_probe((GB10,), smi=(0, rows), meminfo=meminfo)).gpus
    counted = 122_880 if abs(total - 122_880) <= 0.02 * 122_880 else total

    assert counted == gpu.memory // MIB == gpu.cuda // MIB
    assert max(0, counted - (total - 6000)) == (gpu.memory - gpu.free) // MIB


def test_nvlinks() -> None:
    """Pairs of the topology become pairs of PCI addresses."""
    rows = ["GPU0\t X \tNV4", "GPU1\tNV4\t X "]

    assert (
        frozenset({("0000:01:00.0", "0000:02:00.0")})
        == reconcile("gpu-1", make_probe((RTX_3090, RTX_3090), topology=rows)).nvlinks
    )
