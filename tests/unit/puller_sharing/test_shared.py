"""Waiting for another host's pull into the same filesystem."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from hermeion.puller.job import Job
from hermeion.puller.layout import Layout
from hermeion.puller.parts import Part
from hermeion.puller.record import write_records
from hermeion.puller.shared import Shared
from hermeion.puller.sources import Refused, Stopped
from tests.unit.puller_sharing.conftest import file_of, job_of

CONTENT = b"weights" * 1000


def pull_slowly(job: Job, steps: int, wait: float) -> threading.Thread:
    """Do what the other host does: bytes, links, records."""
    layout = Layout(job)
    layout.make()

    def run() -> None:
        for file in job.files:
            part = Part(file, layout.blobs)
            for step in range(steps):
                part.write(CONTENT[step * len(CONTENT) // steps : (step + 1) * len(CONTENT) // steps])
                time.sleep(wait)
            part.finish()
            layout.link(file)
        write_records(job, layout, source="here", seconds=1)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def everything(folder: Path) -> list[tuple[str, int]]:
    """Every path with its time of change."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def test_it_waits_until_all_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends when the other host has written its manifest, however slowly bytes come there, and writes nothing."""
    job = job_of(tmp_path, file_of(CONTENT))
    writer = pull_slowly(job, 6, 0.4)

    Shared({"kind": "shared", "host": "gpu-1", "patience": 60}, job).wait()
    writer.join()
    after = everything(tmp_path)
    Shared({"kind": "shared", "host": "gpu-1", "patience": 2}, job).wait()

    assert Layout(job).manifest.exists()
    assert after == everything(tmp_path)
    notes = capsys.readouterr().out.splitlines()
    told = r"##note gpu-1 pulls into the same filesystem: [\d.]+ (bytes|KiB) of 6\.8 KiB"
    assert all(re.fullmatch(told, line) for line in notes)
    assert 1 < len(set(notes)) == len(notes)


def test_nothing_comes(tmp_path: Path) -> None:
    """When nothing has come for the patience, it says who was to pull, for how long it was quiet, and what to do."""
    job = job_of(tmp_path, file_of(CONTENT))

    with pytest.raises(Refused) as error:
        Shared({"kind": "shared", "host": "gpu-1", "patience": 1}, job).wait()

    assert (
        f"o/m: gpu-1 was to pull into the filesystem of {tmp_path}, and nothing came for N s; nobody holds its lock. "
        "Look at what the run says of gpu-1, and run again." == re.sub(r"for [\d.]+ s;", "for N s;", str(error.value))
    )


def test_beat_of_the_lock_is_a_sign_of_life(tmp_path: Path) -> None:
    """A pull that hashes gets no bytes for long: its beat on the lock counts. When it ends, its holder is named."""
    job = job_of(tmp_path, file_of(CONTENT))
    lock = Layout(job).lock
    lock.mkdir(parents=True)
    (lock / "owner.json").write_text(json.dumps({"host": "gpu-7", "pid": 12, "since": "2026-01-01"}))

    def beat() -> None:
        for _ in range(10):
            time.sleep(0.5)
            os.utime(lock)

    beats = threading.Thread(target=beat)
    beats.start()
    with pytest.raises(Refused, match=r"its lock is held by gpu-7 \(process 12\) since 2026-01-01\. Look at"):
        Shared({"kind": "shared", "host": "gpu-1", "patience": 3}, job).wait()

    assert not beats.is_alive(), "it gave up while the lock was beating"


def test_it_can_be_stopped(tmp_path: Path) -> None:
    """What stops the pull stops the waiting."""

    def gate() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        Shared({"kind": "shared", "host": "gpu-1"}, job_of(tmp_path, file_of(CONTENT))).wait(gate)
