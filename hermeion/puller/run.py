"""A pull from its beginning to its record."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence

from .attempts import Attempts
from .client import keep_tree, prove
from .job import Job
from .layout import Layout, write_atomic
from .locks import FolderLock, lost_lock
from .progress import Progress
from .record import is_complete, write_records
from .rooms import check_room, sync
from .sources import Refused, Source
from .talk import note, say, size_text
from .workers import Worker, each, unique


def pull(job: Job, sources: Sequence[Source]) -> None:
    """Have the weights complete, checked and recorded.

    Raises:
        Refused: It cannot be; the message says why, and what to do.
        Stopped: It was asked to end.
        OSError: The cache cannot be written.
    """
    began = time.monotonic()
    layout = Layout(job)
    attempts = Attempts(job.repo, sources)
    progress = Progress(job.files)
    try:
        if not is_complete(job, layout):
            if wait := getattr(sources[0], "wait", None):
                wait(attempts.gate)
                if not is_complete(job, layout):
                    raise Refused(
                        f"{layout.manifest}: {sources[0].name} has written it, and this host sees other files; "
                        "run again."
                    )
            else:
                _pull(job, layout, sources, attempts, progress, began)
        progress.complete(job.files)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused(
            f"{job.cache}: {'the disk is full' if error.errno == errno.ENOSPC else 'the quota is used up'}, and "
            f"{size_text(progress.missing)} of {size_text(job.total)} are missing. What has come stays: free some "
            "(`hermeion cache prune` shows what may go) and run again."
        ) from error
    finally:
        progress.end()
    for key, figure in (
        ("fetched", progress.fetched),
        ("reused", progress.reused),
        ("hashed", progress.hashed),
        ("seconds", f"{time.monotonic() - began:.1f}"),
        ("source", ", ".join(attempts.used) or "none"),
    ):
        say("fact", key, figure)


def _pull(
    job: Job, layout: Layout, sources: Sequence[Source], attempts: Attempts, progress: Progress, began: float
) -> None:
    lock = FolderLock(layout.lock, gate=attempts.gate, lost=lambda: attempts.stop(lost_lock(layout.lock)))
    try:
        with lock:
            if is_complete(job, layout):  # somebody else has done it while we waited
                return
            layout.make()
            worker = Worker(job, layout, attempts, progress)
            worker.survey()
            progress.begin()
            check_room(job.cache, progress.missing, job.reserve)
            each(unique(job), worker.bring, job.workers, attempts)
            for file in job.files:
                layout.link(file)
            note("checking")
            for source in sources:
                if not layout.tree.exists() and (extras := getattr(source, "extras", None)):
                    extras(job)
            keep_tree(job, layout)
            write_ref(layout)
            prove(job)
            sync(job.cache)
            attempts.gate()
            write_records(job, layout, source=", ".join(attempts.used) or "the cache", seconds=time.monotonic() - began)
    finally:
        attempts.stop()


def write_ref(layout: Layout) -> None:
    """Name the commit: exactly its 40 digits, since the client compares them, and a newline is no digit."""
    write_atomic(layout.ref, layout.job.revision)
