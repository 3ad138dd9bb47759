"""Joining the PCI bus with what the driver says."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.errors import PlacementError
from hermeion.gpus import gpu_models
from hermeion.hosts import reconcile
from hermeion.units import MIB
from tests.unit.builders import (
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
        "free": 24564 * MIB,
        "architecture": "ada",
        "compute_capability": [8, 9],
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
            {"more_pci": ["0000:09:00.0 0xffff 0x030200"], "driver": None},
            "gpu-1: the NVIDIA GPU at 0000:09:00.0 (10de:ffff) is not in the table of GPUs. "
            "Add it to hermeion/data/gpus.toml.",
        ),
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
    """An unknown GPU and a bus that contradicts the driver stop the host, with both sides shown."""
    with pytest.raises(PlacementError) as caught:
        reconcile("gpu-1", make_probe(**answers))

    assert message == str(caught.value)
