"""What happens to the driver, and why: one case for each outcome."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.plans import DriverPlan
from tests.unit.builders import H100, H200, RTX_4090, RTX_5090, V100, driver_section
from tests.unit.driver_cases import (
    BARE,
    DEBIAN_PACKAGES,
    DEBIAN_UNITS,
    GUARDED,
    KERNEL,
    NVIDIA_DRIVER,
    SWITCHES,
    UBUNTU,
    UBUNTU_DRIVER,
    UBUNTU_KERNEL,
    decide,
    ours,
)

INSTALL: dict[str, Any] = {
    "action": "install",
    "branch": 580,
    "flavour": "open",
    "source": "nvidia",
    "units": DEBIAN_UNITS,
}
NO_DRIVER = "no driver answers; branch 580 (LTS) with the open kernel module"
NEWER = "driver 580.178.04 of the same branch is out; 580.95.05 is here"
RC_9 = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
UNGUARDED = (
    "nothing keeps an unattended upgrade from replacing the driver under what runs: hold its packages, or name them in "
    "Unattended-Upgrade::Package-Blacklist"
)


def alone(version: str, *remarks: str) -> DriverPlan:
    """A driver that answers and stays."""
    return DriverPlan(
        action="leave alone", reason=f"driver {version} answers and is new enough", remarks=remarks, version=version
    )


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"driver": "580.178.04"}, alone("580.178.04")),
        ({"driver": "580.95.05"}, alone("580.95.05", NEWER)),
        (
            {"driver": "595.91.07", "secure_boot": True, "os": UBUNTU, "reboot_required": True},
            alone(
                "595.91.07",
                "driver 595.99.02 of the same branch is out; 595.91.07 is here",
                "the system asks for a reboot (/run/reboot-required)",
            ),
        ),
        (
            {"driver": "610.43.02"},
            alone(
                "610.43.02",
                "driver branch 610 was past its end of life (2026-08-31) when Hermeion's table of drivers was reviewed "
                "on 2026-11-20",
            ),
        ),
        ({"driver": "580.178.04", "packages": NVIDIA_DRIVER}, alone("580.178.04", UNGUARDED)),
        ({"driver": "580.178.04", "packages": NVIDIA_DRIVER, "held": ["nvidia-driver-cuda"]}, alone("580.178.04")),
        ({"driver": "580.178.04", "packages": NVIDIA_DRIVER, "files": GUARDED}, alone("580.178.04")),
        (
            {
                "driver": "580.178.04",
                "packages": NVIDIA_DRIVER,
                "files": GUARDED,
                "driver_rows": [
                    *driver_section("580.178.04", KERNEL)[:-1],
                    "unit=nvidia-persistenced enabled inactive",
                ],
            },
            alone(
                "580.178.04",
                "the persistence daemon does not run: GPUs start anew for each program, and lose their power limits "
                "(systemctl enable --now nvidia-persistenced)",
            ),
        ),
        (
            {
                "driver": "580.178.04",
                "packages": NVIDIA_DRIVER,
                "files": GUARDED,
                "driver_rows": [
                    *driver_section("580.178.04", KERNEL)[:-1],
                    "unit=nvidia-persistenced static inactive",
                ],
            },
            alone(
                "580.178.04",
                "the persistence daemon does not run: GPUs start anew for each program, and lose their power limits "
                "(nvidia-smi -pm 1, until the next boot)",
            ),
        ),
        (
            {
                "driver": "580.178.04",
                "packages": NVIDIA_DRIVER,
                "files": GUARDED,
                "driver_rows": [
                    *driver_section("580.178.04", KERNEL)[:-1],
                    "unit=nvidia-persistenced enabled failed",
                ],
            },
            alone(
                "580.178.04",
                "the persistence daemon does not run: GPUs start anew for each program, and lose their power limits "
                "(systemctl status nvidia-persistenced tells why)",
            ),
        ),
        (
            {
                "driver": "580.178.04",
                "driver_rows": [*driver_section("580.178.04", KERNEL), "run_file=/usr/bin/nvidia-uninstall"],
            },
            alone("580.178.04"),
        ),
        (
            {
                "driver": "580.178.04",
                "driver_rows": [*driver_section("580.178.04", KERNEL), "kernel=6.12.100+deb13-amd64 yes - -"],
            },
            alone(
                "580.178.04",
                "no NVIDIA module is there for kernel 6.12.100+deb13-amd64: after the next reboot no driver would "
                "answer. "
                "Install its headers (linux-headers-6.12.100+deb13-amd64) and let DKMS build the module",
            ),
        ),
        (
            {
                "driver": "580.105.08",
                "packages": NVIDIA_DRIVER,
                "files": GUARDED,
                "driver_rows": [*driver_section("580.105.08", KERNEL), "kernel=6.12.100+deb13-amd64 yes - -"],
            },
            alone(
                "580.105.08",
                "no NVIDIA module is there for kernel 6.12.100+deb13-amd64: after the next reboot no driver would "
                "answer, "
                "and the open module 580.105.08 does not compile against it (pci_resize_resource changed). Move to "
                "driver 580.126.09 or newer before the host reboots",
                "driver 580.178.04 of the same branch is out; 580.105.08 is here",
            ),
        ),
        (
            {"driver": "580.178.04", "gpus": (H100,) * 8, "more_pci": SWITCHES, "fabric": ("Completed",) * 8},
            alone("580.178.04"),
        ),
        # Grace's root port is a bridge of NVIDIA's and no NVSwitch.
        ({"driver": "580.178.04", "more_pci": ["0018:00:00.0 0x22b1 0x060400"]}, alone("580.178.04")),
    ],
)
def test_left_alone(answers: dict[str, Any], expected: DriverPlan) -> None:
    """A driver that answers and is new enough stays, with what a person should know about it."""
    assert expected == decide(**answers)


@pytest.mark.parametrize(
    ("answers", "spec", "expected"),
    [
        (BARE, {}, DriverPlan(reason=NO_DRIVER, packages=DEBIAN_PACKAGES, **INSTALL)),
        ({**BARE, "secure_boot": False}, {}, DriverPlan(reason=NO_DRIVER, packages=DEBIAN_PACKAGES, **INSTALL)),
        (
            {**BARE, "os": ("ID=debian", 'VERSION_ID="12"'), "kernel": "6.1.0-40-amd64"},
            {},
            DriverPlan(
                reason=NO_DRIVER,
                packages=(DEBIAN_PACKAGES[0], "linux-headers-6.1.0-40-amd64", *DEBIAN_PACKAGES[2:]),
                **INSTALL,
            ),
        ),
        (
            {**BARE, "gpus": (H100,) * 8, "more_pci": SWITCHES},
            {},
            DriverPlan(
                reason=NO_DRIVER,
                packages=(*DEBIAN_PACKAGES, "nvidia-fabricmanager"),
                **INSTALL | {"units": (*DEBIAN_UNITS, "nvidia-fabricmanager")},
            ),
        ),
        (
            {**BARE, "gpus": (V100, RTX_4090)},
            {},
            DriverPlan(
                reason="no driver answers; branch 580 (LTS) with the proprietary kernel module",
                packages=(*DEBIAN_PACKAGES[:2], "nvidia-kernel-dkms", *DEBIAN_PACKAGES[3:]),
                **INSTALL | {"flavour": "proprietary"},
            ),
        ),
        (
            {**BARE, "driver_rows": [f"kernel={KERNEL} no - -"], "more_pci": [], "nouveau": True},
            {},
            DriverPlan(
                reason=NO_DRIVER,
                packages=DEBIAN_PACKAGES,
                reboot="nouveau holds 0000:01:00.0 and lets go at a reboot only",
                **INSTALL,
            ),
        ),
        (
            {**BARE, "os": UBUNTU, "kernel": UBUNTU_KERNEL, "secure_boot": True},
            {},
            DriverPlan(
                reason=f"{NO_DRIVER}, from Ubuntu's archive",
                packages=(
                    "linux-modules-nvidia-580-server-open-generic",
                    "nvidia-headless-no-dkms-580-server-open",
                    "nvidia-utils-580-server",
                ),
                **INSTALL | {"source": "ubuntu"},
            ),
        ),
        (
            {
                **BARE,
                "os": ("ID=rocky", 'VERSION_ID="9.6"'),
                "kernel": "5.14.0-570.el9.x86_64",
                "tools": ("curl", "dnf"),
            },
            {},
            DriverPlan(
                reason=NO_DRIVER,
                packages=(
                    "module:nvidia-driver:580-open",
                    "kernel-devel-5.14.0-570.el9.x86_64",
                    "kernel-devel-matched",
                    "dkms",
                    "kmod-nvidia-open-dkms",
                    "nvidia-driver-cuda",
                    "nvidia-persistenced",
                ),
                **INSTALL,
            ),
        ),
        (
            {**BARE, "secure_boot": True, "mok": True},
            {},
            DriverPlan(reason=NO_DRIVER, packages=DEBIAN_PACKAGES, **INSTALL),
        ),
    ],
)
def test_installed(answers: dict[str, Any], spec: dict[str, Any], expected: DriverPlan) -> None:
    """A missing driver is installed, in the flavour that the GPUs need and from where the system has it best."""
    assert expected == decide(spec, **answers)


@pytest.mark.parametrize(
    ("answers", "keys", "expected"),
    [
        (
            ours(smi=(9, [RC_9])),
            {},
            DriverPlan(
                action="reboot",
                reason=f"driver 580.95.05 is installed and not loaded: {RC_9[:-1]}",
                version="580.95.05",
                reboot=f"driver 580.95.05 is installed and not loaded: {RC_9[:-1]}",
            ),
        ),
        (
            ours(
                smi=(9, []), rows=[f"kernel={KERNEL} yes - -", "kernel=6.12.60+deb13-amd64 yes 580.95.05 Dual MIT/GPL"]
            ),
            {},
            DriverPlan(
                action="reboot",
                reason=f"driver 580.95.05 is built for kernel 6.12.60+deb13-amd64, and {KERNEL} runs",
                version="580.95.05",
                reboot=f"driver 580.95.05 is built for kernel 6.12.60+deb13-amd64, and {KERNEL} runs",
            ),
        ),
        (
            {"driver_rows": ["module=580.95.05", "library=580.178.04"], "smi": (18, ["Failed to initialize NVML"])},
            {},
            DriverPlan(
                action="reboot",
                reason="kernel module 580.95.05, libraries 580.178.04: an upgrade ran without a reboot",
                version="580.178.04",
                reboot="kernel module 580.95.05, libraries 580.178.04: an upgrade ran without a reboot",
            ),
        ),
        (
            {
                "driver_rows": ["module=580.95.05", "library=580.178.04"],
                "smi": (18, []),
                "containers": [f"{'c0' * 32} hermeion-hermes running hermes 0123456789ab"],
            },
            {},
            DriverPlan(
                action="leave alone",
                reason="module 580.95.05 and libraries 580.178.04 differ, and every service still runs",
                remarks=(
                    "a reboot is due: kernel module 580.95.05, libraries 580.178.04: an upgrade ran without a reboot; "
                    "what runs goes on, and new containers get no GPU until then (hermes_disrupt lets the host reboot)",
                ),
                version="580.178.04",
            ),
        ),
        (
            {
                "driver_rows": ["module=580.95.05", "library=580.178.04"],
                "smi": (18, []),
                "containers": [f"{'c0' * 32} hermeion-hermes running hermes 0123456789ab"],
            },
            {"hermes_disrupt": True},
            DriverPlan(
                action="reboot",
                reason="kernel module 580.95.05, libraries 580.178.04: an upgrade ran without a reboot",
                version="580.178.04",
                reboot="kernel module 580.95.05, libraries 580.178.04: an upgrade ran without a reboot",
            ),
        ),
    ],
)
def test_rebooted(answers: dict[str, Any], keys: dict[str, Any], expected: DriverPlan) -> None:
    """A driver that only has to be loaded needs a reboot and no package; what serves is not taken down for it."""
    assert expected == decide(None, keys, **answers)


@pytest.mark.parametrize(
    ("answers", "spec", "expected"),
    [
        (
            ours(smi=(9, []), rows=[f"kernel={KERNEL} yes - -"]),
            {},
            DriverPlan(
                reason=f"driver 580.95.05 is installed and its module was not built for kernel {KERNEL}; "
                f"branch 580 (LTS) "
                "with the open kernel module",
                packages=DEBIAN_PACKAGES,
                **INSTALL | {"action": "repair"},
            ),
        ),
        (
            ours(
                packages={"nvidia-driver-cuda": "580.95.05-1", "libnvidia-ml1": "580.95.05-1"},
                smi=(12, []),
                rows=["module=580.95.05", f"kernel={KERNEL} yes 580.95.05 Dual MIT/GPL"],
            ),
            {},
            DriverPlan(
                action="repair",
                reason="module 580.95.05 is loaded and libnvidia-ml.so is missing",
                branch=580,
                version="580.95.05",
                source="nvidia",
                packages=("nvidia-driver-cuda=580.95.05-*",),
                units=DEBIAN_UNITS,
                purge=("libnvidia-ml1",),
            ),
        ),
        (
            {
                "driver": "580.178.04",
                "os": UBUNTU,
                "kernel": UBUNTU_KERNEL,
                "packages": {"nvidia-dkms-580-server-open": "580.178.04-0ubuntu0.24.04.1"},
                "smi": (127, []),
            },
            {},
            DriverPlan(
                action="repair",
                reason="module 580.178.04 is loaded and nvidia-smi is missing",
                branch=580,
                version="580.178.04",
                source="ubuntu",
                packages=("libnvidia-compute-580-server=580.178.04-*", "nvidia-utils-580-server=580.178.04-*"),
                units=DEBIAN_UNITS,
            ),
        ),
        (
            {"broken": ["nvidia-kernel-open-dkms iF", "linux-headers-6.12.100+deb13-amd64 iF"]},
            {"repair": True},
            DriverPlan(
                reason="dpkg left linux-headers-6.12.100+deb13-amd64 iF, nvidia-kernel-open-dkms iF half-configured; "
                "branch 580 (LTS) with the open kernel module",
                packages=DEBIAN_PACKAGES,
                purge=("nvidia-kernel-open-dkms",),
                **INSTALL | {"action": "repair"},
            ),
        ),
        (
            {**BARE, "broken": ["nvidia-driver-cuda iU"], "files": ["644 0:0 ab /var/lib/hermeion/driver-transaction"]},
            {},
            DriverPlan(
                reason="a transaction of ours was cut off (/var/lib/hermeion/driver-transaction is there; dpkg: "
                "nvidia-driver-cuda iU); branch 580 (LTS) with the open kernel module",
                packages=DEBIAN_PACKAGES,
                finish=True,
                **INSTALL | {"action": "repair"},
            ),
        ),
        (
            {"driver": "580.178.04", "files": ["644 0:0 ab /var/lib/hermeion/driver-transaction"]},
            {},
            DriverPlan(
                reason="a transaction of ours was cut off (/var/lib/hermeion/driver-transaction is there); branch 580 "
                "(LTS) with the open kernel module",
                packages=DEBIAN_PACKAGES,
                finish=True,
                **INSTALL | {"action": "repair"},
            ),
        ),
        (
            ours(
                files=GUARDED,
                packages=NVIDIA_DRIVER,
                rows=[*driver_section("580.178.04", KERNEL), "kernel=6.12.100+deb13-amd64 no - -"],
                driver="580.178.04",
            ),
            {},
            DriverPlan(
                action="repair",
                reason="no NVIDIA module is there for kernel 6.12.100+deb13-amd64: after the next reboot no "
                "driver would "
                "answer",
                branch=580,
                version="580.178.04",
                source="nvidia",
                packages=("linux-headers-6.12.100+deb13-amd64", "nvidia-kernel-open-dkms=580.178.04-*"),
                units=DEBIAN_UNITS,
            ),
        ),
        (
            {
                "driver": "580.178.04",
                "os": UBUNTU,
                "kernel": UBUNTU_KERNEL,
                "packages": UBUNTU_DRIVER,
                "files": GUARDED,
                "driver_rows": [*driver_section("580.178.04", UBUNTU_KERNEL), "kernel=6.8.0-60-generic no - -"],
            },
            {},
            DriverPlan(
                action="repair",
                reason="no NVIDIA module is there for kernel 6.8.0-60-generic: after the next reboot no "
                "driver would answer",
                branch=580,
                version="580.178.04",
                source="ubuntu",
                packages=("linux-modules-nvidia-580-server-open-generic",),
                units=DEBIAN_UNITS,
            ),
        ),
    ],
)
def test_repaired(answers: dict[str, Any], spec: dict[str, Any], expected: DriverPlan) -> None:
    """What is half there is completed, at the version that is there."""
    assert expected == decide(spec, **answers)


@pytest.mark.parametrize(
    ("answers", "reason", "packages"),
    [
        (
            {"packages": NVIDIA_DRIVER},
            "the GPUs are joined by NVSwitches and the fabric manager is missing: CUDA fails beside driver 580.178.04",
            ("nvidia-fabricmanager=580.178.04-*",),
        ),
        (
            {"packages": {**NVIDIA_DRIVER, "nvidia-fabricmanager": "580.95.05-1"}, "fabric": ["Completed"] * 8},
            "nvidia-fabricmanager 580.95.05 is installed beside driver 580.178.04, and the fabric manager runs "
            "with its "
            "own version only",
            ("nvidia-fabricmanager=580.178.04-*",),
        ),
        (
            {
                "packages": {**UBUNTU_DRIVER, "nvidia-fabricmanager-580": "580.178.04-0ubuntu0.24.04.1"},
                "os": UBUNTU,
                "driver_rows": [*driver_section("580.178.04", KERNEL), "unit=nvidia-fabricmanager disabled inactive"],
            },
            "the GPUs are joined by NVSwitches and the fabric manager is inactive",
            ("nvidia-fabricmanager-580=580.178.04-*",),
        ),
        (
            {
                "packages": {**NVIDIA_DRIVER, "nvidia-fabricmanager": "580.178.04-1"},
                "driver_rows": [*driver_section("580.178.04", KERNEL), "unit=nvidia-fabricmanager enabled active"],
                "fabric": ["Completed"] * 7 + ["In Progress"],
            },
            "a GPU's fabric is 'In Progress', not 'Completed'",
            ("nvidia-fabricmanager=580.178.04-*",),
        ),
    ],
)
def test_fabric(answers: dict[str, Any], reason: str, packages: tuple[str, ...]) -> None:
    """A host with NVSwitches gets the fabric manager in exactly the driver's version."""
    given = {"gpus": (H100,) * 8, "more_pci": SWITCHES, "driver": "580.178.04", **answers}

    found = decide(**given)

    assert ("repair", reason, packages) == (found.action, found.reason, found.packages)
    assert "nvidia-fabricmanager" in found.units


