"""What the machine did while something was measured: it tells what bounded the figure."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType


def _ticks() -> tuple[float, int, int, int]:
    """The time, and ticks of all cores: computing, waiting for a disk, in all."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting, total = numbers[3], numbers[4], sum(numbers)
    return time.time(), total - idle - waiting, waiting, total


class Load:
    """Looks twice a second, while its block lasts."""

    def __init__(self) -> None:
        self._seen = [_ticks()]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Load:  # noqa: PYI034  # as the code on hosts has it
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._seen.append(_ticks())

    def _look(self) -> None:
        while not self._ended.wait(0.5):
            self._seen.append(_ticks())

    def between(self, begun: float, ended: float) -> str:
        """What the cores did, other work on the machine included."""
        first = max((row for row in self._seen if row[0] <= begun), default=self._seen[0])
        last = min((row for row in self._seen if row[0] >= ended), default=self._seen[-1])
        total = max(1, last[3] - first[3])
        return f"cores {(last[1] - first[1]) / total:.0%} busy, {(last[2] - first[2]) / total:.0%} waiting for the disk"
