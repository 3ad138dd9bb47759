"""NVIDIA's container toolkit: one version of all its packages."""

from __future__ import annotations

from typing import Literal

from hermeion.errors import PlacementError
from hermeion.probe import Probe
from hermeion.records import Record
from hermeion.runtime.versions import version_of, version_text

TOOLKIT = "1.20.0"
"""https://github.com/NVIDIA/nvidia-container-toolkit/releases/tag/v1.20.0, of August 2026."""

OLDEST_TOOLKIT = (1, 18, 0)
"""The first that renews the CDI specification by itself (``nvidia-cdi-refresh``), and edits containers as CDI does."""

BASE = "nvidia-container-toolkit-base"
ALL = ("nvidia-container-toolkit", BASE, "libnvidia-container-tools", "libnvidia-container1")
"""They depend on each other at exactly one version since 1.18."""

OLD_LISTS = ("libnvidia-container.list", "nvidia-docker.list", "nvidia-container-runtime.list")
"""Lists that NVIDIA's older guides wrote; apt refuses one address with two keys."""


class Toolkit(Record):
    """What happens to the toolkit.

    Attributes:
        packages: ``name=version``, for one transaction.
        lists: Old lists of repositories that are moved aside first.
    """

    packages: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def decide_toolkit(name: str, probe: Probe, access: Literal["cdi", "runtime"]) -> Toolkit:
    """Packages of the toolkit that are missing, too old, or of several versions.

    Raises:
        PlacementError: A package that has to change is held.
    """
    ours = version_of(TOOLKIT) or (0, 0, 0)
    needed = (BASE,) if access == "cdi" else ALL
    there = {package: version_of(probe.packages[package]) or (0, 0, 0) for package in ALL if package in probe.packages}
    # Never older than what is there: a newer one was somebody's choice.
    target = max([ours, *there.values()])
    missing = [package for package in needed if package not in there]
    several = sorted(set(there.values()))
    if not there:
        reasons = ["NVIDIA's container toolkit is missing."]
    elif len(several) > 1:
        reasons = [f"The packages of NVIDIA's container toolkit are of several versions: {_list(several)}."]
    elif several[0] < OLDEST_TOOLKIT:
        reasons = [
            f"NVIDIA's container toolkit {_list(several)} does not renew the CDI specification by itself; 1.18 is the "
            "first that does."
        ]
    elif missing:
        reasons = [f"{', '.join(missing)} is missing: Docker before 25 needs the whole toolkit."]
    else:
        remark = f"NVIDIA's container toolkit {_list(several)} is left alone; {TOOLKIT} is the newest known here."
        return Toolkit(remarks=(remark,) if several[0] < ours else ())
    changing = [package for package in ALL if package in needed or package in there]
    held = [package for package in changing if package in probe.held_packages and there[package] != target]
    if held:
        raise PlacementError(
            f"{name}: {reasons[0]} All of them are brought to {version_text(target)}, but {', '.join(held)} is held. "
            f"`apt-mark unhold {' '.join(held)}`, then run again."
        )
    lists = old_lists(probe)
    reasons += [f"{path} names NVIDIA's repository with another key: it is moved aside." for path in lists]
    packages = tuple(f"{package}={version_text(target)}-1" for package in changing)
    return Toolkit(packages=packages, lists=lists, reasons=tuple(reasons))


def _list(versions: list[tuple[int, int, int]]) -> str:
    return ", ".join(map(version_text, versions))


def old_lists(probe: Probe) -> tuple[str, ...]:
    """Lists of older guides that contradict today's, by path."""
    found = []
    for row in probe.repositories:
        path, _, line = row.partition(": ")
        if path.rpartition("/")[2] in OLD_LISTS and "nvidia.github.io" in line:
            found.append(path)
    return tuple(dict.fromkeys(found))
