"""Which stages of a host are not yet as planned, each with its reasons. No reason at all: nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hermeion.hashes import sha256
from hermeion.inventory import HostSpec
from hermeion.plans import Plan, Service
from hermeion.probe import Probe
from hermeion.records import Record
from hermeion.render import render_files
from hermeion.runtime import CA_PATH, check_hooks, decide_runtime, registry_ca_path
from hermeion.runtime.toolkit import old_lists
from hermeion.units import format_bytes

StageName = Literal["driver", "runtime", "cache", "service"]
STAGES: tuple[StageName, ...] = ("driver", "runtime", "cache", "service")

START_LIMIT = 5
"""``StartLimitBurst`` of the units."""


class Stages(Record):
    """Reasons by stage, in the order of the stages.

    Attributes:
        services: Names of the services that the reasons of the service stage are about.
        remarks: What a person should know about driver and runtime although nothing is done about it.
    """

    driver: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def pending(self) -> dict[str, tuple[str, ...]]:
        """The stages that have something to do."""
        return {name: reasons for name in STAGES if (reasons := getattr(self, name))}


def _differs(probe: Probe, path: str, content: str, mode: str) -> bool:
    there = probe.files.get(path)
    return there is None or (there.sha256, there.mode) != (sha256(content), mode)


def _driver(plan: Plan, probe: Probe) -> tuple[str, ...]:
    if plan.driver.action == "leave alone":
        return ()
    lists = old_lists(probe) if plan.driver.action != "reboot" else ()
    moved = (f"{path}, of NVIDIA's older guides, is moved aside if apt refuses it" for path in lists)
    return (plan.driver.reason, *moved)


def _runtime(spec: HostSpec, plan: Plan, probe: Probe, ca: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reasons, and remarks."""
    contained = [service for service in plan.services if service.image]
    if not contained and "hermes_runtime" not in spec.model_fields_set:
        return (), ()
    uuids = frozenset(gpu.uuid for service in contained for gpu in service.gpus if gpu.uuid)
    decided = decide_runtime(plan.host, spec, probe, uuids=uuids, driver_changes=plan.driver.action != "leave alone")
    paths = [CA_PATH, *filter(None, [registry_ca_path(spec.hermes_mirrors)])] if ca is not None else []
    changed = [f"{path} differs" for path in paths if _differs(probe, path, ca or "", "644")]
    said = tuple(reason.rstrip(".") for reason in decided.reasons)
    return (*said, *changed), tuple(remark.rstrip(".") for remark in decided.remarks)


def _weights(service: Service, probe: Probe) -> str | None:
    """What is wrong with a service's weights, by sizes and times of what was checked."""
    state = probe.weights.get(service.snapshot, "missing")
    if service.path is not None or state == "complete":
        return None
    there = sum(probe.blobs.get(f"models--{service.repo.replace('/', '--')}", {}).values())
    return f"{service.variant} is {state}" + (f" ({format_bytes(there)} of its repository are there)" if there else "")


def has_engine(service: Service, probe: Probe) -> bool:
    """Whether what the service runs from is on the host: its image, or its package."""
    if service.package:
        return service.package.identity in probe.engines
    return service.image is not None and service.image.reference in probe.images


def _engine(service: Service, probe: Probe) -> list[str]:
    if has_engine(service, probe):
        return []
    if service.package:
        return [f"{service.name}: engine {service.package.identity} is missing"]
    digest = service.image.digest if service.image else None
    return [f"{service.name}: image {digest} is missing"]


def _process(service: Service, probe: Probe) -> list[str]:
    """What is wrong with the unit, and with what it runs."""
    unit = probe.units.get(service.unit)
    reasons = []
    if unit is None or unit.active != "active" or unit.sub != "running":
        gave_up = unit is not None and unit.active == "failed" and unit.restarts >= START_LIMIT - 1
        often = f" (systemd gave up: its engine died at {START_LIMIT} starts within an hour)" if gave_up else ""
        reasons.append(f"{service.name}: the unit is {unit.active if unit else 'missing'}{often}")
    elif unit.enabled != "enabled":
        reasons.append(f"{service.name}: the unit is {unit.enabled}")
    if service.package:
        if unit and unit.active == "active" and unit.release != service.release_id:
            reasons.append(f"{service.name}: no process of release {service.release_id} is running")
        return reasons
    running = {c.release for c in probe.own_containers if c.service == service.name and c.state == "running"}
    if running != {service.release_id}:
        reasons.append(f"{service.name}: no container of release {service.release_id} is running")
    return reasons


def _service(service: Service, probe: Probe, templates: Path) -> list[str]:
    name = service.name
    if not service.is_final:
        return [f"{name}: not deployed yet"]
    release = probe.releases.get(name, ("none", {}))[0]
    if release != service.release_id:
        return [f"{name}: release {service.release_id} is planned, {release} is current"]
    reasons = _engine(service, probe)
    for file in render_files(service, templates):
        paths = [f"{service.folder}/current/{file.path}"]
        if file.path == service.unit:
            paths.append(f"/etc/systemd/system/{file.path}")
        reasons += [f"{name}: {path} was changed" for path in paths if _differs(probe, path, file.content, file.mode)]
    keys = probe.files.get(f"/etc/hermeion/{name}/api-keys")
    if keys is None or keys.mode != "600":
        reasons.append(f"{name}: /etc/hermeion/{name}/api-keys is missing or open to others")
    return reasons + _process(service, probe)


def find_stages(spec: HostSpec, plan: Plan, probe: Probe, *, templates: Path, ca: str | None) -> Stages:
    """Compare a plan with what the host is like.

    Args:
        ca: The certificates of ``hermes_mirrors/ca``, as text.

    Raises:
        PlacementError: Something would have to be done that must not be: Docker's configuration is broken, a restart
            would stop containers …
    """
    runtime, remarks = _runtime(spec, plan, probe, ca)
    weights = (_weights(service, probe) for service in plan.services)
    by_service = {service.name: _service(service, probe, templates) for service in plan.services}
    stages = Stages(
        driver=_driver(plan, probe),
        runtime=runtime,
        cache=tuple(dict.fromkeys(filter(None, weights))),
        service=tuple(reason for reasons in by_service.values() for reason in reasons),
        services=tuple(name for name, reasons in by_service.items() if reasons),
        remarks=(*plan.driver.remarks, *remarks),
    )
    if stages.pending:
        check_hooks(plan.host, spec, probe)
    return stages
