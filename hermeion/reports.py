"""What is told about one host after it was planned: the part of the report that every face shows, online or not."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from hermeion.checks import check_plan
from hermeion.errors import HermeionError, PlacementError
from hermeion.fixes import Fix
from hermeion.hosts import Host, reconcile
from hermeion.inventory import HostSpec
from hermeion.named_files import read_locks
from hermeion.planner import make_plan
from hermeion.plans import Plan, Rejection
from hermeion.probe import Probe
from hermeion.records import Record
from hermeion.runtime import check_docker
from hermeion.saved_hosts import SavedHost, canonical
from hermeion.variants import ModelFacts


class HostReport(Record):
    """One host, either planned or refused. What else ``hermeion plan --json`` prints of it is worked out from this.

    Attributes:
        pending: Stages with something to do and their reasons; ``None``: not known, for nobody looked at the host.
        refused: Why, as a person reads it.
        rejections: Options that were tried for a service that was refused.
        fix: A change with which it would fit.
        wanted: What the inventory says, without what it leaves at its default.
        found: The host's GPUs; ``None`` if its answer could not be read.
        running: Release by service, as they are on the host.
        models: What own models' files say, by name.
    """

    model_config = ConfigDict(extra="ignore")

    plan: Plan | None = None
    pending: dict[str, tuple[str, ...]] | None = None
    refused: str | None = None
    rejections: tuple[Rejection, ...] = ()
    fix: Fix | None = None
    wanted: dict[str, Any] = Field(default={})
    found: Host | None = None
    running: dict[str, str] = Field(default={})
    models: dict[str, ModelFacts] = Field(default={})


def wanted_json(spec: HostSpec) -> dict[str, Any]:
    """What the inventory says of a host, without what it leaves at its default."""
    return spec.model_dump(mode="json", exclude_defaults=True)


def seen_json(name: str, probe: Probe) -> dict[str, Any]:
    """What a report says of a host's GPUs and releases.

    Raises:
        PlacementError: The driver sees other GPUs than the PCI bus.
    """
    return {
        "found": canonical(reconcile(name, probe)),
        "running": {service: release for service, (release, _) in sorted(probe.releases.items())},
    }


def refusal_json(error: HermeionError) -> dict[str, Any]:
    """What a report says of a refusal."""
    data: dict[str, Any] = {"refused": str(error)}
    if isinstance(error, PlacementError):
        data["rejections"] = canonical(error.rejections)
        data["fix"] = canonical(error.fix)
    return data


def plan_saved(spec: HostSpec, saved: SavedHost) -> dict[str, Any]:
    """Plan and judge a saved host, without a connection.

    Whether anything is to do is not known: commits and digests are asked from the host.
    """
    name, probe = saved.host, saved.probe
    report: dict[str, Any] = {"wanted": wanted_json(spec), "models": canonical(saved.models)}
    try:
        report |= seen_json(name, probe)
        plan = make_plan(name, spec, probe, saved.models, read_locks(name, spec))
        check_docker(name, probe)
        for finding in check_plan(plan, reconcile(name, probe)):
            if finding.severity == "error":
                raise PlacementError(f"{finding.subject}: {finding.message}")
    except HermeionError as error:
        return report | refusal_json(error)
    return report | {"plan": plan.to_json(), "pending": None}
