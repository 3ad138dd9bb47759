"""What a person should know about a driver that is left alone."""

from __future__ import annotations

from hermeion.drivers.case import Case
from hermeion.drivers.installed import GUARD, is_driver
from hermeion.drivers.needs import remarks_of
from hermeion.drivers.tables import branches, reviewed
from hermeion.drivers.versions import parse_version
from hermeion.probe import Probe


def is_guarded(probe: Probe) -> bool:
    """Whether something keeps an unattended upgrade from replacing the driver under what runs."""
    return (
        GUARD in probe.files
        or "/etc/dnf/plugins/versionlock.list" in probe.files
        or any(is_driver(name) for name in probe.held_packages)
        or any(name.startswith("nvidia-driver-pinning") for name in probe.packages)
        or any("/etc/apt/preferences.d/nvidia-" in path for path in probe.files)
    )


def remarks_of_driver(case: Case, version: str, *, is_ours: bool = True) -> tuple[str, ...]:
    """One sentence each, the gravest first.

    Args:
        is_ours: Whether its packages and units are to be judged, too; not of a driver that comes with the platform.
    """
    remarks = list(remarks_of(case.needs, parse_version(version)))
    branch = branches().get(parse_version(version)[0])
    if branch and branch.ended:
        remarks.append(
            f"driver branch {branch.number} was past its end of life ({branch.eol}) when Hermeion's table of drivers "
            f"was reviewed on {reviewed()}"
        )
    elif branch and parse_version(version) < parse_version(branch.latest):
        remarks.append(f"driver {branch.latest} of the same branch is out; {version} is here")
    if not is_ours:
        return tuple(remarks)
    if case.probe.reboot_required:
        remarks.append("the system asks for a reboot (/run/reboot-required)")
    if case.installed.origin in {"nvidia", "debian", "ubuntu"}:
        if not is_guarded(case.probe):
            remarks.append(
                "nothing keeps an unattended upgrade from replacing the driver under what runs: hold its packages, or "
                "name them in Unattended-Upgrade::Package-Blacklist"
            )
        daemon = case.probe.driver.units.get("nvidia-persistenced")
        if daemon is None or daemon.active != "active":
            advice = "systemctl enable --now nvidia-persistenced"
            if daemon is not None and daemon.enabled == "static":
                advice = "nvidia-smi -pm 1, until the next boot"  # Ubuntu's unit cannot be enabled
            elif daemon is not None and daemon.active == "failed":
                advice = "systemctl status nvidia-persistenced tells why"
            remarks.append(
                "the persistence daemon does not run: GPUs start anew for each program, and lose their power limits "
                f"({advice})"
            )
    return tuple(remarks)
