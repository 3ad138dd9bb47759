"""Reports of planned and refused hosts, and the fleet that is made from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hermeion.fleet import make_fleet
from hermeion.probe import Probe
from hermeion.reports import plan_saved
from hermeion.saved_hosts import SavedHost, dump_host, load_host
from hermeion.views import Fleet, HostView
from tests.unit.builders import H100, L40S, RTX_3090, RTX_4090, make_probe, make_spec


def saved(name: str, probe: Probe) -> SavedHost:
    """A host that was written to a file and read back."""
    return load_host(dump_host(name, probe), f"{name}.json")


def host_report(name: str, probe: Probe, *services: Mapping[str, object], **keys: object) -> dict[str, Any]:
    """One host's part of a report, planned from its file."""
    return plan_saved(make_spec(*services, name=name, **keys), saved(name, probe))


def report() -> dict[str, Any]:
    """A fleet with everything in it: one GPU, a pipeline, tensor parallel, weight-only, a refusal, no answer."""
    hosts = {
        "one": host_report("one", make_probe([RTX_4090])),
        "pipeline": host_report(
            "pipeline",
            make_probe([L40S] * 4),
            {"name": "big", "model": "hermes-4-70b", "context": 65536},
            {"name": "small", "model": "hermes-3-8b", "port": 8001},
        ),
        "weight-only": host_report(
            "weight-only",
            make_probe([RTX_3090] * 2, used={0: 5000}),
            {"name": "hermes", "model": "hermes-4-14b", "variant": "fp8"},
        ),
        "eight": host_report("eight", make_probe([H100] * 8), {"name": "hermes", "model": "hermes-4-405b"}),
        "refused": host_report("refused", make_probe([RTX_4090] * 2), {"name": "hermes", "model": "hermes-4-405b"}),
    }
    return {"hosts": hosts, "seconds": {}, "failed": {"away": "away: could not connect"}}


def fleet() -> Fleet:
    """The same, as all faces show it."""
    return make_fleet(report(), offline=True)


def host(name: str) -> HostView:
    """One host of :func:`fleet`."""
    return next(view for view in fleet().hosts if view.name == name)
