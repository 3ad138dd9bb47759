"""What a busy, silent or slow Hub does to a pull."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from hermeion.puller import attempts
from tests.unit.puller.conftest import MIB, notes, run, served
from tests.unit.puller.origin import HookedHandler, Origin

SHARD = "model-1.safetensors"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str], status: int) -> None:
    """429 and 5xx are tried again, and the note says what and how long."""
    origin.turn(statuses=[{"path": SHARD, "status": status, "times": 2}])
    run(origin.job(tmp_path / "cache"))

    assert origin.content == served(tmp_path / "cache")
    said = [
        text for text in notes(capsys.readouterr().out) if text.startswith(f"the Hub {origin.url} answers {status}")
    ]
    assert 2 == len(said)
    assert said[0].startswith(f"the Hub {origin.url} answers {status}, next try in 0")


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after(
    tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_date: bool
) -> None:
    """A server that says when, as seconds or as a date, is asked then and not before, by no worker."""
    asked: list[float] = []

    def hook(handler: HookedHandler) -> bool:
        if "/resolve/" not in handler.path:
            return False
        asked.append(time.time())
        if len(asked) > 1:
            return False
        after = formatdate(time.time() + 3, usegmt=True) if as_date else "2"
        return handler.answer(429, {"Retry-After": after, "Content-Length": "0"})

    origin.hook(hook)
    run(origin.job(tmp_path / "cache", workers=1))

    assert 1.5 <= asked[1] - asked[0] < 4
    if not as_date:
        assert f"the Hub {origin.url} answers 429, next try in 2 s" in notes(capsys.readouterr().out)


def test_retry_after_is_bounded(origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that wants a day's rest gets ten minutes."""
    waits: list[float] = []
    monkeypatch.setattr(attempts.Attempts, "pause", lambda _self, seconds: waits.append(seconds))
    origin.turn(statuses=[{"path": "resolve", "status": 429, "retry_after": 86400, "times": 1}])
    run(origin.job(tmp_path / "cache", workers=1))

    assert 600 == max(waits)


def test_stall(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A connection on which nothing comes is given up, and the file goes on where it was."""
    release = threading.Event()

    def hook(handler: HookedHandler) -> bool:
        if not handler.path.endswith(SHARD) or handler.headers.get("Range"):
            return False
        data = origin.content[SHARD]
        handler.answer(200, {"Content-Length": str(len(data))}, data[: 1 << 16])
        release.wait(10)
        return True

    origin.hook(hook)
    run(origin.job(tmp_path / "cache", stall_seconds=0.5))
    release.set()

    assert origin.content == served(tmp_path / "cache")
    assert [None, f"bytes={1 << 16}-"] == origin.asked(SHARD)
    said = notes(capsys.readouterr().out)
    assert any(text.startswith(f"the Hub {origin.url} sent nothing of {SHARD} for 0.5 s, next try in") for text in said)


def test_slow(tmp_path: Path, origin: Origin) -> None:
    """Slow is not stalled: a file that takes longer than the stall time comes in one go."""
    origin.turn(bodies=[{"path": SHARD, "bytes_per_second": 2 * MIB}])
    run(origin.job(tmp_path / "cache", stall_seconds=0.4))

    assert [None] == origin.asked(SHARD)
