"""``SHA256SUMS``, as ``sha256sum`` writes it: the names and contents of a model that lies in a bucket or a folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

NAME = "SHA256SUMS"
COMMAND = f"find . -type f ! -name {NAME} -exec sha256sum {{}} + > {NAME}"
"""What makes it, in the model's folder."""

LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(\S.*)")


def parse_sums(text: str) -> dict[str, str]:
    """SHA-256, hexadecimal, by name.

    Raises:
        ValueError: A line is none that ``sha256sum`` writes, or the name is one that leads out of the folder.
    """
    sums: dict[str, str] = {}
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        found = LINE.fullmatch(row)
        if not found:
            raise ValueError(f"line {number} of {NAME} is none that sha256sum writes: {row[:100]!r}")
        digest, name = found.groups()
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"line {number} of {NAME} names {name!r}, which is not below the folder")
        if name != NAME:  # made anew by `sha256sum *`, it names itself
            sums[name] = digest
    return sums


def sums_revision(sums: Mapping[str, str]) -> str:
    """What stands for a commit: the first 40 digits of the SHA-256 of the wanted lines, sorted by name's bytes."""
    rows = sorted(sums.items(), key=lambda row: row[0].encode())
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in rows).encode()).hexdigest()[:40]
