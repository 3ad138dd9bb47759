"""What to do about a host's NVIDIA driver, as a pure decision with its reason.

Debian 12 and 13 from NVIDIA's CUDA repository (or its mirror); other systems must bring a driver.
"""

from __future__ import annotations

from hermeion.errors import PlacementError
from hermeion.hosts import Host
from hermeion.inventory import DriverSpec
from hermeion.plans import DriverPlan
from hermeion.probe import Probe

CUDA_REPOSITORIES = {
    ("debian", "12"): "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/",
    ("debian", "13"): "https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/",
}

# SHA-256 of cuda-keyring_1.1-1_all.deb (GoogleCloudPlatform/compute-gpu-installation, config.py).
KEYRING_SHA256 = {
    "12": "e7f219eab6fe4819cdb5c15b98233dc3420302d9c00883219cd3d896857cf48d",
    "13": "dd28f1f6ba0038180d6b23f846cefca1e3de4c9327751665241370bacea452a1",
}


def driver_packages(probe: Probe, host: Host, branch: int) -> tuple[str, ...]:
    """Packages of the compute-only driver with the open kernel module, in one transaction."""
    packages = [
        f"nvidia-driver-pinning-{branch}",
        f"linux-headers-{probe.kernel}",
        "nvidia-kernel-open-dkms",
        "nvidia-driver-cuda",
        "nvidia-persistenced",
    ]
    if host.nvswitch:
        packages.append("nvidia-fabricmanager")
    return tuple(packages)


def decide_driver(spec: DriverSpec, host: Host, probe: Probe, needed_branch: int) -> DriverPlan:
    """Leave alone, install, or reboot.

    Args:
        needed_branch: Oldest driver branch that the planned images run on.

    Raises:
        PlacementError: What is there cannot work and must not be changed; the message says what to do.
    """
    name = host.name
    if probe.smi:
        version = probe.smi[0].driver
        if int(version.split(".")[0]) < needed_branch:
            raise PlacementError(
                f"{name}: driver {version} is healthy, but the planned image is built on CUDA 13 and needs "
                f"driver {needed_branch} or newer. Upgrade the driver by hand, reboot, run again."
            )
        return DriverPlan(action="leave alone", reason=f"driver {version} answers and is new enough")
    if probe.smi is not None:
        raise PlacementError(f"{name}: the driver answers and sees no GPU. Look into `dmesg | grep -i nvrm`.")
    if "nvidia-driver-cuda" in probe.packages:
        version = probe.packages["nvidia-driver-cuda"].split("-")[0]
        _may_reboot(name, spec, f"driver {version} is installed and not loaded")
        return DriverPlan(
            action="reboot",
            reason=f"driver {version} is installed and not loaded: {probe.smi_text[:120]}",
            packages=driver_packages(probe, host, spec.branch),
        )
    if not spec.install:
        raise PlacementError(
            f"{name}: no NVIDIA driver answers and hermes_driver/install is False. "
            "Install one by hand or set it to True."
        )
    if (probe.os_id, probe.os_version) not in CUDA_REPOSITORIES or probe.machine != "x86_64":
        raise PlacementError(
            f"{name}: drivers are installed on Debian 12 and 13 (x86_64); this is {probe.os_id} "
            f"{probe.os_version} ({probe.machine}). Install driver {needed_branch} by hand, reboot, run again."
        )
    foreign = sorted(
        package
        for package in probe.packages
        if package.startswith(("nvidia-smi", "libnvidia-")) and not package.startswith("libnvidia-container")
    )
    if foreign:
        raise PlacementError(
            f"{name}: {', '.join(foreign[:3])} from another source is installed and no driver answers. "
            f"Purge it (apt-get purge {foreign[0]}) or make it work, then run again."
        )
    if probe.secure_boot:
        raise PlacementError(
            f"{name}: Secure Boot is on and a module built by DKMS is not signed for this firmware; enrolling "
            "a key needs a password at the console. Turn Secure Boot off or install a signed driver by hand."
        )
    old = [gpu.model for gpu in host.gpus if gpu.architecture in {"pascal", "volta"}]
    if old:
        raise PlacementError(
            f"{name}: {old[0]} has no GSP and needs the proprietary kernel module, which Hermeion does not "
            "install yet. Install driver 580 (cuda-drivers) by hand, reboot, run again."
        )
    _may_reboot(name, spec, "no driver is loaded")
    return DriverPlan(
        action="install",
        reason=f"no driver answers; branch {spec.branch} (LTS) with the open kernel module",
        packages=driver_packages(probe, host, spec.branch),
    )


def _may_reboot(name: str, spec: DriverSpec, why: str) -> None:
    if not spec.reboot:
        raise PlacementError(
            f"{name}: {why}, which needs a reboot, and hermes_driver/reboot is False. Reboot by hand or set it to True."
        )