def test_fabric_waits_for_what_runs() -> None:
    """The fabric manager is not exchanged under services that run."""
    found = decide(
        gpus=(H100,) * 8,
        more_pci=SWITCHES,
        driver="580.178.04",
        packages={**NVIDIA_DRIVER, "nvidia-fabricmanager": "580.95.05-1"},
        files=GUARDED,
        containers=[f"{'c0' * 32} hermeion-hermes running hermes 0123456789ab"],
    )

    assert "leave alone" == found.action
    assert found.remarks[0].endswith(
        "left as it is while something runs on the GPUs (hermes_disrupt lets it be repaired)"
    )


@pytest.mark.parametrize(
    ("gpu", "more_pci", "packages"),
    [
        ("2901", [], {"nvidia-fabricmanager", "nvlsm", "libnvsdm", "infiniband-diags"}),
        ("3182", [], {"nvidia-fabricmanager", "nvlsm", "libnvsdm", "infiniband-diags"}),
        ("2941", ["0018:00:00.0 0x22b1 0x060400"], {"nvidia-imex"}),
        ("20b2", ["0005:00:00.0 0x1af1 0x068000"], {"nvidia-fabricmanager"}),
        (H200, ["0005:00:00.0 0x22a3 0x068000"], {"nvidia-fabricmanager"}),
        ("233b", [], set()),
        (H100, ["0018:00:00.0 0x22b1 0x060400"], set()),
        (H100, ["0018:00:00.0 0x22a3 0x060400"], set()),
    ],
)
def test_fabric_by_id(gpu: str, more_pci: list[str], packages: set[str]) -> None:
    """What joins the GPUs is told from device ids: B200 and B300 show no NVSwitch, a bridge of Grace's is none."""
    found = decide(**BARE | {"gpus": (gpu,) * 4, "more_pci": more_pci}).packages

    assert packages == set(found) - set(DEBIAN_PACKAGES)


