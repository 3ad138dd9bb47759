"""What ends a pull, each message verbatim."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hermeion.puller import locks
from hermeion.puller.sources import Refused
from tests.unit.puller.conftest import MIB, notes, run, served
from tests.unit.puller.origin import REPO, REVISION, Origin

SHARD = "model-1.safetensors"


@pytest.mark.parametrize(
    ("path", "status", "code", "token", "said"),
    [
        (
            "resolve",
            401,
            "GatedRepo",
            None,
            "is gated (401 GatedRepo): accept its terms on the Hub, export HF_TOKEN=hf_… where Hermeion runs, "
            "and run again.",
        ),
        (
            "resolve",
            403,
            "GatedRepo",
            "hf_wrong",
            "refuses the token that was given (403 GatedRepo): accept the terms of the repository with the "
            "account of the "
            "token, see that the token may read it and has not ended, and run again.",
        ),
        (
            "resolve",
            401,
            "RepoNotFound",
            None,
            "is not there, or it is private (401 RepoNotFound): look at the name; if it is private, export "
            "HF_TOKEN=hf_… "
            "where Hermeion runs, and run again.",
        ),
        (
            "resolve",
            404,
            "RepoNotFound",
            "hf_right",
            "is not there, or the token may not see it (404 RepoNotFound): look at the name and at what the "
            "token may read, "
            "and run again.",
        ),
        (
            "resolve",
            404,
            "RevisionNotFound",
            None,
            f"has no commit {REVISION} (404 RevisionNotFound); it was taken away there. Take the revision out of the "
            "inventory or set hermes_refresh = True, and run again.",
        ),
        (
            "model-2",
            404,
            "EntryNotFound",
            None,
            f"has no file model-2.safetensors at commit {REVISION} (404 EntryNotFound); look at the files of the "
            "catalogue "
            "entry, or whether the mirror is complete, and run again.",
        ),
        (
            "model-2",
            451,
            "",
            None,
            "answers 451 for model-2.safetensors; look at the endpoint and at proxies on the way to it.",
        ),
    ],
)
def test_refusals(
    tmp_path: Path, origin: Origin, path: str, status: int, code: str, token: str | None, said: str
) -> None:
    """What does not go better ends at once, with what, where, and the next step; nothing is recorded."""
    origin.turn(statuses=[{"path": path, "status": status, "error_code": code}])
    entry = {"kind": "hub", "endpoint": origin.url, "token": token}
    job = origin.job(tmp_path / "cache", sources=[entry], workers=1)
    with pytest.raises(Refused) as caught:
        run(job)

    assert f"{REPO} at {origin.url} {said}" == str(caught.value)
    assert 1 == sum(entry["status"] == status for entry in origin.log)
    assert [] == list((tmp_path / "cache/hermeion").glob("*.manifest"))
    assert [] == list((tmp_path / "cache/hermeion").glob("*.lock"))


def test_give_up(tmp_path: Path, origin: Origin) -> None:
    """Eight tries without a byte are enough; the message has the last reason and the next step."""
    origin.turn(statuses=[{"path": SHARD, "status": 503}])
    with pytest.raises(Refused) as caught:
        run(origin.job(tmp_path / "cache"))

    assert (
        f"me/model: the Hub {origin.url} answers 503; given up after 8 tries without a byte. What has come "
        "stays: run again "
        "when the source is well."
    ) == str(caught.value)
    assert 8 == len(origin.asked(SHARD))


def test_unreachable(tmp_path: Path, origin: Origin) -> None:
    """A refused connection is tried again, and said."""
    origin.server.shutdown()
    origin.server.server_close()
    with pytest.raises(Refused) as caught:
        run(origin.job(tmp_path / "cache", workers=1))

    assert (
        f"me/model: {origin.url.removeprefix('http://')} cannot be reached (Connection refused); given up "
        "after 8 tries "
        "without a byte. What has come stays: run again when the source is well."
    ) == str(caught.value)


def test_next_source(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A source that refuses is left for the next one, once for all files."""
    gone = {"kind": "hub", "endpoint": origin.url + "/missing"}
    there: dict[str, Any] = {"kind": "hub", "endpoint": origin.url}
    run(origin.job(tmp_path / "cache", sources=[gone, there], workers=1))

    assert origin.content == served(tmp_path / "cache")
    said = [text for text in notes(capsys.readouterr().out) if "Next source" in text]
    assert 1 == len(said)
    assert said[0].endswith(f" Next source: the Hub {origin.url}")


def test_lock_is_lost(tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer whose lock was taken over stops writing and says so; it records nothing."""
    monkeypatch.setattr(locks, "BEAT", 0.1)
    origin.turn(bodies=[{"path": SHARD, "bytes_per_second": MIB}])
    lock = tmp_path / f"cache/hermeion/models--me--model@{REVISION}.lock"

    def steal() -> None:
        while not (lock / "owner.json").exists():
            time.sleep(0.01)
        (lock / "owner.json").write_text('{"host": "gpu-2", "pid": 1, "id": "other"}')

    threading.Thread(target=steal, daemon=True).start()
    with pytest.raises(Refused) as caught:
        run(origin.job(tmp_path / "cache"))

    assert (
        f"{lock}: another host took this pull over, since this one gave no sign of life for 60 s; run again: "
        "it waits for "
        "the other, and then uses what is there."
    ) == str(caught.value)
    assert "gpu-2" in (lock / "owner.json").read_text()
    assert [] == list((tmp_path / "cache/hermeion").glob("*.manifest"))
