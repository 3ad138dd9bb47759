"""What a person sees while the lab is built: one line per stage, with seconds; bytes, rate and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hermeion.units import format_progress, format_seconds

_LINE_EVERY = 5.0  # seconds between plain progress lines; more often only fills a log


class Meter:
    """Counts bytes of one transfer and shows them: a bar in a terminal, plain lines elsewhere."""

    def __init__(self, report: Report, label: str, total: int) -> None:
        self._report = report
        self._label = label
        self._total = total
        self._done = 0
        self._start = self._last = time.monotonic()
        self._bar: Progress | None = None
        if report.console.is_terminal:
            columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(binary_units=True))
            self._bar = Progress(
                *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=report.console, transient=True
            )
            self._bar.start()
            self._task = self._bar.add_task(label, total=total or None)

    def advance(self, count: int) -> None:
        """``count`` more bytes are done."""
        self._done += count
        if self._bar is not None:
            self._bar.advance(self._task, count)
            return
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY:
            self._last = now
            # Tar headers come on top of the files that were counted.
            done = min(self._done, self._total or self._done)
            text = format_progress(done, self._total, done / (now - self._start))
            self._report.line(f"  {self._label}: {text}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


class Report:
    """Writes progress to standard error, so that standard output stays for results."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._start = time.monotonic()

    def line(self, text: str) -> None:
        """One line, with the seconds since this command began."""
        elapsed = format_seconds(time.monotonic() - self._start)
        self.console.print(f"[dim]\\[{elapsed:>9}][/dim] {text.replace('[', chr(92) + '[')}")

    @contextmanager
    def stage(self, text: str) -> Iterator[None]:
        """Say what begins and, if it took over two seconds, how long it took."""
        self.line(f"{text} ...")
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        if seconds > 2:
            self.line(f"{text}: done in {format_seconds(seconds)}")

    @contextmanager
    def meter(self, label: str, total: int) -> Iterator[Meter]:
        """Show a transfer of ``total`` bytes (0: unknown)."""
        meter = Meter(self, label, total)
        try:
            yield meter
        finally:
            meter.close()
