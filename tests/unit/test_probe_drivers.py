"""The part of the probe that is about the driver: the script on made-up trees, and its rows read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hermeion.probe import BrokenPackage, DaemonUnit, DkmsBuild, Driver, Holder, Kernel, probe_script
from hermeion.probe.drivers import flavour_of, kernel_order, parse_driver, parse_holder
from tests.unit.builders import make_probe

KERNEL = "6.12.94+deb13-amd64"


def function(name: str) -> str:
    """One function of the script."""
    found = re.search(rf"^{name}\(\) {{.*?^}}$", probe_script(), re.DOTALL | re.MULTILINE)
    assert found, name
    return found[0]


def lines_of(name: str, root: Path, commands: str = "", **replaced: str) -> list[str]:
    """What a function prints when these folders stand for the host's, with stand-ins for commands."""
    text = function("module_of") + "\n" + function(name)
    for path in (
        "/lib/modules",
        "/var/lib/dkms",
        "/sys/module",
        "/proc/driver",
        "/boot",
        "/usr/lib",
        "/usr/bin/nvidia-",
    ):
        text = text.replace(path, f"{root}{path}")
    text = text.replace(f"{root}{root}", str(root))
    for old, new in replaced.items():
        text = text.replace(old, new)
    script = f'have() {{ command -v "$1" >/dev/null 2>&1; }}\nsmi_status=0\n{commands}\n{text}\n{name}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


UNAME = f'uname() {{ echo {KERNEL}; }}\nmodinfo() {{ sed -n "s/^$2=//p" "$3"; }}'


def write(path: Path, text: str = "") -> None:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_kernels_with_and_without_a_module(tmp_path: Path) -> None:
    """Each installed kernel tells whether a module can be built for it, and which it has; leftovers do not count."""
    modules = tmp_path / "lib/modules"
    write(modules / KERNEL / "build/Makefile")
    write(modules / KERNEL / "updates/dkms/nvidia-current-open.ko.xz", "version=550.163.01\nlicense=Dual MIT/GPL\n")
    write(modules / "6.12.117+deb13-amd64/modules.dep")
    write(tmp_path / "boot/vmlinuz-6.12.117+deb13-amd64")
    write(modules / "6.1.0-left-over/modules.dep")
    driver = parse_driver(lines_of("driver", tmp_path, UNAME))

    assert (
        Kernel(release=KERNEL, headers=True, module="550.163.01", flavour="open"),
        Kernel(release="6.12.117+deb13-amd64", headers=False),
    ) == driver.kernels
    assert "6.12.117+deb13-amd64" == (driver.newest_kernel.release if driver.newest_kernel else None)


@pytest.mark.parametrize(
    "place",
    [
        "updates/dkms/nvidia.ko",
        "updates/dkms/nvidia-current.ko.xz",
        "kernel/nvidia-580srv-open/nvidia.ko.zst",
        "extra/nvidia.ko.xz",
        "extra/nvidia/nvidia.ko",
        "weak-updates/nvidia.ko",
        "kernel/drivers/video/nvidia.ko",
    ],
)
def test_places_of_modules(tmp_path: Path, place: str) -> None:
    """The module is found wherever DKMS, Ubuntu's own packages, RHEL's kmods and the .run installer put it."""
    write(tmp_path / "lib/modules" / KERNEL / place, "version=580.95.05\nlicense=NVIDIA\n")
    (kernel,) = parse_driver(lines_of("driver", tmp_path, UNAME)).kernels

    assert ("580.95.05", "proprietary") == (kernel.module, kernel.flavour)


def test_dkms_states(tmp_path: Path) -> None:
    """What DKMS has is told as `dkms status` tells it: installed by the link, built by its folder, else added."""
    tree = tmp_path / "var/lib/dkms"
    for version, kernel in (("550.163.01", KERNEL), ("550.163.01", "6.12.117+deb13-amd64")):
        (tree / "nvidia" / version / kernel / "x86_64/module").mkdir(parents=True)
        (tree / "nvidia" / version / "source").mkdir(exist_ok=True)
    (tree / "nvidia" / f"kernel-{KERNEL}-x86_64").symlink_to(f"550.163.01/{KERNEL}/x86_64")
    (tree / "nvidia-open/580.95.05/source").mkdir(parents=True)
    builds = parse_driver(lines_of("driver", tmp_path, UNAME)).builds

    assert {
        DkmsBuild(module="nvidia", version="550.163.01", kernel=KERNEL, state="installed"),
        DkmsBuild(module="nvidia", version="550.163.01", kernel="6.12.117+deb13-amd64", state="built"),
        DkmsBuild(module="nvidia-open", version="580.95.05", kernel="-", state="added"),
    } == set(builds)


