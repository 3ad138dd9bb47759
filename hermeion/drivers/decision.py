"""The decision: one function of what is wanted and what is there."""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.drivers.answering import answering_plan
from hermeion.drivers.case import Case
from hermeion.drivers.needs import Need
from hermeion.drivers.platforms import check_platform, foreign_plan
from hermeion.drivers.requirements import requirements_of
from hermeion.drivers.silent import silent_plan
from hermeion.drivers.unfinished import unfinished_plan
from hermeion.hosts import Host
from hermeion.inventory import HostSpec
from hermeion.plans import DriverPlan
from hermeion.probe import Probe


def decide_driver(spec: HostSpec, host: Host, probe: Probe, needs: Sequence[Need]) -> DriverPlan:
    """Leave alone, install, upgrade, repair, or reboot.

    A driver that answers for its GPUs and is new enough for the images stays as it is, wherever it came from. Once a
    plan was applied, the same question on the new probe is answered with "leave alone".

    Args:
        needs: What the planned services ask of the driver.

    Raises:
        PlacementError: What is there cannot work and must not be changed; the message says what, why, and what to do.
    """
    case = Case(name=host.name, spec=spec, probe=probe, needs=needs)
    check_platform(case)
    if plan := foreign_plan(case):
        return plan
    requirements_of(case.name, probe, needs)  # GPUs that contradict one another, before anything else is said
    if plan := unfinished_plan(case):
        return plan
    version = case.answering
    if version and not case.mismatch:
        return answering_plan(case, version)
    return silent_plan(case)
