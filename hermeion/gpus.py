"""GPU models by PCI id, and what the driver says about each GPU.

The table is ``data/gpus.toml``; a GPU can be planned from its PCI id alone, before any driver exists.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from hermeion.errors import ProbeError
from hermeion.records import Record
from hermeion.units import MIB

# One query, core fields only: one unknown field makes nvidia-smi refuse the whole query (exit code 2).
SMI_FIELDS = (
    "uuid",
    "name",
    "pci.bus_id",
    "memory.total",
    "memory.used",
    "compute_cap",
    "driver_version",
    "mig.mode.current",
)

SMI_TO_CUDA = 768 * MIB
"""What CUDA sees is at most this much less than ``nvidia-smi``'s total (0.46 to 0.75 GiB on the cards compared)."""

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
        cuda_memory: What CUDA sees of ``memory``, in bytes.
        also: Other totals that drivers print for it, in bytes.
        unified: Whether it shares the host's memory; ``memory`` is then the host's.
    """

    name: str
    pci_ids: tuple[str, ...]
    memory: int
    architecture: str
    compute_capability: tuple[int, int]
    min_driver: int
    bandwidth: int
    cuda_memory: int
    also: tuple[int, ...] = ()
    unified: bool = False


class SmiGpu(Record):
    """One GPU as ``nvidia-smi`` reports it.

    Attributes:
        uuid: ``GPU-…``.
        pci_address: ``0000:17:00.0``, the form sysfs uses.
        name: The driver's product name.
        memory: Total memory in bytes, or ``None``: it has none of its own and shares the host's.
        memory_used: Memory in use by anyone, in bytes; ``None`` with ``memory``.
        compute_capability: As ``(major, minor)``; ``None`` when a GPU in trouble does not say.
        driver: Version of the loaded driver.
        mig: Whether it is cut into MIG slices.
        trouble: What it says instead of numbers when it needs a reset or is lost: ``GPU requires reset``.
    """

    uuid: str
    pci_address: str
    name: str
    memory: int | None
    memory_used: int | None
    compute_capability: tuple[int, int] | None
    driver: str
    mig: bool = False
    trouble: str | None = None


@cache
def gpu_models() -> Mapping[str, GpuModel]:
    """Every known GPU model by PCI device id."""
    table = tomllib.loads(files("hermeion.data").joinpath("gpus.toml").read_text())
    models: dict[str, GpuModel] = {}
    for row in table["gpu"]:
        memory = row.pop("memory_mib") * MIB
        seen = row.pop("cuda_mib", None)
        model = GpuModel(
            memory=memory,
            cuda_memory=seen * MIB if seen else memory - SMI_TO_CUDA,
            bandwidth=row.pop("bandwidth_gb") * 10**9,
            pci_ids=tuple(row.pop("pci_ids")),
            also=tuple(mib * MIB for mib in row.pop("also_mib", ())),
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


NOT_SAID = frozenset({"[N/A]", "N/A", "[Not Supported]", "Not Supported"})
"""What stands for a figure that a GPU does not have."""


def _mib(cell: str) -> int | None:
    return None if cell in NOT_SAID else int(cell) * MIB


def _parse_row(row: str) -> SmiGpu:
    uuid, name, address, total, used, capability, driver, mig = row.split(", ")
    # libnvidia-ml's words: GPU requires reset, GPU is lost, Unknown Error, Insufficient Permissions, Timeout
    words = [cell[1:-1] for cell in (total, used, capability) if cell[:1] == "[" and cell not in NOT_SAID]
    if words:
        total, used, capability = "[N/A]", "[N/A]", "[N/A]"
    major, _, minor = capability.partition(".")
    return SmiGpu(
        uuid=uuid,
        name=name,
        pci_address=normalise_pci_address(address),
        memory=_mib(total),
        memory_used=_mib(used),
        compute_capability=None if words else (int(major), int(minor)),
        driver=driver,
        mig=mig == "Enabled",
        trouble=words[0] if words else None,
    )


def parse_nvidia_smi(rows: Iterable[str]) -> tuple[SmiGpu, ...]:
    """Rows of ``--query-gpu`` with :data:`SMI_FIELDS`, in PCI order.

    Memory arrives in MiB and leaves in bytes.

    Raises:
        ProbeError: A row has another number of columns or a number cannot be read; the row is quoted.
    """
    gpus = []
    for row in rows:
        try:
            gpus.append(_parse_row(row))
        except ValueError as error:
            raise ProbeError(f"nvidia-smi printed a row that cannot be read: {row!r}") from error
    return tuple(sorted(gpus, key=lambda gpu: gpu.pci_address))


ANSI = re.compile(r"\x1b\[[0-9;]*m")


def parse_topology(rows: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of GPUs (places in PCI order) that ``nvidia-smi topo -m`` shows joined by NVLink.

    A cell ``NV18`` is 18 links; ``SYS``, ``NODE``, ``PHB``, ``PXB``, ``PIX`` go over PCIe.
    """
    pairs = set()
    for row in rows:
        cells = ANSI.sub("", row).split("\t")
        match = re.fullmatch(r"GPU(\d+)", cells[0].strip())
        if not match or len(cells) < 2:
            continue
        for column, cell in enumerate(cells[1:]):
            if re.fullmatch(r"NV\d+", cell.strip()):
                pairs.add((min(int(match[1]), column), max(int(match[1]), column)))
    return tuple(sorted(pairs))


ARCHITECTURES: tuple[tuple[int, int, str], ...] = (
    (0x1340, 0x1436, "maxwell"),
    (0x15C2, 0x15FF, "pascal"),
    (0x1613, 0x1676, "maxwell"),
    (0x1725, 0x172F, "pascal"),
    (0x174D, 0x17FD, "maxwell"),
    (0x1B00, 0x1D56, "pascal"),
    (0x1D81, 0x1DF6, "volta"),
    (0x1E02, 0x1FF9, "turing"),
    (0x2182, 0x21D1, "turing"),
    (0x2080, 0x20FF, "ampere"),
    (0x2200, 0x223F, "ampere"),
    (0x2414, 0x25FB, "ampere"),
    (0x2302, 0x23F0, "hopper"),
    (0x2681, 0x28F8, "ada"),
    (0x2900, 0x29FF, "blackwell"),
    (0x2B80, 0x2F58, "blackwell"),  # GB10 among them
    (0x3000, 0x30FF, "rubin"),
    (0x3180, 0x31FF, "blackwell"),
)
"""Ranges of PCI device ids by architecture (chip codes in pci.ids 0.0~2026.10.24)."""


def architecture_of(device_id: str) -> str:
    """Architecture of a GPU that is not in the table, by the range of its id; ``unknown`` outside all of them."""
    number = int(device_id, 16)
    return next((name for first, last, name in ARCHITECTURES if first <= number <= last), "unknown")
