"""A PCI tree as the kernel shows it under ``/sys/bus/pci/devices``, written to disk.

Bind-mounted into a host over the real folder, it makes the real ``lspci`` (and everything else that reads
sysfs) see the boards of a GPU set and none of the machine's own devices.
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from .sets import BOARDS_MAX, GpuSet

NVIDIA = 0x10DE
SWITCH_CLASS = 0x068000
_BUSES = (0x01, 0x21, 0x41, 0x61, 0x81, 0xA1, 0xC1, 0xE1)
_HGX_BUSES = (0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF)  # as in a DGX H100
_SWITCH_BUS = 0x07  # a DGX H100 has its four NVSwitches at 07 to 0a
_CONFIG_BYTES = 256


@dataclass(frozen=True)
class PciFunction:
    """One function on the bus."""

    bus: int
    device: int
    pci_class: int
    subsystem_vendor: int
    subsystem_device: int
    numa_node: int
    vendor: int = NVIDIA
    revision: int = 0xA1

    @property
    def address(self) -> str:
        """sysfs form: domain, bus, device and function in lower-case hexadecimal."""
        return f"0000:{self.bus:02x}:00.0"


def functions_of(gpus: GpuSet) -> list[PciFunction]:
    """Every function that a host with this set shows, in bus order."""
    form = gpus.form
    if form is None:
        return []
    whole_board = gpus.count == BOARDS_MAX and form.switches > 0
    buses = _HGX_BUSES if whole_board else _BUSES
    found = [
        PciFunction(
            bus=bus,
            device=form.device,
            pci_class=form.pci_class,
            subsystem_vendor=form.subsystem_vendor,
            subsystem_device=form.subsystem_device,
            numa_node=0 if place < gpus.count / 2 else 1,
        )
        for place, bus in enumerate(buses[: gpus.count])
    ]
    if whole_board and form.switch is not None:
        found += [
            PciFunction(_SWITCH_BUS + place, form.switch, SWITCH_CLASS, NVIDIA, 0x1796, 0)
            for place in range(form.switches)
        ]
    return sorted(found, key=lambda function: function.bus)


def config_space(function: PciFunction) -> bytes:
    """The 256 bytes of configuration space that ``lspci`` reads: a type 0 header, the rest zero."""
    header = bytearray(_CONFIG_BYTES)
    struct.pack_into("<HHHH", header, 0x00, function.vendor, function.device, 0x0406, 0x0010)
    struct.pack_into("<I", header, 0x08, function.pci_class << 8 | function.revision)
    struct.pack_into("<HH", header, 0x2C, function.subsystem_vendor, function.subsystem_device)
    return bytes(header)


def write_tree(gpus: GpuSet, root: Path) -> None:
    """Make ``root`` the tree of ``gpus``; an earlier tree there is emptied in place, since it may be mounted."""
    root.mkdir(parents=True, exist_ok=True)
    wanted = {function.address: function for function in functions_of(gpus)}
    for old in root.iterdir():
        if old.name not in wanted:
            shutil.rmtree(old)
    for address, function in wanted.items():
        _write_function(function, root / address)


def _write_function(function: PciFunction, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    texts = {
        "vendor": f"0x{function.vendor:04x}",
        "device": f"0x{function.device:04x}",
        "class": f"0x{function.pci_class:06x}",
        "subsystem_vendor": f"0x{function.subsystem_vendor:04x}",
        "subsystem_device": f"0x{function.subsystem_device:04x}",
        "revision": f"0x{function.revision:02x}",
        "irq": "16",
        "numa_node": str(function.numa_node),
        "enable": "1",
        # Thirteen regions, all unused: no address is real, and nothing maps them.
        "resource": "\n".join(["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * 13),
    }
    for name, text in texts.items():
        (folder / name).write_text(text + "\n", encoding="ascii")
    (folder / "config").write_bytes(config_space(function))
