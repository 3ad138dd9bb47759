"""What the GPUs and the images of a host ask of its driver: bounds, each with who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hermeion.drivers.needs import Need
from hermeion.drivers.tables import ARCHITECTURES, gpu_minima
from hermeion.drivers.versions import Version, covers, floor_of, show
from hermeion.errors import PlacementError
from hermeion.gpus import architecture_of, find_model
from hermeion.probe import PciDevice, Probe
from hermeion.records import Record

LAST_FOR_OLD = 580
"""Last branch with Maxwell, Pascal and Volta (NVIDIA's announcement for 590; driver installation guide 595)."""

GRACE_HOPPER = frozenset({"2342", "2348"})
"""GH200: only the open module knows its coherent memory."""

Flavour = Literal["open", "proprietary"]


class Bound(Record):
    """A lower bound: who asks, for what, and the first version of each branch that has it."""

    subject: str
    words: str
    minima: tuple[Version, ...]

    def met_by(self, version: Version) -> bool:
        """Whether a driver of this version is new enough."""
        return covers(self.minima, version)


class Requirements(Record):
    """What a driver must be.

    Attributes:
        images: Bounds of the planned services.
        gpus: Bounds of the GPUs.
        old: The GPU that no branch after 580 knows, or ``None``.
        flavour: Kernel module that is installed where there is none.
        flavour_for: The GPU that can do with this flavour only, or ``None``: with either.
    """

    images: tuple[Bound, ...]
    gpus: tuple[Bound, ...]
    old: str | None
    flavour: Flavour
    flavour_for: str | None


def label(device: PciDevice) -> str:
    """A GPU by name and PCI id."""
    model = find_model(device.device_id, device.subsystem)
    return f"{model.name if model else 'an NVIDIA GPU'} (10de:{device.device_id})"


def architecture(device: PciDevice) -> str:
    """Architecture by the table, else by the range of the id; ``unknown`` outside all of them."""
    model = find_model(device.device_id, device.subsystem)
    return model.architecture if model else architecture_of(device.device_id)


def _gpu_bound(device: PciDevice) -> Bound | None:
    model = find_model(device.device_id, device.subsystem)
    minima = gpu_minima(device.device_id, device.subsystem) or (((model.min_driver,),) if model else None)
    if minima is None:
        return None
    words = f"is known to driver {' and '.join(show(minimum) for minimum in minima)} and newer"
    return Bound(subject=label(device), words=words, minima=minima)


def requirements_of(name: str, probe: Probe, needs: Sequence[Need]) -> Requirements:
    """Bounds and flavour, from the GPUs on the bus and the planned images.

    Raises:
        PlacementError: The GPUs need different kernel modules, or one of them is newer than this release.
    """
    devices = probe.gpus
    for device in devices:
        # What a driver that is there already answers for is no riddle.
        if architecture(device) not in ARCHITECTURES and not probe.smi:
            raise PlacementError(
                f"{name}: the NVIDIA GPU 10de:{device.device_id} at {device.address} is newer than this release knows: "
                "nobody can say which driver it needs. Install its driver by hand and reboot, or take a newer Hermeion."
            )
    old = next((d for d in devices if architecture(d) in {"maxwell", "pascal", "volta"}), None)
    new = next((d for d in devices if architecture(d) == "blackwell" or d.device_id in GRACE_HOPPER), None)
    if old and new:
        raise PlacementError(
            f"{name}: its GPUs need different kernel modules: {label(old)} has no GSP and needs the proprietary one, "
            f"{label(new)} needs the open one, and a host can load only one. Move one of them to another host."
        )
    only = old or new
    return Requirements(
        images=tuple(Bound(subject=n.image, words=n.reason, minima=n.minima) for n in needs),
        gpus=tuple(dict.fromkeys(bound for device in devices if (bound := _gpu_bound(device)))),
        old=label(old) if old else None,
        flavour="proprietary" if old else "open",
        flavour_for=label(only) if only else None,
    )


def first_unmet(bounds: Sequence[Bound], version: Version) -> Bound | None:
    """The first bound that a driver of this version does not meet."""
    return next((bound for bound in bounds if not bound.met_by(version)), None)


def check_branch(name: str, requirements: Requirements, branch: int) -> Version:
    """The oldest version of a branch that meets every bound.

    Raises:
        PlacementError: No version of it does; the message names the GPU or the image.
    """
    lowest: Version = (branch,)
    for bound in (*requirements.gpus, *requirements.images):
        floor = floor_of(bound.minima, branch)
        if floor is None and requirements.old and bound.minima[0][0] > LAST_FOR_OLD:
            raise PlacementError(
                f"{name}: {bound.subject} {bound.words}, and {requirements.old} is not known to any driver after "
                f"{LAST_FOR_OLD}. Choose an older image, or move that GPU to another host."
            )
        if floor is None:
            raise PlacementError(
                f"{name}: {bound.subject} {bound.words}, and hermes_driver/branch is {branch}. "
                "Set it to a newer one, or choose an older image."
            )
        lowest = max(lowest, floor)
    if requirements.old and branch > LAST_FOR_OLD:
        raise PlacementError(
            f"{name}: {requirements.old} is not known to any driver after {LAST_FOR_OLD}, and hermes_driver/branch is "
            f"{branch}. Set it to {LAST_FOR_OLD}."
        )
    return lowest
