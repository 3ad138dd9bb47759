"""What runs on a host and must not be interrupted without consent."""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.errors import PlacementError
from hermeion.inventory import HostSpec
from hermeion.probe import Probe
from hermeion.runtime.daemon import DAEMON_JSON

LIVE_RESTORE = f'Add "live-restore": true to {DAEMON_JSON}, `systemctl reload docker`, run again'
"""Docker reads this key again without a restart: https://docs.docker.com/engine/daemon/live-restore/."""


def check_restart(name: str, spec: HostSpec, probe: Probe, reason: str) -> tuple[str, ...]:
    """Refuse a restart of Docker that would stop containers; remarks where the inventory allows it.

    Raises:
        PlacementError: Containers run that would not survive, and ``hermes_disrupt`` is not set.
    """
    running = [container for container in probe.containers if container.state == "running"]
    own = probe.serving
    if not running or (probe.engine.live_restore and not probe.engine.swarm and not own):
        return ()
    names = _names([container.name or container.id[:12] for container in running])
    if spec.hermes_disrupt:
        return (f"Restarting Docker stops {names}; hermes_disrupt allows it.",)
    start = f"{name}: {reason} Docker has to be restarted, which would stop {names}"
    if own:
        # Their units are bound to Docker's: systemd restarts them with it, live-restore or not.
        raise PlacementError(f"{start}: services of Hermeion stop with Docker. Allow it with hermes_disrupt.")
    if probe.engine.swarm:
        raise PlacementError(
            f"{start}: live-restore does not work in a swarm. Drain this node, or allow it with hermes_disrupt."
        )
    raise PlacementError(f"{start}: live-restore is off. {LIVE_RESTORE}; or allow it with hermes_disrupt.")


def check_hooks(name: str, spec: HostSpec, probe: Probe) -> None:
    """Refuse changes that reload systemd while containers hold GPUs that NVIDIA's hook gave them.

    Our own containers on a Docker before 25 have theirs by NVIDIA's runtime, which edits them as CDI does since
    toolkit 1.18; those survive.

    Raises:
        PlacementError: Such containers run, and ``hermes_disrupt`` is not set.
    """
    hooked = [c for c in probe.containers if c.state == "running" and c.gpu_access == "hook" and not c.service]
    if hooked and not spec.hermes_disrupt:
        names = _names([container.name or container.id[:12] for container in hooked])
        raise PlacementError(
            f"{name}: {names} got GPUs by NVIDIA's hook, and would lose them when systemd is reloaded, which every "
            "installation does. Make them anew with CDI (`--device nvidia.com/gpu=all`) or stop them, then run again; "
            "or allow it with hermes_disrupt."
        )


def _names(names: Sequence[str]) -> str:
    """``the container a``, ``the containers a and b``, or the first three of many."""
    if len(names) == 1:
        return f"the container {names[0]}"
    if len(names) > 3:
        return f"{len(names)} containers ({', '.join(names[:3])} …)"
    return f"the containers {', '.join(names[:-1])} and {names[-1]}"
