"""In which of an ordered list of versions something holds, as one short text.

    ``""``                          in all of them
    ``"0.13.0.."``                  from that one on
    ``"..0.20.2"``                  up to that one, that one included
    ``"0.13.0..0.16.0, 0.21.0.."``  it went and came back

A value that changed is ``{"by": {SPAN: VALUE, …}}``; one that never did stands by itself. Standard library alone: the
script that writes the tables runs without the project's environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def _ranges(span: str, versions: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of the first and last version of each part.

    Raises:
        ValueError: A version that it names is not in the list.
    """
    found = []
    for part in span.split(", "):
        first, _, last = part.partition("..")
        found.append((versions.index(first) if first else 0, versions.index(last) if last else len(versions) - 1))
    return found


def covers(span: str, versions: Sequence[str], version: str) -> bool:
    """Whether it holds in a version of the list."""
    position = versions.index(version)
    return any(first <= position <= last for first, last in _ranges(span, versions))


def bounds(span: str, versions: Sequence[str], version: str) -> tuple[str | None, str | None]:
    """First and last version of the part that a version lies in; ``None``: it began or ends with the list."""
    position = versions.index(version)
    for first, last in _ranges(span, versions):
        if first <= position <= last:
            return versions[first] if first else None, versions[last] if last < len(versions) - 1 else None
    return None, None


def make(held: Sequence[bool]) -> list[tuple[int, int]]:
    """Positions of the first and last version of every run of ``True``."""
    starts = [i for i, value in enumerate(held) if value and (i == 0 or not held[i - 1])]
    ends = [i for i, value in enumerate(held) if value and (i == len(held) - 1 or not held[i + 1])]
    return list(zip(starts, ends, strict=True))


def text(held: Sequence[bool], versions: Sequence[str]) -> str:
    """The span of what holds in these versions: the opposite of :func:`covers`."""
    newest = len(versions) - 1
    parts = [
        f"{versions[first] if first else ''}..{versions[last] if last < newest else ''}" for first, last in make(held)
    ]
    return "" if parts == [".."] else ", ".join(parts)


def at(value: Any, versions: Sequence[str], version: str) -> Any:
    """What a value is in a version; ``None``: it is not there."""
    if not isinstance(value, Mapping) or set(value) != {"by"}:
        return value
    return next((one for span, one in value["by"].items() if covers(span, versions, version)), None)


def held(names: Sequence[str] | Mapping[str, str], versions: Sequence[str], version: str) -> tuple[str, ...]:
    """Which names hold in a version: a list, or spans by name."""
    if not isinstance(names, Mapping):
        return tuple(names)
    return tuple(name for name, span in names.items() if covers(span, versions, version))
