"""``data/drivers.toml`` as values."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from hermeion.drivers.versions import Version, covers, parse_version
from hermeion.records import Record

ARCHITECTURES = ("maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell")
"""Oldest first."""


class Branch(Record):
    """A driver branch.

    Attributes:
        eol: Day of its end of life, ``2028-06-30``.
        cuda: Highest CUDA that it is made for.
        latest: Newest point release that this release of Hermeion knows.
        proprietary: Whether it has the proprietary kernel module.
    """

    number: int
    type: str
    eol: str
    cuda: tuple[int, int]
    oldest: str
    newest: str
    proprietary: bool
    latest: str

    @property
    def ended(self) -> bool:
        """Whether it was past its end of life when the table was reviewed: nobody asks a clock."""
        return self.eol < reviewed()


class Archive(Record):
    """The driver of a branch that a distribution's own archive holds."""

    system: Literal["debian", "ubuntu"]
    release: str
    branch: int
    version: str


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("hermeion.data").joinpath("drivers.toml").read_text())


def reviewed() -> str:
    """The day on which the table was last held against its sources, ``2026-11-20``."""
    return str(_table()["reviewed"])


@cache
def branches() -> dict[int, Branch]:
    """Every branch that is known, by number."""
    return {row["number"]: Branch(**row | {"eol": str(row["eol"])}) for row in _table()["branch"]}


@cache
def archives() -> tuple[Archive, ...]:
    """What the archives of the distributions hold."""
    return tuple(Archive(**row) for row in _table()["archive"])


def native_driver(cuda: tuple[int, int]) -> Version | None:
    """The driver that a CUDA toolkit came with; of one between two rows, the next newer one's. ``None``: too new."""
    known = {tuple(map(int, name.split("."))): parse_version(text) for name, text in _table()["cuda"].items()}
    newer = sorted(version for version in known if version >= cuda)
    return known[newer[0]] if newer else None


def gpu_minima(device_id: str, subsystem: str) -> tuple[Version, ...] | None:
    """First driver of each branch that knows a GPU; ``None``: the table has no row for it."""
    rows = {name: row["minima"] for row in _table()["gpu"] for name in row["ids"]}
    found = rows.get(f"{device_id}:{subsystem}") or rows.get(device_id)
    return tuple(parse_version(text) for text in found) if found else None


def image_cuda(name: str, tag: str) -> tuple[int, int] | None:
    """CUDA that an image is built on, by its name and tag; ``None``: not known.

    Args:
        name: Repository without registry, ``vllm/vllm-openai``.
    """
    version = parse_version(tag.removeprefix("v"))
    for row in _table()["image"]:
        upper = row.get("before")
        if (
            row["name"] == name
            and version >= parse_version(row["from"])
            and (upper is None or version < parse_version(upper))
        ):
            major, minor = row["cuda"]
            return major, minor
    return None


def breaks_build(kernel: str, version: str) -> bool:
    """Whether the open module of this version does not compile against this kernel (``pci_resize_resource``)."""
    rule = _table()["resize"]
    release = parse_version(kernel)[:3]
    affected = release >= parse_version(rule["everything_from"]) or any(
        release[:2] == first[:2] and release >= first for first in map(parse_version, rule["since"])
    )
    fixed = tuple(parse_version(text) for text in rule["fixed"])
    return affected and not covers(fixed, parse_version(version))
