"""The CDI specification: what containers are given for a GPU's name."""

from __future__ import annotations

from hermeion.probe import Probe
from hermeion.records import Record

AUTOMATIC = "/var/run/cdi/nvidia.yaml"
"""Written by the toolkit's own service since 1.18."""

BY_HAND = ("/etc/cdi/nvidia.yaml", "/etc/cdi/nvidia.json")
"""Where NVIDIA's older guides had people write one; no service renews it."""

OLDEST_FOR_GIDS = (26, 1, 0)
"""Docker before it cannot read version 0.7 of CDI, which the toolkit writes since 1.19.1 (its release notes)."""


class Specification(Record):
    """What happens to the CDI specifications.

    Attributes:
        generate: Whether the automatic one is generated anew.
        remove: Specifications made by hand that are moved aside.
    """

    generate: bool = False
    remove: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def decide_specification(
    probe: Probe, *, uuids: frozenset[str], driver_changes: bool, toolkit_changes: bool
) -> Specification:
    """Whether the specification has to be generated anew, and which others stand in its way.

    Args:
        uuids: GPUs that the services are planned on; empty: all that the driver shows.
    """
    wanted = uuids or frozenset(gpu.uuid for gpu in probe.smi or () if not gpu.mig)
    automatic = [spec for spec in probe.cdi if spec.path == AUTOMATIC]
    by_hand = [spec for spec in probe.cdi if spec.path in BY_HAND]
    others = [spec for spec in probe.cdi if spec not in automatic and spec not in by_hand]
    counted = automatic or by_hand
    unlisted = sorted(wanted - {name for spec in counted for name in spec.devices})
    missing = [f"{spec.path} names {spec.missing[0]}, which is not there" for spec in counted if spec.missing]
    reasons: list[str] = []
    if driver_changes:
        reasons.append("The driver changes, and with it the CDI specification.")
    elif wanted and not counted:
        reasons.append("There is no CDI specification of the GPUs.")
    elif unlisted:
        reasons.append(f"The CDI specification does not list {', '.join(unlisted)}.")
    elif missing:
        reasons.append(f"The CDI specification is stale: {missing[0]}.")
    generate = bool(reasons) or (toolkit_changes and bool(wanted))
    remove = tuple(
        spec.path for spec in by_hand if generate or any(spec.devices & other.devices for other in automatic)
    )
    reasons += [f"{path}, made by hand, names the same GPUs as {AUTOMATIC}: it is moved aside." for path in remove]
    remarks = [
        f"{spec.path} was made by hand: nothing renews it when the driver changes."
        for spec in by_hand
        if spec.path not in remove
    ]
    remarks += [
        f"{spec.path} names the same GPUs as {spec_.path}; Docker gives out neither where both are of the same kind."
        for spec in others
        for spec_ in counted
        if spec.devices & spec_.devices
    ]
    return Specification(generate=generate, remove=remove, reasons=tuple(reasons), remarks=tuple(remarks))
