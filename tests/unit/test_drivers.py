"""What happens to the driver, and why."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.drivers import CUDA_REPOSITORIES, KEYRING_SHA256, decide_driver
from hermeion.errors import PlacementError
from hermeion.hosts import reconcile
from hermeion.inventory import DriverSpec
from hermeion.plans import DriverPlan
from tests.unit.builders import H100, RTX_4090, V100, make_probe

PACKAGES = (
    "nvidia-driver-pinning-580",
    "linux-headers-6.12.48+deb13-amd64",
    "nvidia-kernel-open-dkms",
    "nvidia-driver-cuda",
    "nvidia-persistenced",
)
BARE: dict[str, Any] = {"driver": None, "packages": {}}
INSTALL = "no driver answers; branch 580 (LTS) with the open kernel module"


def decide(spec: DriverSpec | None = None, **answers: Any) -> DriverPlan:
    """The decision for a host with these answers."""
    probe = make_probe(**answers)
    return decide_driver(spec or DriverSpec(), reconcile("gpu-1", probe), probe, 580)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, DriverPlan(action="leave alone", reason="driver 580.95.05 answers and is new enough")),
        (
            {"driver": "595.10", "secure_boot": True, "os": ("ID=ubuntu", 'VERSION_ID="24.04"')},
            DriverPlan(action="leave alone", reason="driver 595.10 answers and is new enough"),
        ),
        (BARE, DriverPlan(action="install", reason=INSTALL, packages=PACKAGES)),
        ({**BARE, "secure_boot": False}, DriverPlan(action="install", reason=INSTALL, packages=PACKAGES)),
        (
            {**BARE, "os": ("ID=debian", 'VERSION_ID="12"'), "kernel": "6.1.0-40-amd64"},
            DriverPlan(
                action="install",
                reason=INSTALL,
                packages=(PACKAGES[0], "linux-headers-6.1.0-40-amd64", *PACKAGES[2:]),
            ),
        ),
        (
            {**BARE, "gpus": (H100,) * 8, "more_pci": ["0000:85:00.0 0x22a3 0x068000"]},
            DriverPlan(action="install", reason=INSTALL, packages=(*PACKAGES, "nvidia-fabricmanager")),
        ),
        (
            {
                "packages": {"nvidia-driver-cuda": "580.95.05-1"},
                "smi": (9, ["NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."]),
            },
            DriverPlan(
                action="reboot",
                reason="driver 580.95.05 is installed and not loaded: NVIDIA-SMI has failed because it couldn't "
                "communicate with the NVIDIA driver.",
                packages=PACKAGES,
            ),
        ),
    ],
)
def test_decisions(answers: dict[str, Any], expected: DriverPlan) -> None:
    """A healthy driver is left alone; a missing one is installed; one that is not loaded needs a reboot."""
    assert expected == decide(**answers)


@pytest.mark.parametrize(
    ("spec", "answers", "message"),
    [
        (
            {},
            {"driver": "575.57.08"},
            "driver 575.57.08 is healthy, but the planned image is built on CUDA 13 and needs driver 580 or newer. "
            "Upgrade the driver by hand, reboot, run again.",
        ),
        (
            {},
            {"gpus": (), "smi": (0, [])},
            "the driver answers and sees no GPU. Look into `dmesg | grep -i nvrm`.",
        ),
        (
            {"reboot": False},
            {"packages": {"nvidia-driver-cuda": "580.95.05-1"}, "smi": (9, ["failed"])},
            "driver 580.95.05 is installed and not loaded, which needs a reboot, and hermes_driver/reboot is False. "
            "Reboot by hand or set it to True.",
        ),
        (
            {"install": False},
            BARE,
            "no NVIDIA driver answers and hermes_driver/install is False. Install one by hand or set it to True.",
        ),
        (
            {},
            {**BARE, "os": ("ID=ubuntu", 'VERSION_ID="24.04"')},
            "drivers are installed on Debian 12 and 13 (x86_64); this is ubuntu 24.04 (x86_64). Install driver 580 by "
            "hand, reboot, run again.",
        ),
        (
            {},
            {**BARE, "machine": "aarch64"},
            "drivers are installed on Debian 12 and 13 (x86_64); this is debian 13 (aarch64). Install driver 580 by "
            "hand, reboot, run again.",
        ),
        (
            {},
            {"driver": None, "packages": {"nvidia-smi": "550.163", "libnvidia-ml1": "550.163", "docker.io": "26"}},
            "libnvidia-ml1, nvidia-smi from another source is installed and no driver answers. "
            "Purge it (apt-get purge libnvidia-ml1) or make it work, then run again.",
        ),
        (
            {},
            {**BARE, "secure_boot": True},
            "Secure Boot is on and a module built by DKMS is not signed for this firmware; enrolling a key needs a "
            "password at the console. Turn Secure Boot off or install a signed driver by hand.",
        ),
        (
            {},
            {**BARE, "gpus": (RTX_4090, V100)},
            "Tesla V100 32GB has no GSP and needs the proprietary kernel module, which Hermeion does not install yet. "
            "Install driver 580 (cuda-drivers) by hand, reboot, run again.",
        ),
        (
            {"reboot": False},
            BARE,
            "no driver is loaded, which needs a reboot, and hermes_driver/reboot is False. "
            "Reboot by hand or set it to True.",
        ),
    ],
)
def test_refusals(spec: dict[str, Any], answers: dict[str, Any], message: str) -> None:
    """What cannot work is refused before anything is changed, with the next step."""
    with pytest.raises(PlacementError) as caught:
        decide(DriverSpec.model_validate(spec), **answers)

    assert f"gpu-1: {message}" == str(caught.value)


@pytest.mark.parametrize(
    "packages", [{}, {"libnvidia-container1": "1.18.0-1", "libnvidia-container-tools": "1.18.0-1"}]
)
def test_container_toolkit_is_no_foreign_driver(packages: dict[str, str]) -> None:
    """The container toolkit's libraries are not a driver from another source."""
    assert "install" == decide(driver=None, packages=packages).action


def test_repositories_have_keys() -> None:
    """Each system with a repository has the checksum of that repository's keyring."""
    assert {version for _, version in CUDA_REPOSITORIES} == set(KEYRING_SHA256)
