"""What a host may do to a pull: users, modes, mounts, disks, secrets. Where root is needed, only as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermeion.puller.__main__ import os_sentence
from hermeion.puller.identity import owner_of
from hermeion.puller.rooms import check_room, is_network
from hermeion.puller.sources import Refused
from hermeion.puller.talk import size_text
from tests.unit.puller.conftest import MIB, facts, run, served
from tests.unit.puller.origin import REVISION, Origin
from tests.unit.puller.program import SYSTEM, error_of, said, spawn

SHARD = "model-1.safetensors"
NAME = f"models--me--model@{REVISION}"
BLOBS = "hub/models--me--model/blobs"

as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not Path(SYSTEM).exists(), reason="becomes another user, or mounts; needs the system's Python"
)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users can reach: not below the one that pytest keeps for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="hermeion-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_full_at_start(tmp_path: Path, origin: Origin) -> None:
    """What does not fit is not begun, and the message has the exact bytes."""
    cache = tmp_path / "cache"
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    total = sum(map(len, origin.content.values()))
    with pytest.raises(Refused) as caught:
        run(origin.job(cache, reserve=free * 2))

    assert str(caught.value).startswith(f"{cache}: 4.0 MiB ({total} bytes) are to come and ")
    assert str(caught.value).endswith(
        "(`hermeion cache prune` shows what may go) or put hermes_cache elsewhere, and run again."
    )
    assert [] == list(origin.log)


def test_room_for_the_missing_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reserve counts with what is to come, and nothing is asked where nothing comes."""
    free = 10 * MIB
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 0, 0, free // 4096, 0, 0, 0, 0, 255)))
    check_room(tmp_path, 4 * MIB, 6 * MIB)
    check_room(tmp_path, 0, 11 * MIB)
    with pytest.raises(Refused) as caught:
        check_room(tmp_path, 4 * MIB + 1, 6 * MIB)
    assert (
        f"{tmp_path}: 4.0 MiB (4194305 bytes) are to come and 6.0 MiB stay free, but only 10.0 MiB (10485760 "
        "bytes) are "
        "free; free 1 bytes (`hermeion cache prune` shows what may go) or put hermes_cache elsewhere, and run again."
    ) == str(caught.value)


