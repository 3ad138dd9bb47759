"""The key-value pairs at the beginning of a GGUF file, as far as the bytes at hand go.

Source: the format's description, github.com/ggml-org/ggml, ``docs/gguf.md``; versions 2 and 3.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from hermeion.errors import ModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_ENTRIES = 100_000
MOST_TENSORS = 1_000_000
MOST_LENGTH = 1 << 30
"""Longer strings and arrays, in bytes or elements, are no model's."""

STRING, ARRAY = 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""Value types of one number, by their number in the format."""

KEPT_ELEMENTS = 1024
"""Arrays of numbers up to this length are kept: one for each layer. Longer ones, and texts, only have a length."""
MOST_DEPTH = 4


class Array(NamedTuple):
    """An array: its length, and its numbers if it is short."""

    length: int
    numbers: tuple[int | float | bool, ...] = ()


Value = int | float | bool | str | Array


class Metadata(NamedTuple):
    """What was read.

    ``tensors`` are the names of all tensors, or ``None`` if they were not reached; ``needed`` are the bytes from the
    beginning of the file without which reading cannot go on, or ``None`` if all was read.
    """

    values: dict[str, Value]
    tensors: frozenset[str] | None
    needed: int | None


class _EndedError(Exception):
    """The bytes at hand end here. ``needed``: how many there must be, from the file's beginning."""

    def __init__(self, needed: int) -> None:
        super().__init__()
        self.needed = needed


class _Reader:
    """Reads from a position on."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._position = 0

    def skip(self, count: int) -> None:
        """Go on by some bytes, which must be there."""
        if self._position + count > len(self._data):
            raise _EndedError(self._position + count)
        self._position += count

    def broken(self, what: str) -> ModelError:
        return ModelError(f"{self._where}: broken at byte {self._position}: {what}. Pull the file again.")

    def scalar(self, form: str) -> int | float | bool:
        start = self._position
        self.skip(struct.calcsize(form))
        value: int | float | bool = struct.unpack_from(form, self._data, start)[0]
        return value

    def count(self, form: str, most: int, what: str) -> int:
        """A number of things."""
        number = int(self.scalar(form))
        if number > most:
            raise self.broken(f"{number} {what}, and there may be up to {most}")
        return number

    def string(self) -> str:
        length = self.count("<Q", MOST_LENGTH, "bytes of text")
        start = self._position
        self.skip(length)
        return self._data[start : start + length].decode("utf-8", errors="replace")

    def array(self, kind: int, length: int, depth: int = 0) -> Array:
        """Go past an array's elements."""
        if kind in SCALARS:
            if length <= KEPT_ELEMENTS:
                return Array(length, tuple(self.scalar(SCALARS[kind]) for _ in range(length)))
            self.skip(length * struct.calcsize(SCALARS[kind]))
        elif kind == STRING:
            self._skip_strings(length)
        elif kind == ARRAY and depth < MOST_DEPTH:
            for _ in range(length):
                self.array(*self.array_head(), depth=depth + 1)
        else:
            raise self.broken(f"an array of the unknown type {kind}")
        return Array(length)

    def _skip_strings(self, count: int) -> None:
        """Each has its length in 8 bytes: so much at least is still to come."""
        for left in range(count, 0, -1):
            start = self._position
            try:
                self.skip(self.count("<Q", MOST_LENGTH, "bytes of text"))
            except _EndedError as ended:
                raise _EndedError(max(ended.needed, start + 8 * left)) from None

    def array_head(self) -> tuple[int, int]:
        """Type of the elements, and how many."""
        kind = self.count("<I", 1 << 32, "")
        return kind, self.count("<Q", MOST_LENGTH, "elements of an array")

    def entry(self, values: dict[str, Value]) -> None:
        """One pair. An array's length is known before its elements have been passed."""
        key = self.string()
        kind = self.count("<I", 1 << 32, "")
        if kind in SCALARS:
            values[key] = self.scalar(SCALARS[kind])
        elif kind == STRING:
            values[key] = self.string()
        elif kind == ARRAY:
            inner, length = self.array_head()
            values[key] = Array(length)
            values[key] = self.array(inner, length)
        else:
            raise self.broken(f"{key} has the unknown type {kind}")

    def tensor(self) -> str:
        """Name of one tensor; its dimensions, type and offset are passed."""
        name = self.string()
        self.skip(8 * self.count("<I", 8, "dimensions") + 4 + 8)
        return name


def read_metadata(data: bytes, where: str) -> Metadata:
    """Read as far as the bytes go.

    Raises:
        ModelError: It is no GGUF file, of another version or byte order, or broken.
    """
    if data[:4] != MAGIC[: len(data)]:
        raise ModelError(f"{where} is not a GGUF file: it begins with {data[:16]!r}. Pull it again.")
    reader = _Reader(data, where)
    values: dict[str, Value] = {}
    try:
        reader.skip(len(MAGIC))
        version = int(reader.scalar("<I"))
        if version not in VERSIONS:
            order = "big-endian" if version >> 24 in VERSIONS else f"of version {version}"
            raise ModelError(
                f"{where} is a GGUF file {order}; little-endian ones of versions 2 and 3 are read. "
                "Convert the model with a current llama.cpp."
            )
        tensors = reader.count("<Q", MOST_TENSORS, "tensors")
        for _ in range(reader.count("<Q", MOST_ENTRIES, "entries of metadata")):
            reader.entry(values)
    except _EndedError as ended:
        return Metadata(values, None, ended.needed)
    try:
        return Metadata(values, frozenset(reader.tensor() for _ in range(tensors)), None)
    except _EndedError:
        return Metadata(values, None, None)
