"""Versions of drivers: ``580.95.05`` as numbers that compare."""

from __future__ import annotations

import re

Version = tuple[int, ...]
"""``(580, 95, 5)``; ``(580,)`` stands for the beginning of a branch."""


def upstream(text: str) -> str:
    """NVIDIA's version of a package's: ``580.95.05`` of ``3:580.95.05-0ubuntu0.24.04.1``."""
    return re.split(r"[-+~]", text.rpartition(":")[2], maxsplit=1)[0]


def parse_version(text: str) -> Version:
    """The numbers of a version; words in it count for nothing."""
    return tuple(int(number) for number in re.findall(r"\d+", upstream(text)))


def show(version: Version) -> str:
    """A version as NVIDIA writes it: all but the branch with two digits at least."""
    return ".".join([str(version[0]), *(f"{number:02d}" for number in version[1:])])


def covers(minima: tuple[Version, ...], version: Version) -> bool:
    """Whether a driver is new enough, given the first version of each branch that is.

    A branch without a minimum of its own is new enough if it is newer than all of those: one between two of them was
    current before the thing became known, and ended.
    """
    floor = floor_of(minima, version[0])
    return floor is not None and version >= floor


def floor_of(minima: tuple[Version, ...], branch: int) -> Version | None:
    """The first version of a branch that is new enough, or ``None``: no version of it is."""
    own = [minimum for minimum in minima if minimum[0] == branch]
    if own:
        return own[0]
    return (branch,) if branch > max(minimum[0] for minimum in minima) else None