def test_loaded_module_and_library(tmp_path: Path) -> None:
    """The loaded module, its flavour and the library on disk are read without nvidia-smi."""
    write(tmp_path / "sys/module/nvidia/version", "580.126.09\n")
    write(
        tmp_path / "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.126.09  Release Build\n",
    )
    write(tmp_path / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.178.04")
    (tmp_path / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.580.178.04")
    write(tmp_path / "usr/bin/nvidia-uninstall")
    driver = parse_driver(lines_of("driver", tmp_path, UNAME))

    assert ("580.126.09", "open", "580.178.04") == (driver.module, driver.flavour, driver.library)
    assert str(driver.run_file).endswith("/usr/bin/nvidia-uninstall")


def test_proprietary_module(tmp_path: Path) -> None:
    """The proprietary module says so by what it does not say."""
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr 8\n"
    write(tmp_path / "proc/driver/nvidia/version", text)

    assert "proprietary" == parse_driver(lines_of("driver", tmp_path, UNAME)).flavour


def test_units_and_last_words() -> None:
    """The driver's own units and the module's words in the kernel's log arrive."""
    driver = parse_driver(
        [
            "unit=nvidia-persistenced enabled active",
            "unit=nvidia-fabricmanager disabled failed",
            "nvrm=NVRM: installed in this system is not supported by open",
        ]
    )

    assert DaemonUnit(enabled="disabled", active="failed") == driver.units["nvidia-fabricmanager"]
    assert ("NVRM: installed in this system is not supported by open",) == driver.nvrm
    assert Driver() == parse_driver([])


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.12.94+deb13-amd64", "6.12.117+deb13-amd64"),
        ("5.14.0-503.11.1.el9_5.x86_64", "5.14.0-503.40.1.el9_5.x86_64"),
        ("6.8.0-9-generic", "6.8.0-51-generic"),
        ("6.12.94+deb13-amd64", "6.12.94+deb13.1-amd64"),
    ],
)
def test_order_of_kernels(older: str, newer: str) -> None:
    """Kernels are ordered by their numbers, not by their letters."""
    assert [older, newer] == sorted([newer, older], key=kernel_order)


@pytest.mark.parametrize(("licence", "flavour"), [("Dual MIT/GPL", "open"), ("NVIDIA", "proprietary"), ("-", None)])
def test_flavour_by_licence(licence: str, flavour: str | None) -> None:
    """NVIDIA's open module is under MIT and GPL, the other under its own licence."""
    assert flavour == flavour_of(licence)


def test_holders() -> None:
    """A process that holds a GPU is named with its control group, whatever blanks its name has."""
    assert Holder(pid=4711, command="tmux: server", unit="docker-ab.scope") == parse_holder(
        "4711 docker-ab.scope tmux: server"
    )


def test_packages_by_state() -> None:
    """Held packages are packages, and what dpkg left behind is told with its two letters."""
    probe = make_probe(
        packages={"nvidia-driver-cuda": "550.163.01-1", "docker.io": "26.1.5"},
        held=["nvidia-driver-cuda"],
        broken=["nvidia-kernel-open-dkms iF"],
        guest="lxc",
        platform=["/etc/dgx-release"],
    )

    assert {"nvidia-driver-cuda": "550.163.01-1", "docker.io": "26.1.5"} == probe.packages
    assert frozenset({"nvidia-driver-cuda"}) == probe.held_packages
    assert (BrokenPackage(name="nvidia-kernel-open-dkms", status="iF"),) == probe.broken_packages
    assert ("lxc", ("/etc/dgx-release",)) == (probe.guest, probe.platform)
