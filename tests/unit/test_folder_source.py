"""The puller's copy from a folder: by the kernel or by hand, from where it was interrupted, with every byte hashed."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermeion.puller import folder as module
from hermeion.puller.folder import Folder
from hermeion.puller.job import File, Job
from hermeion.puller.parts import Part
from hermeion.puller.sources import Refused, Retry

DATA = bytes(range(256)) * 5000
FILE = File("sub/model a.safetensors", len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    """A folder with the file, and a job."""
    origin = tmp_path / "usb" / FILE.path
    origin.parent.mkdir(parents=True)
    origin.write_bytes(DATA)
    (tmp_path / "blobs").mkdir()
    job = Job(name="n", repo="me/mine", revision="0" * 40, cache=tmp_path, files=(FILE,), sources=())
    return Folder({"kind": "folder", "path": str(tmp_path / "usb")}, job)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    """The beginning of the file, empty yet."""
    made = Part(FILE, tmp_path / "blobs")
    yield made
    made.close()


def refuse_to_copy(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A kernel that does not copy between these two."""

    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", fails)


@pytest.mark.parametrize("start", [0, 1, 300_000, len(DATA)])
@pytest.mark.parametrize("kernel", ["copies", "refuses", "gives nothing", "gives up"])
def test_a_copy(source: Folder, part: Part, monkeypatch: pytest.MonkeyPatch, start: int, kernel: str) -> None:
    """From the beginning or the middle, by the kernel or without it: the same bytes, the same hash."""
    monkeypatch.setattr(module, "BLOCK", 1 << 18)
    if kernel == "refuses":
        refuse_to_copy(monkeypatch, errno.EXDEV)
    elif kernel == "gives nothing":
        monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    elif kernel == "gives up":
        copy, calls = os.copy_file_range, iter((1000,))
        monkeypatch.setattr(
            os, "copy_file_range", lambda a, b, _, x, y: copy(a, b, size, x, y) if (size := next(calls, 0)) else 0
        )
    part.write(DATA[:start])
    source.fill(FILE, part)

    assert (len(DATA), True) == (part.size, part.is_good)
    assert DATA == part.path.read_bytes()


def test_the_kernel_copies(source: Folder, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel can, no byte goes by way of the program but those that are hashed."""
    monkeypatch.setattr(module, "_copy", lambda *_: pytest.fail("copied by hand"))
    source.fill(FILE, part)

    assert part.is_good


def test_a_wrong_beginning_is_found(source: Folder, part: Part) -> None:
    """What an earlier run left is hashed too: a copy after a wrong beginning is not good."""
    part.write(b"wrong")
    source.fill(FILE, part)

    assert (len(DATA), False) == (part.size, part.is_good)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(source: Folder, part: Part, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A cache that is full is not taken for a folder that cannot be read."""
    refuse_to_copy(monkeypatch, number)
    with pytest.raises(OSError, match=os.strerror(number)):
        source.fill(FILE, part)


def test_a_file_that_is_not_there(source: Folder, part: Part) -> None:
    """It is told where it was looked for, and by whom."""
    (source.path / FILE.path).unlink()
    with pytest.raises(Refused) as caught:
        source.fill(FILE, part)

    assert (
        f"{source.path}/{FILE.path} cannot be read by user {os.geteuid()}, who owns the cache (No such file or "
        "directory). Check the folder, its mode, and whether it is mounted; then run again."
    ) == str(caught.value)


def test_a_file_of_another_size(source: Folder, part: Part) -> None:
    """A file that was exchanged since it was looked at is not copied at all."""
    (source.path / FILE.path).write_bytes(DATA + b"x")
    with pytest.raises(Refused) as caught:
        source.fill(FILE, part)

    assert (
        f"{source.path}/{FILE.path} has 1280001 bytes, 1280000 were there when it was looked at. Copy it into the "
        "folder again and make SHA256SUMS anew, then run again."
    ) == str(caught.value)
    assert not part.path.exists()


def test_a_share_that_breaks_off(source: Folder, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of reading may be tried again; what came stays."""
    refuse_to_copy(monkeypatch, errno.EXDEV)
    part.write(DATA[:1000])

    def fails(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(Retry) as caught:
        source.fill(FILE, part)

    assert f"{source.path}/{FILE.path} cannot be read at byte 1000 (Input/output error)" == str(caught.value)
    assert 1000 == part.size
