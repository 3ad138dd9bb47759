"""The program that pulls weights, without the Hub's client."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermeion.host_scripts import pull
from tests.unit.builders import REVISION

CONTENT = {"model.safetensors": b"weights" * 100, "config.json": b"{}"}


def wanted(*, hashed: bool = True) -> list[dict[str, Any]]:
    """The files of a job, as the Hub tells them."""
    return [
        {
            "path": path,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest() if hashed and path.endswith(".safetensors") else None,
        }
        for path, data in CONTENT.items()
    ]


def a_job(cache: Path) -> dict[str, Any]:
    """A job for a cache."""
    return {
        "name": f"models--me--model@{REVISION}",
        "repo": "me/model",
        "revision": REVISION,
        "cache": str(cache),
        "files": wanted(),
    }


def fill(cache: Path, content: dict[str, bytes] | None = None) -> Path:
    """Lay files down as the Hub's client does: blobs, and links to them."""
    folder = cache / "hub" / "models--me--model"
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True, exist_ok=True)
    (folder / "blobs").mkdir(exist_ok=True)
    for path, data in (content or CONTENT).items():
        blob = folder / "blobs" / hashlib.sha256(path.encode()).hexdigest()
        if not blob.exists():
            blob.write_bytes(data)
        if not (snapshot / path).is_symlink():
            (snapshot / path).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


Install = Callable[[Callable[[], None]], list[dict[str, Any]]]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a stand-in for the Hub's client that runs ``act`` and remembers how it was asked."""

    def install(act: Callable[[], None]) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def snapshot_download(repo: str, **options: Any) -> None:
            calls.append({"repo": repo, **options})
            act()

        module = types.ModuleType("huggingface_hub")
        module.snapshot_download = snapshot_download  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        monkeypatch.setattr("time.sleep", lambda _: None)
        return calls

    return install


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        ({}, []),
        ({"model.safetensors": b"weights" * 99 + b"weightz"}, ["model.safetensors"]),
        ({"model.safetensors": b"short"}, ["model.safetensors"]),
        ({"config.json": b"[]"}, []),
        ({"config.json": b"{ }"}, ["config.json"]),
    ],
)
def test_check(tmp_path: Path, damage: dict[str, bytes], wrong: list[str]) -> None:
    """Size and, where the Hub tells it, SHA-256 decide; a small file without one goes by its size."""
    assert wrong == pull.check(fill(tmp_path, CONTENT | damage), wanted())


def test_check_missing_files(tmp_path: Path) -> None:
    """A file that is missing is wrong, and so is a link that leads nowhere."""
    snapshot = fill(tmp_path)
    (snapshot / "config.json").unlink()
    (snapshot / "model.safetensors").resolve().unlink()

    assert ["model.safetensors", "config.json"] == pull.check(snapshot, wanted())


def test_write_atomic(tmp_path: Path) -> None:
    """A file is replaced as a whole, readable by all, in a folder that is made; nothing else is left."""
    path = tmp_path / "folder" / "file"
    pull.write_atomic(path, "one")
    pull.write_atomic(path, "two")

    assert ("two", "0o100644") == (path.read_text(), oct(path.stat().st_mode))
    assert ["file"] == [child.name for child in path.parent.iterdir()]


def test_bytes_in(tmp_path: Path) -> None:
    """Finished blobs count always, half-finished ones when they are of this run."""
    (tmp_path / "done").write_bytes(b"12345")
    os.utime(tmp_path / "done", (1, 1))
    for name, when in (("new.incomplete", 100), ("old.incomplete", 10)):
        (tmp_path / name).write_bytes(b"123")
        os.utime(tmp_path / name, (when, when))

    assert 8 == pull.bytes_in(tmp_path, since=50)
    assert 0 == pull.bytes_in(tmp_path / "missing", since=0)


def test_pull(tmp_path: Path, client: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """A pull ends with a manifest that the probe compares, and with the branch's name for the engine."""
    calls = client(lambda: (fill(tmp_path), None)[1])
    pull.pull(a_job(tmp_path))

    assert [
        {
            "repo": "me/model",
            "revision": REVISION,
            "cache_dir": tmp_path / "hub",
            "allow_patterns": ["model.safetensors", "config.json"],
        }
    ] == calls
    assert (
        "2 config.json\n700 model.safetensors\n"
        == (tmp_path / "hermeion" / f"models--me--model@{REVISION}.manifest").read_text()
    )
    assert REVISION == (tmp_path / "hub" / "models--me--model" / "refs" / "main").read_text()
    assert ["##progress 702 702", "##note checking"] == capsys.readouterr().out.splitlines()


def test_damaged_blob_comes_again(tmp_path: Path, client: Install) -> None:
    """A blob that is damaged on disk looks complete to the client: it is taken away first."""
    snapshot = fill(tmp_path, CONTENT | {"model.safetensors": b"weights" * 99 + b"weightz"})
    client(lambda: (fill(tmp_path), None)[1])
    pull.pull(a_job(tmp_path))

    assert CONTENT["model.safetensors"] == (snapshot / "model.safetensors").read_bytes()


def test_hub_that_sends_something_else(tmp_path: Path, client: Install) -> None:
    """What is not as promised is removed, and nothing says that the copy is complete."""
    client(lambda: (fill(tmp_path, CONTENT | {"config.json": b"{ }"}), None)[1])
    with pytest.raises(SystemExit) as caught:
        pull.pull(a_job(tmp_path))

    assert "me/model: config.json differ from what the Hub promised; removed, run again" == str(caught.value)
    assert not (tmp_path / "hermeion").exists()
    assert not (tmp_path / "hub" / "models--me--model" / "refs").exists()
    assert ["model.safetensors"] == [
        path.name for path in (tmp_path / "hub" / "models--me--model" / "snapshots" / REVISION).iterdir()
    ]


def test_retries(tmp_path: Path, client: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the network is tried again, and told to those who wait."""
    left = [OSError("429 Too Many Requests"), OSError("503")]

    def act() -> None:
        if left:
            raise left.pop(0)
        fill(tmp_path)

    calls = client(act)
    pull.download(a_job(tmp_path), tmp_path / "hub")

    assert 3 == len(calls)
    assert [
        "##note attempt 1 failed (OSError), next in 2 s",
        "OSError: 429 Too Many Requests",
        "##note attempt 2 failed (OSError), next in 4 s",
        "OSError: 503",
    ] == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("error", "attempts"), [(OSError("503"), 5), (OSError(28, "No space left on device"), 1)])
def test_giving_up(tmp_path: Path, client: Install, error: OSError, attempts: int) -> None:
    """After five attempts the error stands; a full disk is not tried again."""

    def act() -> None:
        raise error

    calls = client(act)
    with pytest.raises(OSError, match=str(error.args[-1])):
        pull.download(a_job(tmp_path), tmp_path / "hub")

    assert attempts == len(calls)


def test_main_says_it_in_one_line(tmp_path: Path, client: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits reads one line with repository and cause."""

    def act() -> None:
        raise PermissionError(13, "Permission denied")

    client(act)
    monkeypatch.setattr(pull, "RETRIES", 1)
    job = tmp_path / "job.json"
    job.write_text(json.dumps(a_job(tmp_path / "cache")))
    monkeypatch.setattr(sys, "argv", ["pull.py", str(job)])
    with pytest.raises(SystemExit) as caught:
        pull.main()

    assert "me/model: PermissionError: [Errno 13] Permission denied" == str(caught.value)


def test_report_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The progress ends when it is told to."""
    stop = threading.Event()
    stop.set()
    pull.report(tmp_path, 10, stop)

    assert "" == capsys.readouterr().out
