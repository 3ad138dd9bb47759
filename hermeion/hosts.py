"""One host as plans see it: what is declared and what is observed, joined."""

from __future__ import annotations

from hermeion.errors import PlacementError
from hermeion.gpus import NVSWITCH_IDS, SMI_TO_CUDA, GpuModel, SmiGpu, architecture_of, find_model
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
        cuda: What CUDA sees of ``memory``, in bytes.
        free: Bytes that nobody but our own services holds.
        architecture: ``ada``, ``hopper`` …
        compute_capability: As ``(major, minor)``.
        bandwidth: Memory bandwidth in bytes per second; 0: not known.
        numa: NUMA node, or -1: not known.
    """

    pci_address: str
    uuid: str | None
    model: str
    memory: int
    cuda: int
    free: int
    architecture: str
    compute_capability: tuple[int, int]
    bandwidth: int = 0
    numa: int = -1


class UnusableGpu(Record):
    """A GPU that nothing can be placed on, and why: one sentence with the next step."""

    pci_address: str
    model: str
    reason: str


class Host(Record):
    """A host with its GPUs in PCI order.

    Attributes:
        nvlinks: Pairs of PCI addresses that NVLink joins; with ``nvswitch`` all GPUs are joined.
    """

    name: str
    gpus: tuple[Gpu, ...]
    unusable: tuple[UnusableGpu, ...] = ()
    nvswitch: bool
    nvlinks: frozenset[tuple[str, str]] = frozenset()


def gpus_of(model: GpuModel, count: int) -> tuple[Gpu, ...]:
    """So many GPUs of a model that nobody has to own, all memory free."""
    return tuple(
        Gpu(
            pci_address=f"0000:{index + 1:02x}:00.0",
            uuid=None,
            model=model.name,
            memory=model.memory,
            cuda=model.cuda_memory,
            free=model.memory,
            architecture=model.architecture,
            compute_capability=model.compute_capability,
            bandwidth=model.bandwidth,
        )
        for index in range(count)
    )


def _reported(device: PciDevice, seen: SmiGpu) -> GpuModel | None:
    """A GPU that is not in the table, as the driver reports it."""
    if seen.memory is None or seen.compute_capability is None:
        return None
    return GpuModel(
        name=seen.name,
        pci_ids=(device.device_id,),
        memory=seen.memory,
        cuda_memory=seen.memory - SMI_TO_CUDA,
        architecture=architecture_of(device.device_id),
        compute_capability=seen.compute_capability,
        min_driver=int(seen.driver.split(".")[0]),
        bandwidth=0,
    )


def _trouble(seen: SmiGpu | None, probe: Probe) -> str | None:
    """Why a known GPU cannot be used, or ``None``."""
    if seen is None:
        return None
    if seen.trouble:
        return (
            f"nvidia-smi says {seen.trouble!r}. Stop what runs on it and reset it (nvidia-smi --gpu-reset -i "
            f"{seen.uuid}), or reboot the host; then run again"
        )
    if seen.mig:
        return (
            f"it is cut into MIG slices, which Hermeion does not serve on. Join them (nvidia-smi -i {seen.uuid} "
            "-mig 0), or leave it to others"
        )
    if seen.memory is None and not probe.memory:
        return "it reports no memory of its own, and /proc/meminfo could not be read"
    return None


def _memory(model: GpuModel, seen: SmiGpu | None, probe: Probe, *, is_ours: bool) -> tuple[int, int, int]:
    """Total, what CUDA sees of it, and what is free, in bytes."""
    unified = model.unified or (seen is not None and seen.memory is None)
    measured = probe.memory if unified else (seen.memory if seen else None)
    memory, cuda = model.memory, model.cuda_memory
    if measured and abs(measured - memory) > MEASURED_TOLERANCE * memory:
        memory = measured
        cuda = measured if unified else measured - SMI_TO_CUDA
    # Memory that our own engines hold does not count as taken: the plan must not move because it was applied.
    if is_ours or seen is None:
        return memory, cuda, memory
    taken = memory - probe.memory_available if unified else (seen.memory_used or 0)
    return memory, cuda, memory - max(0, taken)


def _check_bus(name: str, probe: Probe) -> dict[str, SmiGpu]:
    """What the driver says by PCI address, once it agrees with the bus."""
    if probe.smi is None:
        return {}
    seen = {gpu.pci_address: gpu for gpu in probe.smi}
    on_bus = {device.address for device in probe.gpus}
    if set(seen) != on_bus:
        raise PlacementError(
            f"{name}: the driver sees {len(seen)} GPUs ({', '.join(sorted(seen)) or 'none'}), the PCI bus has "
            f"{len(on_bus)} ({', '.join(sorted(on_bus)) or 'none'}). A GPU may have fallen off the bus: "
            "look into `dmesg | grep -i nvrm`, reboot, run again."
        )
    return seen


def reconcile(name: str, probe: Probe) -> Host:
    """Join the PCI bus with what the driver says.

    A GPU that is in neither the table nor the driver's answer, is cut into slices, or needs a reset is left out, and
    why is said; the others can be planned.

    Raises:
        PlacementError: The driver sees other GPUs than the PCI bus; both sides are shown.
    """
    seen = _check_bus(name, probe)
    ours = {
        gpu["uuid"]
        for _, plan in probe.releases.values()
        for gpu in plan.get("gpus", ())  # type: ignore[attr-defined]
    }
    gpus: list[Gpu] = []
    unusable: list[UnusableGpu] = []
    for device in probe.gpus:
        smi = seen.get(device.address)
        model = find_model(device.device_id, device.subsystem) or (_reported(device, smi) if smi else None)
        if model is None:
            reason = (
                f"the NVIDIA GPU 10de:{device.device_id} ({architecture_of(device.device_id)}) is not in the table of "
                "GPUs and no driver tells what it is. Install a driver, or add it to hermeion/data/gpus.toml"
            )
            unusable.append(UnusableGpu(pci_address=device.address, model="unknown", reason=reason))
            continue
        if trouble := _trouble(smi, probe):
            unusable.append(UnusableGpu(pci_address=device.address, model=model.name, reason=trouble))
            continue
        memory, cuda, free = _memory(model, smi, probe, is_ours=smi is not None and smi.uuid in ours)
        gpus.append(
            Gpu(
                pci_address=device.address,
                uuid=smi.uuid if smi else None,
                model=model.name,
                memory=memory,
                cuda=cuda,
                free=free,
                architecture=model.architecture,
                compute_capability=model.compute_capability,
                bandwidth=model.bandwidth,
                numa=device.numa,
            )
        )
    addresses = [device.address for device in probe.gpus]
    return Host(
        name=name,
        gpus=tuple(gpus),
        unusable=tuple(unusable),
        nvswitch=any(d.device_id in NVSWITCH_IDS and d.pci_class.startswith("0680") for d in probe.pci),
        nvlinks=frozenset((addresses[a], addresses[b]) for a, b in probe.nvlinks if b < len(addresses)),
    )