@pytest.mark.parametrize(
    ("answers", "reboot", "purge"),
    [
        (
            {"driver": "550.163.01", "packages": {"nvidia-driver-cuda": "550.163.01-1"}},
            "module 550.163.01 is loaded and gives way at a reboot only",
            (),
        ),
        (
            {"driver": "550.163.01", "packages": {"nvidia-smi": "550.163.01-2", "nvidia-kernel-dkms": "550.163.01-2"}},
            "module 550.163.01 is loaded and gives way at a reboot only",
            ("nvidia-kernel-dkms", "nvidia-smi"),
        ),
    ],
)
def test_upgraded(answers: dict[str, Any], reboot: str, purge: tuple[str, ...]) -> None:
    """A driver that is too old for an image is replaced if the inventory says so, with a reboot."""
    found = decide({"upgrade": True}, **answers)

    assert (
        DriverPlan(
            reason="driver 550.163.01 is healthy, but vllm/vllm-openai:v0.33.0 needs CUDA 13.0 (driver 580 or newer); "
            "branch 580 (LTS) with the open kernel module",
            packages=DEBIAN_PACKAGES,
            reboot=reboot,
            purge=purge,
            **INSTALL | {"action": "upgrade"},
        )
        == found
    )


def test_wrong_flavour_is_switched() -> None:
    """A module of the wrong flavour gives way, if the inventory lets a driver be replaced."""
    found = decide(
        {"upgrade": True},
        gpus=(RTX_5090,),
        packages=NVIDIA_DRIVER,
        smi=(6, ["No devices were found"]),
        driver_rows=[
            "module=580.178.04",
            "flavour=proprietary",
            "library=580.178.04",
            "nvrm=NVRM: requires use of the NVIDIA open kernel modules.",
        ],
    )

    assert ("upgrade", "open", "nvidia-kernel-open-dkms") == (found.action, found.flavour, found.packages[2])
