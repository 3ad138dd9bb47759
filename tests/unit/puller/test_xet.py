"""Xet, by the real library on a local store, and what happens when it fails."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import hf_xet  # type: ignore[import-untyped]
import pytest

from hermeion.puller.job import File
from hermeion.puller.parts import Part
from tests.unit.puller.conftest import MIB, facts, notes, run
from tests.unit.puller.origin import REVISION, HookedHandler, Origin, wanted

SHARD = "model-1.safetensors"


class Store:
    """A local Xet store with the first shard."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self.url = f"local://{folder / 'store'}"
        (folder / "store").mkdir()
        (folder / "upload").write_bytes(data)
        commit = hf_xet.XetSession().new_upload_commit(endpoint=self.url)
        upload = commit.start_upload_file(str(folder / "upload"))
        commit.wait_to_finish()
        self.hash = upload.result().xet_info.hash


@pytest.fixture
def store(tmp_path: Path, origin: Origin) -> Store:
    """The shard is in the store, and the Hub tells where that is."""
    made = Store(tmp_path, origin.content[SHARD])
    serve_tokens(origin, made.url)
    return made


def serve_tokens(origin: Origin, url: str) -> None:
    """Let the Hub give tokens for a store."""

    def hook(handler: HookedHandler) -> bool:
        if not handler.path.startswith(f"/api/models/me/model/xet-read-token/{REVISION}"):
            return False
        expiry = int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expiry)}
        body = json.dumps({"casUrl": url, "accessToken": "xet", "exp": expiry}).encode()
        return handler.answer(200, headers | {"Content-Length": str(len(body))}, body)

    origin.hook(hook)


def xet_job(origin: Origin, cache: Path, name: str, **more: Any) -> dict[str, Any]:
    """A job whose first shard is in Xet under this name."""
    job = origin.job(cache, **more)
    job["files"][0]["xet"] = name
    return job


def test_pull_by_xet(tmp_path: Path, origin: Origin, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that Xet has comes from there, checked like any other, and is not asked for over HTTP."""
    run(xet_job(origin, tmp_path / "cache", store.hash))

    assert [] == origin.asked(SHARD)
    out = capsys.readouterr().out
    assert not [text for text in notes(out) if "Xet" in text]
    assert str(sum(map(len, origin.content.values()))) == facts(out)["fetched"]
    tree = json.loads((tmp_path / f"cache/hub/models--me--model/trees/{REVISION}.json").read_text())
    assert hashlib.sha256(origin.content[SHARD]).hexdigest() == tree["files"][SHARD]["lfs_sha256"]


def test_resume_by_xet(tmp_path: Path, origin: Origin, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Xet too goes on at any byte."""
    data = origin.content[SHARD]
    blobs = tmp_path / "cache/hub/models--me--model/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(data).hexdigest()}.incomplete").write_bytes(data[: MIB + 3])
    run(xet_job(origin, tmp_path / "cache", store.hash))

    assert [] == origin.asked(SHARD)
    assert str(MIB + 3) == facts(capsys.readouterr().out)["reused"]


def test_unknown_to_xet(tmp_path: Path, origin: Origin, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """What Xet does not have ends early without an error of its own: the rest comes over HTTP, and that is said."""
    run(xet_job(origin, tmp_path / "cache", "0" * 64))

    assert [None] == origin.asked(SHARD)
    size = len(origin.content[SHARD])
    assert [f"Xet: {SHARD} ended after 0 of {size} bytes; the rest comes over plain HTTP"] == [
        text for text in notes(capsys.readouterr().out) if "Xet" in text
    ]


def test_no_xet_token(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A mirror that knows no Xet tokens gives the file over HTTP."""
    run(xet_job(origin, tmp_path / "cache", "0" * 64))

    assert [None] == origin.asked(SHARD)
    assert any(text.startswith(f"Xet: {SHARD}: ") for text in notes(capsys.readouterr().out))


def test_other_file_in_xet(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """Xet's own checks are not trusted: bytes that are not the promised ones come again."""
    other = os.urandom(len(origin.content[SHARD]))
    wrong = Store(tmp_path, other)
    serve_tokens(origin, wrong.url)
    job = xet_job(origin, tmp_path / "cache", wrong.hash)
    run(job)

    assert [None] == origin.asked(SHARD)
    said = notes(capsys.readouterr().out)
    assert f"Xet: {SHARD} was another file there; the rest comes over plain HTTP" in said
    good, bad = (hashlib.sha256(data).hexdigest() for data in (origin.content[SHARD], other))
    assert (
        f"{SHARD} has the right size and other bytes: promised was {good}, found {bad}; fetched again from the start"
    ) in said


class StalledStream:
    """Gives a piece, and then waits in a way that nothing interrupts."""

    ended: ClassVar[threading.Event] = threading.Event()

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        self.ended.wait(20)

    def progress(self) -> int:
        return 1

    def cancel(self) -> None:
        pass


def test_stalled_xet(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stream on which nothing comes is left behind, once for all files; HTTP goes on where it was."""
    data = origin.content[SHARD]
    monkeypatch.setattr(
        "hermeion.puller.xet.Xet._open", lambda _self, _file, start: StalledStream(data[start : start + 1000])
    )
    began = time.monotonic()
    run(xet_job(origin, tmp_path / "cache", "0" * 64, stall_seconds=1.0))
    took = time.monotonic() - began
    StalledStream.ended.set()

    assert ["bytes=1000-"] == origin.asked(SHARD)
    assert took < 8
    assert f"Xet: nothing of {SHARD} came for 1 s; the rest comes over plain HTTP" in notes(capsys.readouterr().out)


def test_part(tmp_path: Path) -> None:
    """A part counts what was there, what came, and what was hashed; it is whole when hash and size are the file's."""
    data = os.urandom(1000)
    file = File(**wanted("a.gguf", data))
    (tmp_path / f"{file.blob}.incomplete").write_bytes(data[:400])
    part = Part(file, tmp_path)
    assert (400, 400) == (part.there, part.catch_up())
    part.write(memoryview(data)[400:999])
    assert not part.is_good
    part.write(data[999:])
    assert (True, 1000, 600, 1000) == (part.is_good, part.size, part.fetched, part.hashed)
    part.finish()
    assert data == (tmp_path / file.blob).read_bytes()
    assert [file.blob] == [path.name for path in tmp_path.iterdir()]
