"""Packages that dpkg did not finish: repaired where they are the driver's and we may, else a refusal."""

from __future__ import annotations

from hermeion.drivers.case import Case, check_undisturbed
from hermeion.drivers.choice import choose, install_plan
from hermeion.drivers.installed import MARKER, builds_module, is_driver
from hermeion.plans import DriverPlan


def unfinished_plan(case: Case) -> DriverPlan | None:
    """What is done about half-configured packages; ``None``: there are none.

    A failed build of the module leaves the driver's own package half-configured, and with it the headers of the kernel
    that it was built for. Every later call of apt fails until that is repaired.

    Raises:
        PlacementError: The culprit is not the driver's, or nobody allowed the repair.
    """
    broken = {package.name: package.status for package in case.probe.broken_packages}
    if not broken:
        return None
    dkms = any(builds_module(name) for name in (*broken, *case.probe.packages))
    ours = sorted(name for name in broken if is_driver(name))
    # A kernel's own packages wait for the module's build in their hooks.
    kernels = sorted(name for name in broken if name.startswith(("linux-headers-", "linux-image-"))) if dkms else []
    foreign = sorted(set(broken) - set(ours) - set(kernels))
    shown = ", ".join(f"{name} {broken[name]}" for name in sorted(broken))
    if foreign:
        raise case.refusal(
            f"dpkg left {shown} half-configured, and every apt call fails until that is repaired: "
            f"dpkg --configure -a, or apt-get purge {foreign[0]}; then run again."
        )
    if MARKER in case.probe.files:
        why = f"a transaction of ours was cut off ({MARKER} is there; dpkg: {shown})"
        return install_plan(case, choose(case), "repair", why, finish=True)
    # Headers that only wait for the module's build are finished when the module is gone; purging them helps nobody.
    culprits = tuple(ours) or tuple(name for name in case.installed.packages if builds_module(name))
    if not case.may.repair:
        raise case.refusal(
            f"dpkg left {shown} half-configured, and every apt call fails until that is repaired: apt-get purge "
            f"{' '.join(culprits)}. Set hermes_driver/repair to True to let Hermeion do it, or do it and run again."
        )
    check_undisturbed(case, "Purging the driver's packages")
    why = f"dpkg left {shown} half-configured"
    return install_plan(case, choose(case), "repair", why, purge=culprits)
