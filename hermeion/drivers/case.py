"""One host whose driver is decided on: everything that the decision reads, and what it may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hermeion.drivers.fabric import Fabric, fabric_of
from hermeion.drivers.installed import Installed, installed_driver
from hermeion.drivers.needs import Need
from hermeion.drivers.requirements import Bound, Requirements, first_unmet, requirements_of
from hermeion.drivers.versions import parse_version
from hermeion.errors import PlacementError
from hermeion.inventory import DriverSpec, HostSpec
from hermeion.plans import DriverPlan
from hermeion.probe import Holder, Probe


@dataclass(frozen=True)
class Case:
    """What is wanted, what is there, and what follows from both."""

    name: str
    spec: HostSpec
    probe: Probe
    needs: Sequence[Need]

    @property
    def may(self) -> DriverSpec:
        """How far the inventory lets us go."""
        return self.spec.hermes_driver

    @cached_property
    def installed(self) -> Installed:
        """The driver on the disk."""
        return installed_driver(self.probe)

    @cached_property
    def requirements(self) -> Requirements:
        """What GPUs and images ask for."""
        return requirements_of(self.name, self.probe, self.needs)

    @cached_property
    def fabric(self) -> Fabric:
        """What joins the GPUs."""
        return fabric_of(self.probe.pci)

    @property
    def answering(self) -> str | None:
        """Version of the driver that answers and sees GPUs, or ``None``."""
        return self.probe.smi[0].driver if self.probe.smi else None

    @property
    def mismatch(self) -> tuple[str, str] | None:
        """Versions of the loaded module and of the libraries, where they differ."""
        module, library = self.probe.driver.module, self.probe.driver.library
        return (module, library) if module and library and module != library else None

    def unmet(self, version: str) -> Bound | None:
        """The first image for which a driver is too old; the GPUs that it answers for need no table."""
        return first_unmet(self.requirements.images, parse_version(version))

    def refusal(self, text: str) -> PlacementError:
        """A refusal that names the host."""
        return PlacementError(f"{self.name}: {text}")


def others(probe: Probe) -> tuple[str, ...]:
    """Who else holds a GPU: containers by their name, other processes with their id."""
    found = []
    for holder in probe.holders:
        container = _container(holder, probe)
        if container is None:
            found.append(f"{holder.command} (process {holder.pid})")
        elif not container[1]:
            found.append(f"container {container[0]}")
    return tuple(dict.fromkeys(found))


def _container(holder: Holder, probe: Probe) -> tuple[str, bool] | None:
    """Name of the container that a process is in, and whether it is ours."""
    return next(
        ((c.name, bool(c.service)) for c in probe.containers if c.id and c.id in holder.unit),
        None,
    )


def check_undisturbed(case: Case, what: str) -> None:
    """Whether something may be done that takes the GPUs away from what runs.

    Args:
        what: The deed, as the subject of a sentence: ``Moving to driver branch 580``.

    Raises:
        PlacementError: Others or our own services use the GPUs, and the inventory does not let us interrupt them.
    """
    if case.spec.hermes_disrupt:
        return
    if busy := others(case.probe):
        raise case.refusal(
            f"{what} would end what uses its GPUs: {', '.join(busy[:5])}. Stop it, or set hermes_disrupt to True."
        )
    if case.probe.serving:
        raise case.refusal(
            f"{what} would interrupt {', '.join(case.probe.serving)}. Stop it, or set hermes_disrupt to True."
        )


def check_reboot(case: Case, why: str) -> None:
    """Whether the host may be rebooted.

    Raises:
        PlacementError: The inventory forbids it.
    """
    if not case.may.reboot:
        raise case.refusal(
            f"{why}, which needs a reboot, and hermes_driver/reboot is False. Reboot by hand or set it to True."
        )


def reboot_plan(case: Case, reason: str, why: str, version: str | None) -> DriverPlan:
    """A reboot and nothing else; put off while every planned service still serves.

    An upgrade without a reboot leaves containers that run and a driver that does not answer: they go on, only new ones
    get no GPU. So as long as no other service is to be started, the host stays up.

    Args:
        why: The reason as a clause, for the refusal.

    Raises:
        PlacementError: The host may not be rebooted, or something runs that a reboot would end.
    """
    wanted, serving = {need.service for need in case.needs}, set(case.probe.serving)
    if serving and wanted <= serving and not case.spec.hermes_disrupt:
        remark = (
            f"a reboot is due: {reason}; what runs goes on, and new containers get no GPU until then "
            "(hermes_disrupt lets the host reboot)"
        )
        return DriverPlan(
            action="leave alone", reason=f"{why}, and every service still runs", remarks=(remark,), version=version
        )
    check_undisturbed(case, "A reboot")
    check_reboot(case, why)
    return DriverPlan(action="reboot", reason=reason, version=version, reboot=reason)
