"""One file, from the first source that can: again after what may go better, once more after wrong bytes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

from .job import File
from .parts import Part
from .sources import Refused, Retry, Source, Stopped, Wrong
from .talk import note, seconds_text

TRIES = 8
"""Tries of one file without a byte, after which its source is given up."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds; doubled from try to try."""

LONGEST_ASKED = 600.0
"""Seconds that a server may ask to wait."""


class Attempts:
    """What the workers of one pull share: which source is used, until when a server wants rest, and the end.

    Attributes:
        used: Names of the sources that gave bytes, in order.
    """

    def __init__(self, repo: str, sources: Sequence[Source]) -> None:
        self._repo = repo
        self._sources = sources
        self._current = 0
        self._turn = threading.Lock()
        self._stopped = threading.Event()
        self._rest_until = 0.0
        self.used: list[str] = []
        self.why_stopped: Exception | None = None

    def stop(self, why: Exception | None = None) -> None:
        """End: workers find out before their next block."""
        self.why_stopped = self.why_stopped or why
        self._stopped.set()

    def gate(self) -> None:
        """Pass, or raise what stops the pull."""
        if self._stopped.is_set():
            raise Stopped

    def fill(self, file: File, part: Part) -> None:
        """Fetch what is missing, until it is the promised file.

        Raises:
            Refused: No source gives it.
        """
        tries, wrong, before = 0, False, -1
        while True:
            at = self._current
            source = self._sources[at]
            try:
                part.catch_up()
                if part.size >= file.size:
                    if part.is_good:
                        return
                    raise Wrong(what_is_wrong(file, part))
                self._rest()
                before = part.size
                source.fill(file, part)
                self._note_use(source, part.size > before)
                if part.size < file.size:
                    raise Retry(f"{source.name} ended {file.path} after {part.size} of {file.size} bytes")
            except Retry as error:
                tries = 1 if part.size > before >= 0 else tries + 1
                if part.size > before:
                    self._note_use(source, True)
                if tries >= TRIES:
                    self._give_up(
                        at,
                        f"{self._repo}: {error}; given up after {TRIES} tries without a byte. What has come stays: "
                        "run again when the source is well.",
                    )
                    tries, wrong = 0, False
                else:
                    self._wait(error, tries)
            except Wrong as error:
                part.restart()
                if wrong:
                    self._give_up(
                        at,
                        f"{self._repo}: {error}, twice. Nothing of it was kept: look whether a proxy or a mirror "
                        "changes files, and run again.",
                    )
                else:
                    note(f"{error}; fetched again from the start")
                wrong = not wrong
            except Refused as error:
                self._give_up(at, str(error))
                tries, wrong = 0, False

    def pause(self, seconds: float) -> None:
        """Wait, unless the pull ends."""
        if self._stopped.wait(max(0.0, seconds)):
            raise Stopped

    def _wait(self, error: Retry, tries: int) -> None:
        if error.wait is not None:
            wait = min(error.wait, LONGEST_ASKED)
            self._rest_until = max(self._rest_until, time.monotonic() + wait)
        else:
            wait = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.75, 1.25)  # noqa: S311
        note(f"{error}, next try in {seconds_text(wait)}")
        self.pause(wait)

    def _rest(self) -> None:
        """What one worker was asked to wait, all wait."""
        self.gate()
        self.pause(self._rest_until - time.monotonic())

    def _note_use(self, source: Source, used: bool) -> None:
        with self._turn:
            if used and source.name not in self.used:
                self.used.append(source.name)

    def _give_up(self, at: int, why: str) -> None:
        """Go on with the next source, for all files.

        Raises:
            Refused: There is none.
        """
        if at + 1 >= len(self._sources):
            raise Refused(why)
        with self._turn:
            if self._current == at:
                self._current = at + 1
                note(f"{why} Next source: {self._sources[at + 1].name}")


def what_is_wrong(file: File, part: Part) -> str:
    """A sentence without its end."""
    if part.size != file.size:
        return f"{file.path} has {part.size} bytes, promised were {file.size}"
    return f"{file.path} has the right size and other bytes: promised was {file.blob}, found {part.digest}"
