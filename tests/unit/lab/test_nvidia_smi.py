"""The nvidia-smi stand-in, run by sh on a recorded state."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[3] / "hermeion" / "lab" / "packages"
SMI = PACKAGES / "nvidia-driver-cuda/root/usr/bin/nvidia-smi"
HEADER = (
    "index,uuid,name,pci.bus_id,memory.total,memory.used,memory.free,compute_cap,driver_version,mig.mode.current,"
    "ecc.mode.current,power.limit,power.draw,utilization.gpu,persistence_mode,temperature.gpu,pstate"
)
ROW = (
    "{0},GPU-{0},NVIDIA L40S,00000000:{0}1:00.0,46068,1,45470,8.9,580.178.04,[N/A],Enabled,350.00,20.00,0,Enabled,31,P8"
)
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)


@dataclass(frozen=True)
class Machine:
    root: Path

    def load(self, gpus: int, nodes: int) -> None:
        rows = [HEADER, *(ROW.format(index) for index in range(gpus))]
        (self.root / "gpus.csv").write_text("\n".join(rows) + "\n")
        for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{index}" for index in range(nodes))):
            (self.root / name).touch()

    def smi(self, *arguments: str) -> tuple[int, str]:
        environment = os.environ | {"NVIDIA_STAND_IN_STATE": str(self.root), "NVIDIA_STAND_IN_DEV": str(self.root)}
        done = subprocess.run(
            ["sh", str(SMI), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.returncode, done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("arguments", [(), ("-L",), ("--query-gpu=uuid", "--format=csv")])
def test_without_a_module_it_says_what_the_real_one_says(machine: Machine, arguments: tuple[str, ...]) -> None:
    assert machine.smi(*arguments) == (9, NO_DRIVER)


def test_query_in_the_forms_that_are_used(machine: Machine) -> None:
    machine.load(gpus=1, nodes=1)
    fields = "--query-gpu=index,name,pci.bus_id,memory.total,mig.mode.current,power.limit"
    assert machine.smi(fields, "--format=csv,noheader,nounits") == (
        0,
        "0, NVIDIA L40S, 00000000:01:00.0, 46068, [N/A], 350.00\n",
    )
    assert machine.smi(fields, "--format=csv") == (
        0,
        "index, name, pci.bus_id, memory.total [MiB], mig.mode.current, power.limit [W]\n"
        "0, NVIDIA L40S, 00000000:01:00.0, 46068 MiB, [N/A], 350.00 W\n",
    )


def test_list_shows_only_gpus_with_a_node(machine: Machine) -> None:
    machine.load(gpus=3, nodes=2)
    (machine.root / "nvidia0").unlink()
    assert machine.smi("-L") == (0, "GPU 1: NVIDIA L40S (UUID: GPU-1)\n")


def test_an_unknown_field_fails_the_query(machine: Machine) -> None:
    machine.load(gpus=1, nodes=1)
    assert machine.smi("--query-gpu=index,xyz", "--format=csv") == (
        2,
        'Field "xyz" is not a valid field to query.\n\n',
    )


def test_no_process_uses_a_gpu(machine: Machine) -> None:
    machine.load(gpus=1, nodes=1)
    assert machine.smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader") == (0, "")


def test_no_node_means_no_devices(machine: Machine) -> None:
    machine.load(gpus=1, nodes=0)
    assert machine.smi("-L") == (6, "No devices were found\n")


def test_one_gpu_can_be_picked(machine: Machine) -> None:
    machine.load(gpus=2, nodes=2)
    assert machine.smi("-i", "1", "--query-gpu=index", "--format=csv,noheader") == (0, "1\n")
    assert machine.smi("--id=GPU-0", "--query-gpu=index", "--format=csv,noheader") == (0, "0\n")


def test_the_table_names_driver_and_board(machine: Machine) -> None:
    machine.load(gpus=1, nodes=1)
    code, text = machine.smi()
    assert code == 0
    assert "Driver Version: 580.178.04" in text
    assert "1MiB /  46068MiB" in text


def test_an_unknown_option_is_refused(machine: Machine) -> None:
    machine.load(gpus=1, nodes=1)
    assert machine.smi("--frobnicate")[0] == 1


@pytest.mark.parametrize(
    "script",
    sorted(path for path in PACKAGES.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")),
    ids=lambda path: str(path.relative_to(PACKAGES)),
)
def test_every_script_is_a_shell_script(script: Path) -> None:
    assert subprocess.run(["sh", "-n", str(script)], capture_output=True, check=False).returncode == 0
