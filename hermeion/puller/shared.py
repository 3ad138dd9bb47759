"""Into the same filesystem another host of the run writes: there is nothing to fetch, only to wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .job import File, Job
from .layout import Layout
from .parts import Part
from .record import is_complete
from .sources import Refused
from .talk import note, seconds_text, size_text

LOOK_SECONDS = 1.0
"""How often it is looked what there is; a network filesystem may show it some seconds late."""

PATIENCE = 900.0
"""Seconds without a sign of life until the other is given up: longer than the ten minutes that a Hub may ask for."""


class Shared:
    """Another host's pull into the filesystem that this host's cache is on too.

    Args:
        entry: ``host``: who pulls; and perhaps ``patience`` in seconds.
    """

    def __init__(self, entry: dict[str, Any], job: Job) -> None:
        self.name = f"{entry['host']}, into the same filesystem"
        self._host = str(entry["host"])
        self._patience = float(entry.get("patience", PATIENCE))
        self._job = job

    def wait(self, gate: Callable[[], None] = lambda: None) -> None:
        """Wait until the weights are complete and checked. Writes nothing.

        Args:
            gate: Called while it waits; it raises what stops the pull.

        Raises:
            Refused: Nothing comes any more.
        """
        layout, said = Layout(self._job), ""
        last, since = self._signs(layout), time.monotonic()
        while not is_complete(self._job, layout):
            gate()
            if (signs := self._signs(layout)) != last:
                last, since = signs, time.monotonic()
            quiet = time.monotonic() - since
            if quiet > self._patience:
                raise Refused(self._silence(layout, quiet))
            there = sum(size for name, size, _ in last if name != layout.lock.name)
            text = f"{self._host} pulls into the same filesystem: {size_text(there)} of {size_text(self._job.total)}"
            if text != said:
                note(text)
                said = text
            time.sleep(LOOK_SECONDS)

    def fill(self, file: File, part: Part) -> None:
        """Nothing is fetched.

        Raises:
            Refused: Always.
        """
        raise Refused(f"{file.path}: {self._host} pulls it; {part.path} is not this host's to write.")

    def _signs(self, layout: Layout) -> tuple[tuple[str, int, int], ...]:
        """What changes while the other host is at it: sizes of the wanted blobs, and its beat on the lock."""
        found = []
        names = {file.blob: file.size for file in self._job.files}
        for path in (*(layout.blobs / name for name in names), layout.lock):
            for candidate in (path, path.with_name(f"{path.name}.incomplete")):
                try:
                    status = candidate.stat()
                except OSError:
                    continue
                found.append((path.name, min(status.st_size, names.get(path.name, 0)), status.st_mtime_ns))
                break
        return tuple(found)

    def _silence(self, layout: Layout, quiet: float) -> str:
        holder = _holder(layout.lock / "owner.json")
        return (
            f"{self._job.repo}: {self._host} was to pull into the filesystem of {self._job.cache}, and nothing came "
            f"for {seconds_text(quiet)}; {holder}. Look at what the run says of {self._host}, and run again."
        )


def _holder(path: Path) -> str:
    """Who has the lock, for a message."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"its lock is held by {owner['host']} (process {owner['pid']}) since {owner['since']}"
    except FileNotFoundError:
        return "nobody holds its lock"
    except (OSError, ValueError, KeyError, TypeError):
        return f"its lock {path.parent} cannot be read"
