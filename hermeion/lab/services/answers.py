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

    def read(self, first: int, end: int, chunk: int) -> Iterator[memoryview]:
        """Bytes ``first`` to before ``end`` in pieces of at most ``chunk``."""
        view = memoryview(self.body)
        for start in range(first, end, chunk):
            yield view[start : min(start + chunk, end)]


@dataclass(frozen=True)
class FileAnswer(Answer):
    """An answer whose body is a file; only these honour ranges.

    Attributes:
        length: How long the file is said to be, and sent: cut, or with zeros at its end; None: as it is.
    """

    path: Path = Path("/dev/null")
    length: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole file, as it is sent."""
        return self.path.stat().st_size if self.length is None else self.length

    def read(self, first: int, end: int, chunk: int) -> Iterator[memoryview]:
        """Bytes ``first`` to before ``end`` in pieces of at most ``chunk``; each piece is overwritten by the next."""
        room = memoryview(bytearray(min(chunk, max(end - first, 1))))
        left = end - first
        with self.path.open("rb", buffering=0) as file:
            file.seek(first)
            while left > 0 and (got := file.readinto(room[: min(len(room), left)])):
                left -= got
                yield room[:got]
        if self.length is not None and left > 0:
            room[:] = bytes(len(room))
            for start in range(0, left, len(room)):
                yield room[: min(len(room), left - start)]


def json_answer(status: int, value: Any, headers: dict[str, str] | None = None) -> Answer:
    """``value`` as JSON."""
    return Answer(status, {"Content-Type": "application/json"} | (headers or {}), json.dumps(value).encode())
