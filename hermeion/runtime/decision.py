"""Everything that happens to Docker, NVIDIA's container toolkit and the CDI specification, decided from the probe."""

from __future__ import annotations

from hermeion.errors import PlacementError
from hermeion.inventory import HostSpec
from hermeion.plans import RuntimePlan
from hermeion.probe import Probe
from hermeion.runtime.daemon import decide_daemon
from hermeion.runtime.disruption import check_restart
from hermeion.runtime.engine import decide_engine, gpu_access
from hermeion.runtime.specification import Specification, decide_specification
from hermeion.runtime.toolkit import decide_toolkit


def decide_runtime(
    name: str, spec: HostSpec, probe: Probe, *, uuids: frozenset[str], driver_changes: bool = False
) -> RuntimePlan:
    """What has to be done so that containers get the planned GPUs; no reasons: nothing.

    Args:
        uuids: GPUs that the services are planned on; empty: all that the driver shows.
        driver_changes: Whether the driver stage changes something: what a specification names changes with it.

    Raises:
        PlacementError: Refused; the message names host, evidence and the next step.
    """
    access = gpu_access(probe)
    engine = decide_engine(name, spec, probe)
    daemon = decide_daemon(name, probe, access, engine.version)
    toolkit = decide_toolkit(name, probe, access)
    specification = (
        decide_specification(probe, uuids=uuids, driver_changes=driver_changes, toolkit_changes=bool(toolkit.packages))
        if access == "cdi"
        else Specification()
    )
    if (engine.packages or toolkit.packages) and not probe.tools & {"apt-get", "dnf"}:
        packages = ", ".join([*engine.packages, *toolkit.packages])
        raise PlacementError(
            f"{name}: neither apt-get nor dnf is here to install {packages}. Install them by hand, then run again."
        )
    warned = check_restart(name, spec, probe, daemon.reason) if daemon.restart == "restart" else ()
    return RuntimePlan(
        reasons=(
            *engine.reasons,
            *((daemon.reason,) if daemon.reason else ()),
            *toolkit.reasons,
            *specification.reasons,
        ),
        remarks=(*engine.remarks, *daemon.remarks, *warned, *toolkit.remarks, *specification.remarks),
        engine=engine.source,
        packages=engine.packages,
        toolkit=toolkit.packages,
        remove=(*toolkit.lists, *specification.remove),
        daemon_json=daemon.text,
        restart=daemon.restart,
        specification=specification.generate,
    )
