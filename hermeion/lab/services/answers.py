"""Answers as values: status, headers and a body that can be read in parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """An answer whose body is in memory."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return len(self.body)

    def read(self, first: int, end: int, chunk: int) -> Iterator[bytes]:
        """Bytes ``first`` to before ``end`` in pieces of at most ``chunk``."""
        for start in range(first, end, chunk):
            yield self.body[start : min(start + chunk, end)]


@dataclass(frozen=True)
class FileAnswer(Answer):
    """An answer whose body is a file; only these honour ranges."""

    path: Path = Path("/dev/null")

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.path.stat().st_size

    def read(self, first: int, end: int, chunk: int) -> Iterator[bytes]:
        """Bytes ``first`` to before ``end`` in pieces of at most ``chunk``."""
        with self.path.open("rb") as file:
            file.seek(first)
            left = end - first
            while left > 0 and (data := file.read(min(chunk, left))):
                left -= len(data)
                yield data


def json_answer(status: int, value: Any, headers: dict[str, str] | None = None) -> Answer:
    """``value`` as JSON."""
    return Answer(status, {"Content-Type": "application/json"} | (headers or {}), json.dumps(value).encode())
