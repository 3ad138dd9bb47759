"""The puller's copy from a bucket: what rclone is told and how its end is taken, with a stand-in for rclone."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermeion.puller.bucket import REMOTE, Bucket
from hermeion.puller.job import File, Job
from hermeion.puller.parts import Part
from hermeion.puller.sources import Refused, Retry
from hermeion.s3 import REMOTE as CONFIGURED
from tests.unit.builders import POISON

DATA = bytes(range(256)) * 5000
FILE = File("model a.safetensors", len(DATA), hashlib.sha256(DATA).hexdigest())
STAND_IN = r"""#!/bin/sh
here=$(dirname "$0")
{ for word in "$@"; do echo "$word"; done; env; } > "$here/seen"
for word in "$@"; do
  case $word in
    --config=*) cat "${word#*=}" > "$here/config" ;;
    --offset=*) offset=${word#*=} ;;
    --count=*) count=${word#*=} ;;
  esac
done
tail -c +$((offset + 1)) "$here/object" | head -c "$count"
. "$here/end"
"""


class Rclone:
    """A stand-in that gives ``object`` and ends as ``end`` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "rclone").write_text(STAND_IN)
        (folder / "rclone").chmod(0o755)
        (folder / "object").write_bytes(DATA)
        self.end("exit 0")

    def end(self, text: str) -> None:
        """How it ends, as shell."""
        (self.folder / "end").write_text(f"{text}\n")

    @property
    def seen(self) -> list[str]:
        """Words and environment of its last start."""
        return (self.folder / "seen").read_text().splitlines()


@pytest.fixture
def rclone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rclone:
    """The stand-in, first on the PATH."""
    made = Rclone(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    """The beginning of the file, empty yet."""
    (tmp_path / "blobs").mkdir()
    made = Part(FILE, tmp_path / "blobs")
    yield made
    made.close()


def bucket(tmp_path: Path, stall: float = 20, **more: object) -> Bucket:
    """The source, whose configuration is gone once it was read."""
    config = tmp_path / "rclone.conf"
    config.write_text(f"[store]\nsecret_access_key = {POISON}\n")
    job = Job(name="n", repo="a/b", revision="0" * 40, cache=tmp_path, files=(FILE,), sources=(), stall_seconds=stall)
    made = Bucket({"kind": "bucket", "remote": "s3://models/my/llama", "config_file": str(config), **more}, job)
    config.unlink()
    return made


@pytest.mark.parametrize("start", [0, 1, 300_000, len(DATA)])
def test_a_copy(rclone: Rclone, tmp_path: Path, part: Part, start: int) -> None:
    """What is missing is asked for and no more."""
    part.write(DATA[:start])
    bucket(tmp_path).fill(FILE, part)

    assert (True, DATA) == (part.is_good, part.path.read_bytes())
    assert (start < len(DATA)) == (rclone.folder / "seen").exists()


def test_what_rclone_is_told(rclone: Rclone, tmp_path: Path, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of the file, where to go on, how patient to be; the key only in a configuration without a file."""
    monkeypatch.setenv("RCLONE_BWLIMIT", "1")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/x")
    part.write(DATA[:1000])
    bucket(tmp_path, ca="/etc/ca.pem").fill(FILE, part)
    words = rclone.seen

    assert ["cat", "store:models/my/llama/model a.safetensors"] == words[:2]
    assert {"--offset=1000", f"--count={len(DATA) - 1000}", "--timeout=20s", "--ca-cert=/etc/ca.pem"} <= set(words)
    assert not [word for word in words if POISON in word or word.startswith(("RCLONE_", "AWS_"))]
    assert f"[store]\nsecret_access_key = {POISON}\n" == (rclone.folder / "config").read_text()
    assert REMOTE == CONFIGURED


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            "printf '%s\\n' '2026/01/02 03:04:05 Failed to cat: BadSignature: no.' ' status code: 403' >&2; exit 1",
            "the bucket s3://models/my/llama does not give model a.safetensors (Failed to cat: BadSignature: "
            "no. status code: 403). Check the key in the environment, and whether the bucket still holds what its "
            "SHA256SUMS names.",
        ),
        (
            "echo '2026/01/02 03:04:05 ERROR : x: not there' >&2; exit 4",
            "the bucket s3://models/my/llama does not give model a.safetensors (x: not there). Check the key in the "
            "environment, and whether the bucket still holds what its SHA256SUMS names.",
        ),
    ],
)
def test_what_another_try_does_not_help(rclone: Rclone, tmp_path: Path, part: Part, end: str, message: str) -> None:
    """A refusal is told in the store's words."""
    (rclone.folder / "object").write_bytes(b"")
    rclone.end(end)
    with pytest.raises(Refused) as caught:
        bucket(tmp_path).fill(FILE, part)

    assert message == str(caught.value)


def test_a_connection_that_breaks(rclone: Rclone, tmp_path: Path, part: Part) -> None:
    """What came stays, and the next try goes on from there."""
    (rclone.folder / "object").write_bytes(DATA[:5000])
    rclone.end("echo 'connection reset' >&2; exit 5")
    source = bucket(tmp_path)
    with pytest.raises(Retry) as caught:
        source.fill(FILE, part)
    (rclone.folder / "object").write_bytes(DATA)
    rclone.end("exit 0")
    source.fill(FILE, part)

    assert "the bucket s3://models/my/llama: model a.safetensors broke off at byte 5000 (connection reset)" == str(
        caught.value
    )
    assert "--offset=5000" in rclone.seen
    assert part.is_good


def test_an_object_that_is_shorter(rclone: Rclone, tmp_path: Path, part: Part) -> None:
    """rclone is content with an object that was cut, is gone, or is behind a busy store; this is not."""
    (rclone.folder / "object").write_bytes(DATA[:7])
    with pytest.raises(Retry) as caught:
        bucket(tmp_path).fill(FILE, part)

    assert (
        "the bucket s3://models/my/llama gives nothing of model a.safetensors beyond byte 7 of 1280000; if it stays "
        "so, upload the file again with its SHA256SUMS"
    ) == str(caught.value)


def test_a_store_that_stands_still(rclone: Rclone, tmp_path: Path, part: Part) -> None:
    """A connection on which nothing comes is given up, and rclone does not go on alone."""
    (rclone.folder / "object").write_bytes(DATA[:7])
    rclone.end('echo $$ > "$here/pid"; exec sleep 60')
    started = time.monotonic()
    with pytest.raises(Retry) as caught:
        bucket(tmp_path, stall=0.5).fill(FILE, part)

    assert "the bucket s3://models/my/llama: not a byte of model a.safetensors came for 0.5 s" == str(caught.value)
    assert time.monotonic() - started < 10
    assert 7 == part.size
    assert not Path(f"/proc/{(rclone.folder / 'pid').read_text().strip()}").exists()


def test_a_full_disk(rclone: Rclone, tmp_path: Path, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the cache is not the bucket's, and rclone does not go on alone."""
    rclone.end('echo $$ > "$here/pid"; exec sleep 60')

    def fails(_: bytes) -> None:
        deadline = time.monotonic() + 10
        while not (rclone.folder / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(part, "write", fails)
    (rclone.folder / "object").write_bytes(DATA[:7])
    with pytest.raises(OSError, match="No space"):
        bucket(tmp_path).fill(FILE, part)

    assert not Path(f"/proc/{(rclone.folder / 'pid').read_text().strip()}").exists()


def test_no_rclone(tmp_path: Path, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without the program is told which."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused) as caught:
        bucket(tmp_path).fill(FILE, part)

    assert "rclone, which reads buckets, is not installed (apt-get install rclone)." == str(caught.value)
