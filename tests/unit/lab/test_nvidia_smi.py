"""The nvidia-smi stand-in, run by sh on a recorded state."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

LAB = Path(__file__).parents[3] / "hermeion" / "lab"
SMI = LAB / "packages/nvidia-driver-cuda/root/usr/bin/nvidia-smi"
DRIVER = "580.178.04"
HEADER = (
    "index,uuid,name,pci.bus_id,memory.total,memory.used,memory.free,compute_cap,driver_version,mig.mode.current,"
    "ecc.mode.current,power.limit,power.draw,utilization.gpu,persistence_mode,temperature.gpu,pstate,"
    "fabric.state,fabric.status"
)
ROW = (
    "{0},GPU-{0},NVIDIA L40S,00000000:{0}1:00.0,46068,1,45470,8.9,580.178.04,[N/A],Enabled,350.00,20.00,0,Disabled,31,"
    "P8,In Progress,In Progress"
)
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)


@dataclass(frozen=True)
class Machine:
    root: Path

    def load(self, gpus: int, nodes: int, version: str = DRIVER) -> None:
        """A boot with the module in this version."""
        rows = [HEADER, *(ROW.format(index) for index in range(gpus))]
        (self.root / "gpus.csv").write_text("\n".join(rows) + "\n")
        (self.root / "version").write_text(version + "\n")
        for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{index}" for index in range(nodes))):
            (self.root / name).touch()

    def smi(self, *arguments: str) -> tuple[int, str]:
        names = ("STATE", "DEV", "KNOBS", "LIBRARIES")
        environment = os.environ | {f"NVIDIA_STAND_IN_{name}": str(self.root) for name in names}
        done = subprocess.run(
            ["sh", str(SMI), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    def query(self, fields: str) -> str:
        return self.smi(f"--query-gpu={fields}", "--format=csv,noheader,nounits")[1]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A host with the libraries and without a loaded module."""
    (tmp_path / f"libnvidia-ml.so.{DRIVER}").touch()
    (tmp_path / "libnvidia-ml.so.1").symlink_to(f"libnvidia-ml.so.{DRIVER}")
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


def test_libraries_of_another_version_are_a_mismatch(machine: Machine) -> None:
    """An upgrade without a reboot: what was loaded is older than what NVML is."""
    machine.load(gpus=1, nodes=1, version="580.126.09")
    assert machine.smi("-L") == (
        18,
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.178\n",
    )


def test_without_libraries_the_real_words(machine: Machine) -> None:
    machine.load(gpus=1, nodes=1)
    (machine.root / "libnvidia-ml.so.1").unlink()
    code, text = machine.smi("-L")
    assert code == 12
    assert text.startswith("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure")


def test_in_a_container_the_library_has_no_link(machine: Machine) -> None:
    """CDI mounts the same file under both names; the version is then that of the other name."""
    machine.load(gpus=1, nodes=1, version="580.126.09")
    (machine.root / "libnvidia-ml.so.1").unlink()
    (machine.root / "libnvidia-ml.so.1").touch()
    assert machine.smi("-L")[0] == 18


def test_knobs_are_read_at_each_call(machine: Machine) -> None:
    """Lost and reset GPUs, MIG and a virtual GPU's name appear and go with their files."""
    machine.load(gpus=3, nodes=3)
    knobs = {"lost-gpus": "0", "needs-reset": "1", "mig": "2", "vgpu": "NVIDIA L40S-48Q"}
    for name, value in knobs.items():
        (machine.root / name).write_text(value + "\n")
    fields = "index,name,memory.total,mig.mode.current"
    reset = "[GPU requires reset]"
    assert machine.query(fields) == (f"1, NVIDIA L40S-48Q, {reset}, {reset}\n2, NVIDIA L40S-48Q, 46068, Enabled\n")
    for name in knobs:
        (machine.root / name).unlink()
    assert machine.query("index,name,mig.mode.current").splitlines()[0] == "0, NVIDIA L40S, [N/A]"
    (machine.root / "no-devices").touch()
    assert machine.smi("-L") == (6, "No devices were found\n")


def test_fabric_and_persistence_follow_their_daemons(machine: Machine) -> None:
    machine.load(gpus=1, nodes=1)
    assert machine.query("fabric.state,fabric.status,persistence_mode") == "In Progress, In Progress, Disabled\n"
    (machine.root / "fabric-manager").touch()
    (machine.root / "persistence").touch()
    assert machine.query("fabric.state,fabric.status,persistence_mode") == "Completed, Success, Enabled\n"


@pytest.mark.parametrize(
    "script",
    sorted(path for path in LAB.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")),
    ids=lambda path: str(path.relative_to(LAB)),
)
def test_every_script_is_a_shell_script(script: Path) -> None:
    assert subprocess.run(["sh", "-n", str(script)], capture_output=True, check=False).returncode == 0
