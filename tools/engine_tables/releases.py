"""What one release of an engine has, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

KINDS = ("flag", "int", "float", "str", "json", "list")


@dataclass(frozen=True)
class Found:
    """One option of one release.

    Attributes:
        kind: One of :data:`KINDS`.
        choices: Values that the parser takes, sorted; empty: any.
        aliases: Other spellings without the dashes in front, sorted.
    """

    kind: str
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    deprecated: bool = False


@dataclass(frozen=True)
class Release:
    """One release of one engine.

    Attributes:
        source: Name of the file that it was read from.
        defaults: What the planner relies on.
        image: Facts of the official image: ``entrypoint``, ``user``, ``cuda``, ``capabilities``, ``port``.
    """

    engine: str
    version: str
    source: str
    options: dict[str, Found]
    tool_parsers: tuple[str, ...] = ()
    reasoning_parsers: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    image: dict[str, Any] = field(default_factory=dict)


def canonical(strings: list[str], dest: str) -> tuple[str, tuple[str, ...]] | None:
    """Name and aliases of an argparse option from its spellings and destination; ``None``: it is positional.

    The name is the spelling that configuration files use: that of the destination, else the first long one.
    """
    long = [text[2:] for text in strings if text.startswith("--")]
    if not long:
        return None
    wanted = dest.replace("_", "-")
    name = wanted if wanted in long else long[0]
    others = {text.removeprefix("--") if text.startswith("--") else text[1:] for text in strings} - {name}
    return name, tuple(sorted(others))
