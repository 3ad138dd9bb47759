"""Machines whose driver is somebody else's business: each is recognised by a file or an id."""

from __future__ import annotations

import re

from hermeion.drivers.case import Case
from hermeion.drivers.remarks import remarks_of_driver
from hermeion.plans import DriverPlan
from hermeion.probe import Probe

JETSON = frozenset({"2b00", "3400"})
"""Jetson AGX Thor."""
SPARK = "2e12"
"""GB10 of the DGX Spark."""
VGPU = re.compile(r"-\d+[ABCQ]$")
"""How NVIDIA names a slice that a hypervisor deals out: ``NVIDIA L40S-48Q``, ``GRID V100D-8Q``."""


def _somebody_else(probe: Probe) -> tuple[str, str] | None:
    """Whose driver it is, and where one is changed; ``None``: ours to decide on."""
    ids = {device.device_id for device in probe.pci if device.is_gpu}
    slices = [gpu.name for gpu in probe.smi or () if VGPU.search(gpu.name)]
    vgpu = slices[0] if slices else next((line for line in probe.driver.nvrm if "vGPU" in line), None)
    if "/dev/dxg" in probe.platform:
        return "this is WSL (/dev/dxg), whose driver is that of Windows", "Install NVIDIA's driver on Windows"
    if probe.guest:
        return (
            f"this is a container (systemd-detect-virt says {probe.guest}), whose driver is that of its host",
            "Install the driver on the host and give the container its devices and libraries, or take the host itself "
            "into the inventory",
        )
    if "/etc/dgx-release" in probe.platform:
        return "this is DGX OS (/etc/dgx-release), which brings its own driver", "Use DGX OS's own way to update it"
    if SPARK in ids:
        return (
            f"this is a DGX Spark (10de:{SPARK}), whose driver comes with DGX OS",
            "Use DGX OS's own way to update it, or its recovery image",
        )
    if vgpu:
        return (
            f"its GPU is a slice that a hypervisor deals out ({vgpu}), whose licensed driver fits the hypervisor's",
            "Install the vGPU guest driver that belongs to the hypervisor",
        )
    return None


def check_platform(case: Case) -> None:
    """Refuse where no driver of this kind can exist.

    Raises:
        PlacementError: A Jetson, or no GPU that this system may use; the message names the file, id or address.
    """
    probe = case.probe
    ids = {device.device_id for device in probe.pci if device.is_gpu}
    proof = "/etc/nv_tegra_release" if "/etc/nv_tegra_release" in probe.platform else None
    proof = proof or next((f"10de:{device_id}" for device_id in sorted(ids & JETSON)), None)
    if proof:
        raise case.refusal(
            f"this is a Jetson ({proof}), whose driver comes with JetPack. Hermeion serves on GPUs of PCIe and SXM; "
            "take the host out of the inventory."
        )
    passed = [device.address for device in probe.pci if device.is_gpu and device.driver == "vfio-pci"]
    if not probe.gpus and passed:
        raise case.refusal(
            f"every GPU is bound to vfio-pci ({', '.join(passed)}) and belongs to a virtual machine. Take that machine "
            "into the inventory, or give the GPUs back to this host."
        )
    if not probe.gpus and (found := _somebody_else(probe)):
        raise case.refusal(
            f"{found[0]}, and no GPU is on the PCI bus here: nothing can be planned on it. Take the "
            "host out of the inventory."
        )
    if not probe.gpus:
        raise case.refusal(
            "no NVIDIA GPU on the PCI bus. Take the host out of the inventory, or look whether the card is seated and "
            "not passed through to a guest (lspci -nn -d 10de:)."
        )


def foreign_plan(case: Case) -> DriverPlan | None:
    """What is decided about a driver that is somebody else's; ``None``: it is ours.

    Raises:
        PlacementError: It does not answer, or is too old.
    """
    found = _somebody_else(case.probe)
    if found is None:
        return None
    whose, remedy = found
    version = case.answering
    if version is None or case.mismatch:
        raise case.refusal(f"{whose}, and no driver answers here. {remedy}, then run again.")
    if unmet := case.unmet(version):
        raise case.refusal(
            f"{whose}; driver {version} answers, but {unmet.subject} {unmet.words}. {remedy}, or choose an older image."
        )
    return DriverPlan(
        action="leave alone",
        reason=f"driver {version} answers and is new enough; {whose}",
        remarks=remarks_of_driver(case, version, is_ours=False),
        version=version,
    )
