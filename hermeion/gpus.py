"""GPU models by PCI id, and what the driver says about each GPU.

The table is ``data/gpus.toml``; a GPU can be planned from its PCI id alone, before any driver exists.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from hermeion.errors import ProbeError
from hermeion.records import Record
from hermeion.units import MIB

# One query, core fields only: one unknown field makes nvidia-smi refuse the whole query (exit code 2).
SMI_FIELDS = ("uuid", "name", "pci.bus_id", "memory.total", "memory.used", "compute_cap", "driver_version")

NVSWITCH_IDS = frozenset({"1ae8", *(f"1af{d:x}" for d in range(16)), *(f"22a{d:x}" for d in range(16))})
"""PCI device ids of NVSwitches (nvswitch.c of the open kernel modules). A bridge of NVIDIA's that is not
listed here, such as Grace's 22b1 root port, is not an NVSwitch."""


class GpuModel(Record):
    """A product.

    Attributes:
        name: NVIDIA's name for it.
        pci_ids: PCI device ids, lower-case hexadecimal without ``0x``; ``2bb3:227a`` with the board's id where one
            device id stands for several products.
        memory: What the driver reports as total, in bytes; the smallest figure seen.
        architecture: ``ampere``, ``ada`` …
        compute_capability: ``(8, 9)`` is Ada.
        min_driver: Oldest driver branch that knows it.
        bandwidth: Memory bandwidth, bytes per second.
    """

    name: str
    pci_ids: tuple[str, ...]
    memory: int
    architecture: str
    compute_capability: tuple[int, int]
    min_driver: int
    bandwidth: int


class SmiGpu(Record):
    """One GPU as ``nvidia-smi`` reports it.

    Attributes:
        uuid: ``GPU-…``.
        pci_address: ``0000:17:00.0``, the form sysfs uses.
        name: The driver's product name.
        memory: Total memory in bytes.
        memory_used: Memory in use by anyone, in bytes.
        compute_capability: As ``(major, minor)``.
        driver: Version of the loaded driver.
    """

    uuid: str
    pci_address: str
    name: str
    memory: int
    memory_used: int
    compute_capability: tuple[int, int]
    driver: str


@cache
def gpu_models() -> Mapping[str, GpuModel]:
    """Every known GPU model by PCI device id."""
    table = tomllib.loads(files("hermeion.data").joinpath("gpus.toml").read_text())
    models: dict[str, GpuModel] = {}
    for row in table["gpu"]:
        memory = row.pop("memory_mib") * MIB
        model = GpuModel(
            memory=memory,
            bandwidth=row.pop("bandwidth_gb") * 10**9,
            pci_ids=tuple(row.pop("pci_ids")),
            **row,
        )
        for pci_id in model.pci_ids:
            models[pci_id] = model
    return models


def find_model(device_id: str, subsystem: str = "") -> GpuModel | None:
    """The GPU model of a PCI device; where one id stands for several products, the board's id decides."""
    models = gpu_models()
    return models.get(f"{device_id}:{subsystem}") or models.get(device_id)


def normalise_pci_address(address: str) -> str:
    """``00000000:1B:00.0`` (nvidia-smi) becomes ``0000:1b:00.0`` (sysfs)."""
    domain, _, rest = address.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"


def parse_nvidia_smi(rows: Iterable[str]) -> tuple[SmiGpu, ...]:
    """Rows of ``--query-gpu`` with :data:`SMI_FIELDS`, in PCI order.

    Memory arrives in MiB and leaves in bytes.

    Raises:
        ProbeError: A row has another number of columns or a number cannot be read; the row is quoted.
    """
    gpus = []
    for row in rows:
        cells = row.split(", ")
        try:
            uuid, name, address, total, used, capability, driver = cells
            major, minor = capability.split(".")
            gpus.append(
                SmiGpu(
                    uuid=uuid,
                    name=name,
                    pci_address=normalise_pci_address(address),
                    memory=int(total) * MIB,
                    memory_used=int(used) * MIB,
                    compute_capability=(int(major), int(minor)),
                    driver=driver,
                )
            )
        except ValueError as error:
            raise ProbeError(f"nvidia-smi printed a row that cannot be read: {row!r}") from error
    return tuple(sorted(gpus, key=lambda gpu: gpu.pci_address))
