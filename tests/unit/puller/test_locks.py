"""The lock of a pull, and the mark of a file: who has it, and when it is dead."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hermeion.puller import locks, marks
from hermeion.puller.locks import FolderLock, process_start
from hermeion.puller.marks import Mark
from hermeion.puller.sources import Stopped
from tests.unit.puller.conftest import notes


def a_lock(path: Path) -> FolderLock:
    """A lock that gives up waiting after a second."""
    until = time.monotonic() + 1.2

    def gate() -> None:
        if time.monotonic() > until:
            raise Stopped

    return FolderLock(path, gate=gate, lost=lambda: None)


def held_by(path: Path, **owner: Any) -> None:
    """A lock that another writer left or holds."""
    path.mkdir(parents=True)
    ours: dict[str, Any] = {"host": os.uname().nodename, "pid": os.getpid(), "boot": marks.boot_id()}
    ours |= {"start": process_start(os.getpid()), "since": "2026-01-01T00:00:00+00:00", "id": "theirs"}
    (path / "owner.json").write_text(json.dumps(ours | owner))


def dead_process() -> int:
    """A process id of nobody."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_taken_and_given_back(tmp_path: Path) -> None:
    """While it is held it says by whom; afterwards nothing is left."""
    path = tmp_path / "hermeion/a.lock"
    with a_lock(path):
        owner = json.loads((path / "owner.json").read_text())
        assert (os.uname().nodename, os.getpid(), marks.boot_id()) == (owner["host"], owner["pid"], owner["boot"])
    assert [] == list((tmp_path / "hermeion").iterdir())


@pytest.mark.parametrize(
    ("owner", "age", "dead"),
    [
        ({}, 0, False),
        ({}, 3600, False),
        ({"start": "1"}, 0, True),
        ({"pid": None}, 0, True),
        ({"host": "gpu-2"}, 0, False),
        ({"host": "gpu-2"}, 55, False),
        ({"host": "gpu-2"}, 61, True),
        ({"boot": "before"}, 0, False),
        ({"boot": "before"}, 61, True),
    ],
    ids=str,
)
def test_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], owner: dict[str, Any], age: float, dead: bool
) -> None:
    """On this host the process decides, elsewhere a minute without a sign of life."""
    path = tmp_path / "a.lock"
    owner = {key: dead_process() if value is None else value for key, value in owner.items()}
    held_by(path, **owner)
    then = time.time() - age
    os.utime(path, (then, then))
    if dead:
        with a_lock(path):
            assert "theirs" not in (path / "owner.json").read_text()
        assert [] == list(tmp_path.iterdir())
    else:
        with pytest.raises(Stopped), a_lock(path):
            pass
        host, pid = owner.get("host", os.uname().nodename), owner.get("pid", os.getpid())
        assert [
            f"{host} (process {pid}) pulls the same weights since 2026-01-01T00:00:00+00:00; waiting for it"
        ] == notes(capsys.readouterr().out)
        assert [path] == list(tmp_path.iterdir())


def test_no_owner_yet(tmp_path: Path) -> None:
    """A lock between its two steps is nobody's to break; a minute later it is."""
    path = tmp_path / "a.lock"
    path.mkdir()
    with pytest.raises(Stopped), a_lock(path):
        pass
    os.utime(path, (1, 1))
    with a_lock(path):
        assert (path / "owner.json").exists()


def test_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is held its time goes on."""
    monkeypatch.setattr(locks, "BEAT", 0.05)
    path = tmp_path / "a.lock"
    with a_lock(path):
        os.utime(path, (1, 1))
        until = time.monotonic() + 5
        while path.stat().st_mtime < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 5


def test_one_at_a_time(tmp_path: Path) -> None:
    """Of many that want it, with a dead one in their way, never two have it."""
    path = tmp_path / "a.lock"
    held_by(path, pid=dead_process())
    inside, most, turns = [0], [0], []

    def work() -> None:
        with FolderLock(path, gate=lambda: None, lost=lambda: None):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            inside[0] -= 1
            turns.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (1, 6) == (most[0], len(turns))


def test_mark(tmp_path: Path) -> None:
    """A mark is held by one, says how far the file is safe after a crash alone, and goes when the file is finished."""
    path = tmp_path / "blob"
    mark = Mark.take(path)
    assert mark is not None
    assert Mark.take(path) is None
    mark.put(5)
    assert mark.safe() is None
    mark.put(7)
    assert f"{marks.boot_id()} {7:>20}\n" == path.read_text()
    path.write_text(path.read_text().replace(marks.boot_id(), "before"))
    assert 7 == mark.safe()
    mark.close()
    again = Mark.take(path)
    assert again is not None
    again.drop()
    assert not path.exists()
