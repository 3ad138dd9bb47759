"""One host as plans see it: what is declared and what is observed, joined."""

from __future__ import annotations

from hermeion.errors import PlacementError
from hermeion.gpus import NVSWITCH_IDS, GpuModel, find_model
from hermeion.probe import PciDevice, Probe
from hermeion.records import Record

MEASURED_TOLERANCE = 0.02
"""The table's memory of a known GPU counts as long as the measured one lies this close to it: a plan must not
change because a driver arrived."""


class Gpu(Record):
    """One GPU of a host.

    Attributes:
        pci_address: ``0000:17:00.0``; gives a stable order.
        uuid: ``GPU-…``, or ``None`` until a driver has answered.
        model: Product name.
        memory: Total memory in bytes.
        free: Bytes that nobody but our own services holds.
        architecture: ``ada``, ``hopper`` …
        compute_capability: As ``(major, minor)``.
    """

    pci_address: str
    uuid: str | None
    model: str
    memory: int
    free: int
    architecture: str
    compute_capability: tuple[int, int]


class Host(Record):
    """A host with its GPUs in PCI order."""

    name: str
    gpus: tuple[Gpu, ...]
    nvswitch: bool


def _known(name: str, device: PciDevice) -> GpuModel:
    model = find_model(device.device_id, device.subsystem)
    if model is None:
        raise PlacementError(
            f"{name}: the NVIDIA GPU at {device.address} (10de:{device.device_id}) is not in the table of GPUs. "
            "Add it to hermeion/data/gpus.toml."
        )
    return model


def reconcile(name: str, probe: Probe) -> Host:
    """Join the PCI bus with what the driver says.

    Raises:
        PlacementError: A GPU is unknown, or the driver sees other GPUs than the PCI bus; both sides are shown.
    """
    seen = {gpu.pci_address: gpu for gpu in probe.smi} if probe.smi is not None else {}
    on_bus = {device.address for device in probe.gpus}
    if probe.smi is not None and set(seen) != on_bus:
        raise PlacementError(
            f"{name}: the driver sees {len(seen)} GPUs ({', '.join(sorted(seen)) or 'none'}), the PCI bus has "
            f"{len(on_bus)} ({', '.join(sorted(on_bus)) or 'none'}). A GPU may have fallen off the bus: "
            "look into `dmesg | grep -i nvrm`, reboot, run again."
        )
    # Memory that our own engines hold does not count as taken: the plan must not move because it was applied.
    ours = {
        gpu["uuid"]
        for _, plan in probe.releases.values()
        for gpu in plan.get("gpus", ())  # type: ignore[attr-defined]
    }
    gpus = []
    for device in probe.gpus:
        model = _known(name, device)
        measured = seen.get(device.address)
        memory = model.memory
        if measured and abs(measured.memory - memory) > MEASURED_TOLERANCE * memory:
            memory = measured.memory
        taken = measured.memory_used if measured and measured.uuid not in ours else 0
        gpus.append(
            Gpu(
                pci_address=device.address,
                uuid=measured.uuid if measured else None,
                model=model.name,
                memory=memory,
                free=memory - taken,
                architecture=model.architecture,
                compute_capability=model.compute_capability,
            )
        )
    return Host(
        name=name,
        gpus=tuple(gpus),
        nvswitch=any(d.device_id in NVSWITCH_IDS and d.pci_class.startswith("0680") for d in probe.pci),
    )