@as_root
def test_full_in_the_middle(tmp_path: Path, origin: Origin) -> None:
    """A disk that fills up ends the pull with a sentence; what has come stays, and the next run goes on there."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    try:
        # As if the room was there when it was looked at, and somebody else took it.
        status, out = said(spawn(tmp_path, origin.job(disk / "cache", reserve=-8 * MIB)))
        total = sum(map(len, origin.content.values()))
        blobs = list((disk / "cache" / BLOBS).iterdir())
        missing = total - sum(path.stat().st_size for path in blobs)

        assert 1 == status
        assert (
            f"{disk / 'cache'}: the disk is full, and {size_text(missing)} of 4.0 MiB are missing. What has come "
            "stays: free some (`hermeion cache prune` shows what may go) and run again."
        ) == error_of(out)
        assert 0 < missing < total
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        status, out = said(spawn(tmp_path, origin.job(disk / "cache")))
        assert 0 == status, out
        assert missing == int(facts(out)["fetched"])
        assert origin.content == served(disk / "cache")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@as_root
@pytest.mark.parametrize(("mode", "expected"), [(0o755, "644"), (0o2775, "664")])
def test_cache_of_another_user(public: Path, origin: Origin, mode: int, expected: str) -> None:
    """A cache of another user is written as that user, whatever the umask; with setgid its group may write too."""
    cache = public / "cache"
    cache.mkdir()
    os.chown(cache, 4711, 4712)
    cache.chmod(mode)
    status, out = said(spawn(public, origin.job(cache), ["sh", "-c", 'umask 077; exec "$@"', "sh"], SYSTEM))

    assert 0 == status, out
    found = [path.lstat() for path in cache.rglob("*")]
    assert {(4711, 4712)} == {(status.st_uid, status.st_gid) for status in found}
    modes = {f"{path.stat().st_mode & 0o777:o}" for path in (cache / BLOBS).iterdir()}
    assert {expected} == modes
    assert "644" == f"{(cache / f'hermeion/{NAME}.manifest').stat().st_mode & 0o777:o}"
    assert [] == list(public.glob("hermeion-pull-*/*"))


def test_umask(tmp_path: Path, origin: Origin) -> None:
    """Under umask 077 engines can read the weights all the same."""
    cache = tmp_path / "cache"
    status, out = said(spawn(tmp_path, origin.job(cache), ["sh", "-c", 'umask 077; exec "$@"', "sh"]))

    assert 0 == status, out
    files = [path for path in cache.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {"644"} == {f"{path.stat().st_mode & 0o777:o}" for path in files}
    assert {"755"} == {f"{path.stat().st_mode & 0o777:o}" for path in cache.rglob("*") if path.is_dir()}


@as_root
def test_foreign_folder_in_the_cache(public: Path, origin: Origin) -> None:
    """Where the owner of the cache may not write, the message has path, owners and the command that helps."""
    cache = public / "cache"
    (cache / "hub").mkdir(parents=True)
    os.chown(cache, 4711, 4711)
    status, out = said(spawn(public, origin.job(cache), python=SYSTEM))

    assert 1 == status
    assert (
        f"{cache}/hub/models--me--model: Permission denied for uid 4711; {cache}/hub belongs to uid 0 (root), "
        "mode 0755. The "
        f"cache is written by the owner of its folder: give all in it to one user (chown -R 4711 {cache}), "
        "and run again."
    ) == error_of(out)


@as_root
def test_read_only(tmp_path: Path, origin: Origin) -> None:
    """A read-only cache is refused with a sentence, unless it is complete: then nothing has to be written."""
    cache = tmp_path / "cache"
    cache.mkdir()
    subprocess.run(["mount", "--bind", str(cache), str(cache)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(cache)], check=True)
        status, out = said(spawn(tmp_path, origin.job(cache)))
        assert 1 == status
        assert (
            f"{cache}/hermeion: the filesystem is mounted read-only. Mount it for writing on the host that pulls, "
            "or put "
            "hermes_cache elsewhere."
        ) == error_of(out)
        subprocess.run(["mount", "-o", "remount,rw,bind", str(cache)], check=True)
        assert 0 == said(spawn(tmp_path, origin.job(cache)))[0]
        subprocess.run(["mount", "-o", "remount,ro,bind", str(cache)], check=True)
        status, out = said(spawn(tmp_path, origin.job(cache)))
        assert (0, "0") == (status, facts(out)["hashed"])
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_other_system_errors() -> None:
    """What has no sentence of its own has path and reason at least."""
    assert "/x: Input/output error." == os_sentence(OSError(5, "Input/output error", "/x"), None)


def test_owner_of_what_is_not_there(tmp_path: Path) -> None:
    """A cache that is not there yet belongs to whom its nearest folder belongs; its setgid bit is not the cache's."""
    tmp_path.chmod(0o2755)
    assert (tmp_path.stat().st_uid, 0o022) == (owner_of(tmp_path / "a/b").uid, owner_of(tmp_path / "a/b").umask)
    assert 0o002 == owner_of(tmp_path).umask


@pytest.mark.parametrize(
    ("kind", "expected"), [("ext4", False), ("nfs4", True), ("fuse.sshfs", True), ("tmpfs", False), ("lustre", True)]
)
def test_network(tmp_path: Path, kind: str, expected: bool) -> None:
    """The kind of the filesystem is read from the kernel's table of mounts."""
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 0:1 / /proc rw shared:1 - proc proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw,noatime shared:2 - {kind} server:/export rw\n"
    )
    assert expected == is_network(tmp_path, mounts)


@pytest.mark.parametrize("path", ["../../../../evil", "/etc/passwd", "a/../../b"])
def test_paths_stay_inside(tmp_path: Path, origin: Origin, path: str) -> None:
    """A repository that names a file outside is refused as a whole."""
    job = origin.job(tmp_path / "cache")
    job["files"][0]["path"] = path
    status, out = said(spawn(tmp_path, job))

    assert (1, f"me/model: {path!r} leads out of the cache's folder; nothing was fetched.") == (status, error_of(out))
    assert not (tmp_path / "cache").exists()


def test_no_job(tmp_path: Path, origin: Origin) -> None:
    """A job that cannot be read, or of an unknown kind, is said in a sentence."""
    job = origin.job(tmp_path / "cache", sources=[{"kind": "torrent"}])
    status, out = said(spawn(tmp_path, job))

    assert 1 == status
    assert (
        "me/model: there is no source of the kind 'torrent'; the kinds are hub, peers, shared, bucket, folder."
    ) == error_of(out)


def test_record(tmp_path: Path, origin: Origin) -> None:
    """The record has every file with what it was checked against."""
    run(origin.job(tmp_path / "cache"))
    record = json.loads((tmp_path / f"cache/hermeion/{NAME}.json").read_text())
    assert [{"oid": None, "sha256": None} | file for file in origin.files()] == record["files"]
