"""What a host answers to ``probe.sh``, parsed: the only facts that plans are made from."""

from hermeion.probe.containers import Container, Docker
from hermeion.probe.drivers import BrokenPackage, DaemonUnit, DkmsBuild, Driver, Holder, Kernel
from hermeion.probe.parse import SECTIONS, boot_script, parse_probe, probe_script
from hermeion.probe.records import Address, CdiSpec, Disk, ManagedFile, PciDevice, Probe, Unit

__all__ = [
    "SECTIONS",
    "Address",
    "BrokenPackage",
    "CdiSpec",
    "Container",
    "DaemonUnit",
    "Disk",
    "DkmsBuild",
    "Docker",
    "Driver",
    "Holder",
    "Kernel",
    "ManagedFile",
    "PciDevice",
    "Probe",
    "Unit",
    "boot_script",
    "parse_probe",
    "probe_script",
]
