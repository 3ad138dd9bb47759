"""NVSwitches and what they need on the host: fabric manager, NVLSM, IMEX; by device id alone."""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.gpus import NVSWITCH_IDS
from hermeion.probe import PciDevice, Probe
from hermeion.records import Record

HGX_BLACKWELL = frozenset({"2901", "2909", "3182"})
"""B200 and B300 of HGX: their NVSwitches are behind InfiniBand functions, not on the PCI bus
(NVIDIA fabric manager user guide, "NVLink 5")."""

GRACE_BLACKWELL = frozenset({"2941", "31c2"})
"""GB200 and GB300: the fabric manager runs in the switch trays, the host has IMEX."""


class Fabric(Record):
    """What joins the GPUs of a host.

    Attributes:
        manager: Whether the fabric manager must run on the host.
        subnet: Whether NVLink's subnet manager must, too.
        imex: Whether memory is shared with other hosts over NVLink.
    """

    manager: bool = False
    subnet: bool = False
    imex: bool = False


def fabric_of(pci: Sequence[PciDevice]) -> Fabric:
    """By device ids: a bridge of NVIDIA's that is not listed (Grace's 22b1 root port) means nothing."""
    gpus = {device.device_id for device in pci if device.is_gpu}
    if gpus & GRACE_BLACKWELL:
        return Fabric(imex=True)
    if gpus & HGX_BLACKWELL:
        return Fabric(manager=True, subnet=True)
    return Fabric(manager=any(d.device_id in NVSWITCH_IDS and d.pci_class.startswith("0680") for d in pci))


SETTLED = frozenset({"Completed", "N/A", "[N/A]", "Not Supported", "[Not Supported]"})
"""States of a GPU's fabric that need nothing; A100's driver has no state to report."""


def unsettled(probe: Probe) -> str | None:
    """The state of the first GPU that is not joined, or ``None``."""
    return next((state for state in probe.fabric if state not in SETTLED), None)
