"""Files of a pull, several at the same time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .attempts import Attempts
from .job import File, Job
from .layout import Layout
from .marks import Mark
from .parts import Part, hash_of
from .progress import Progress
from .record import Stamp, known_blobs
from .rooms import is_network
from .talk import note


def unique(job: Job) -> tuple[File, ...]:
    """Files by content: two names of one blob are one file."""
    return tuple({file.blob: file for file in reversed(job.files)}.values())[::-1]


class Worker:
    """Brings one file after the other."""

    def __init__(self, job: Job, layout: Layout, attempts: Attempts, progress: Progress) -> None:
        self._layout = layout
        self._attempts = attempts
        self._progress = progress
        self._files = unique(job)
        self._known = known_blobs(job, layout)
        self._network = is_network(job.cache)

    def survey(self) -> None:
        """See what is there; a blob of the wrong size is no blob, and goes before anybody is served from it."""
        for file in self._files:
            blob = self._layout.blobs / file.blob
            _own(blob)
            if blob.exists() and blob.stat().st_size != file.size:
                note(f"{file.path} has {blob.stat().st_size} bytes, promised were {file.size}; fetched again")
                blob.unlink()
            part = blob.with_name(f"{blob.name}.incomplete")
            there = file.size if blob.exists() else part.stat().st_size if part.exists() else 0
            self._progress.found(file, min(there, file.size))

    def bring(self, file: File) -> None:
        """Have the blob there, and checked."""
        blob = self._layout.blobs / file.blob
        mark = self._claim(file)
        try:
            if blob.exists() and self._is_right(file, blob):
                mark.drop()
                return
            part = Part(file, self._layout.blobs, gate=self._attempts.gate, mark=mark)
            self._progress.watch(part)
            try:
                self._attempts.fill(file, part)
                part.finish()
                self._progress.settle(file)
            finally:
                part.close()
                self._progress.leave(file)
        finally:
            mark.close()

    def _claim(self, file: File) -> Mark:
        """Another pull on this host may want the same blob: it is fetched by one of them."""
        said = False
        while (mark := Mark.take(self._layout.parts / file.blob)) is None:
            if not said:
                note(f"another pull on this host fetches {file.path}; waiting for it")
                said = True
            self._attempts.pause(0.5)
        return mark

    def _is_right(self, file: File, blob: Path) -> bool:
        if Stamp.of(blob, network=self._network) in self._known.get(file.blob, set()):
            self._progress.settle(file)
            return True
        digest = hash_of(file, blob, self._attempts.gate)
        self._progress.read(file.size)
        if digest == file.blob:
            self._progress.settle(file)
            return True
        note(f"{file.path} is damaged on disk: promised was {file.blob}, found {digest}; fetched again")
        blob.unlink()
        self._progress.found(file, 0)
        return False


def each(files: Sequence[File], act: Callable[[File], None], workers: int, attempts: Attempts) -> None:
    """Do it for each file, several at the same time; the first failure ends all.

    The threads are daemons: one may sit in a read that nothing interrupts.

    Raises:
        Exception: What failed first.
    """
    left = deque(files)

    def work() -> None:
        while True:
            try:
                file = left.popleft()
            except IndexError:
                return
            try:
                attempts.gate()
                act(file)
            except BaseException as error:  # raised again by the one that waits
                attempts.stop(error if isinstance(error, Exception) else RuntimeError(repr(error)))
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(files)))]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not attempts.why_stopped:
            for thread in threads:
                thread.join(0.1)
    except BaseException:  # a signal
        attempts.stop()
        _settle_down(threads)
        raise
    if attempts.why_stopped:
        _settle_down(threads)
        raise attempts.why_stopped


def _settle_down(threads: Sequence[threading.Thread]) -> None:
    """Let those that can end their block."""
    until = time.monotonic() + 1
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def _own(blob: Path) -> None:
    """A blob that the client keeps in its store for all repositories gets a place here too, without a copy."""
    if not blob.is_symlink() or not blob.exists():
        return
    new = blob.with_name(f"{blob.name}.new")
    with suppress(OSError):  # another filesystem: the link stays, and leads there
        new.unlink(missing_ok=True)
        new.hardlink_to(blob.resolve())
        new.replace(blob)
