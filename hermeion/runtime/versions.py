"""Versions of Docker, Compose and the toolkit, in order."""

from __future__ import annotations

import re


def version_of(text: str | None) -> tuple[int, int, int] | None:
    """The three numbers of ``5:26.1.5+dfsg1-9``, ``v2.26.1`` or ``1.20.0-1``, or ``None``: there are not even two."""
    found = re.match(r"(?:\d+:)?v?(\d+)\.(\d+)(?:\.(\d+))?", text or "")
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def version_text(version: tuple[int, int, int]) -> str:
    """The three numbers with dots."""
    return ".".join(map(str, version))
