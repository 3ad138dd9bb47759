"""How far a pull is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from .job import File
from .parts import Part
from .talk import say

EVERY = 0.5
"""Seconds between two lines."""


class Progress:
    """Counts bytes that are on disk, of the wanted ones, and files that are checked.

    Attributes:
        fetched: Bytes that came.
        hashed: Bytes that went through a hash, whether they came or were there.
        reused: Bytes that were there.
    """

    def __init__(self, files: Iterable[File]) -> None:
        files = tuple(files)
        self._sizes = {file.blob: file.size for file in files}
        self._names = Counter(file.blob for file in files)
        self._there = dict.fromkeys(self._sizes, 0)
        self._parts: dict[str, Part] = {}
        self._done: set[str] = set()
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._begun = False
        self._last: tuple[int, int] | None = None
        self.fetched = self.hashed = self.reused = 0

    def found(self, file: File, size: int) -> None:
        """So many bytes of a file are on disk before anything is fetched."""
        self._there[file.blob] = size

    def watch(self, part: Part) -> None:
        """A file is on its way."""
        with self._turn:
            self._parts[part.file.blob] = part
            self._there[part.file.blob] = part.there

    def read(self, size: int) -> None:
        """So many bytes that are there were read and hashed."""
        with self._turn:
            self.hashed += size

    def settle(self, file: File) -> None:
        """A file is complete and checked."""
        with self._turn:
            if file.blob not in self._parts:
                self.reused += file.size
            self._let_go(file)
            self._there[file.blob] = file.size
            self._done.add(file.blob)

    def leave(self, file: File) -> None:
        """Nobody is at the file any more; what has come of it stays."""
        with self._turn:
            self._let_go(file)

    def show(self) -> None:
        """Print where it stands, if that has changed."""
        with self._turn:
            done = sum(self._now(blob) for blob in self._sizes)
            now = (done, sum(self._names[blob] for blob in self._done))
        if now != self._last:
            say("progress", done, sum(self._sizes.values()))
            say("files", now[1], self._names.total())
            self._last = now

    @property
    def missing(self) -> int:
        """Bytes that are not there yet."""
        with self._turn:
            return sum(size - self._now(blob) for blob, size in self._sizes.items())

    def begin(self) -> None:
        """Say what is there, and go on saying it. What was there before the first line counts as no speed."""
        if not self._begun:
            self._begun = True
            say("total", sum(self._sizes.values()))
            self.show()
            threading.Thread(target=self._tick, daemon=True).start()

    def complete(self, files: Iterable[File]) -> None:
        """Every file is there and was checked; those that nobody settled were so before."""
        for file in {file.blob: file for file in files}.values():
            if file.blob not in self._done:
                self.found(file, file.size)
                self.settle(file)
        self.begin()

    def end(self) -> None:
        """Print the last line, if anything was said."""
        self._ended.set()
        if self._begun:
            self.show()

    def _tick(self) -> None:
        while not self._ended.wait(EVERY):
            self.show()

    def _now(self, blob: str) -> int:
        part = self._parts.get(blob)
        # What is there of a part counts before it is hashed: to read it is no progress.
        there = self._there[blob] if part is None else max(part.size, part.there)
        return min(there, self._sizes[blob])

    def _let_go(self, file: File) -> None:
        part = self._parts.pop(file.blob, None)
        if part is None:
            return
        self.fetched += part.fetched
        self.hashed += part.hashed
        self.reused += part.there
        self._there[file.blob] = part.size
