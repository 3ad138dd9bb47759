"""What is there is never fetched again: after kills, crashes, damage, and on the second day."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hermeion.puller import marks
from tests.unit.puller.conftest import MIB, facts, notes, run
from tests.unit.puller.origin import REVISION, Origin, wanted
from tests.unit.puller.program import error_of, said, spawn

SHARD = "model-1.safetensors"
NAME = f"models--me--model@{REVISION}"


def blob_of(origin: Origin, path: str) -> str:
    """Name of a file's blob."""
    file = wanted(path, origin.content[path])
    return str(file.get("sha256") or file["oid"])


def blobs(cache: Path) -> Path:
    """The folder of the blobs."""
    return cache / "hub/models--me--model/blobs"


def wait_for(path: Path, size: int, process: subprocess.Popen[str]) -> None:
    """Until a file has so many bytes."""
    until = time.monotonic() + 30
    while not path.exists() or path.stat().st_size < size:
        assert process.poll() is None, said(process)
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed(tmp_path: Path, origin: Origin, number: signal.Signals) -> None:
    """A pull that is killed in the middle goes on at the byte where it was; finished files are not asked for."""
    cache = tmp_path / "cache"
    origin.turn(bodies=[{"path": SHARD, "bytes_per_second": 2 * MIB}])
    process = spawn(tmp_path, origin.job(cache))
    part = blobs(cache) / f"{blob_of(origin, SHARD)}.incomplete"
    wait_for(part, MIB, process)
    wait_for(blobs(cache) / blob_of(origin, "model-2.safetensors"), MIB, process)
    process.send_signal(number)
    status, out = said(process)

    if number == signal.SIGTERM:
        assert 143 == status
        assert "me/model: stopped. What has come stays; run again to go on." == error_of(out)
        assert [] == list((cache / "hermeion").glob("*.lock"))
    else:
        assert -9 == status
        assert [f"{NAME}.lock"] == [path.name for path in (cache / "hermeion").glob("*.lock")]
    there = part.stat().st_size
    assert MIB <= there < 3 * MIB
    assert [] == list((cache / "hermeion").glob("*.manifest"))

    origin.turn()
    origin.log.clear()
    status, out = said(spawn(tmp_path, origin.job(cache)))
    assert 0 == status, out
    assert [f"bytes={there}-"] == origin.asked(SHARD)
    assert [] == origin.asked("model-2.safetensors")
    found = facts(out)
    total = sum(map(len, origin.content.values()))
    assert (total - int(found["reused"]), total) == (int(found["fetched"]), int(found["hashed"]))
    assert int(found["fetched"]) <= total - there
    assert f"##progress {int(found['reused'])} {total}" == out.splitlines()[1]
    assert [] == list((cache / "hermeion").glob("*.lock"))
    assert [] == list(tmp_path.glob("hermeion-pull-*"))


@pytest.mark.parametrize(("boot", "start"), [("another-boot", MIB), (None, 2 * MIB), ("this", 2 * MIB)])
def test_crashed_host(
    tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str], boot: str | None, start: int
) -> None:
    """After a crash of the host what was not yet on disk is cut off; within one boot everything counts."""
    cache = tmp_path / "cache"
    blobs(cache).mkdir(parents=True)
    name = blob_of(origin, SHARD)
    good = origin.content[SHARD][: 2 * MIB]
    lost = good[:MIB] + bytes(MIB) if boot == "another-boot" else good  # a crash leaves zeros
    (blobs(cache) / f"{name}.incomplete").write_bytes(lost)
    if boot:
        (cache / "hermeion/parts").mkdir(parents=True)
        said_boot = marks.boot_id() if boot == "this" else boot
        (cache / f"hermeion/parts/{name}").write_text(f"{said_boot} {MIB:>20}\n")
    run(origin.job(cache))

    assert [f"bytes={start}-"] == origin.asked(SHARD)
    assert str(start) == facts(capsys.readouterr().out)["reused"]


def test_foreign_beginning(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A leftover that is not the file's beginning costs one more fetch, and is never served."""
    cache = tmp_path / "cache"
    blobs(cache).mkdir(parents=True)
    (blobs(cache) / f"{blob_of(origin, SHARD)}.incomplete").write_bytes(b"something else")
    run(origin.job(cache))

    assert ["bytes=14-", None] == origin.asked(SHARD)
    assert origin.content[SHARD] == (blobs(cache) / blob_of(origin, SHARD)).read_bytes()
    assert any("fetched again from the start" in text for text in notes(capsys.readouterr().out))


@pytest.mark.parametrize("extra", [0, 5])
def test_whole_leftover(tmp_path: Path, origin: Origin, extra: int) -> None:
    """A leftover that is the whole file is not asked for; one that is longer is no leftover of it."""
    cache = tmp_path / "cache"
    blobs(cache).mkdir(parents=True)
    (blobs(cache) / f"{blob_of(origin, SHARD)}.incomplete").write_bytes(origin.content[SHARD] + bytes(extra))
    run(origin.job(cache))

    assert ([None] if extra else []) == origin.asked(SHARD)


def test_warm(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """Complete weights cost no request, no hash and no write: the cache may be read-only by then."""
    cache = tmp_path / "cache"
    run(origin.job(cache))
    before = sorted((path, path.lstat().st_mtime_ns) for path in cache.rglob("*"))
    origin.log.clear()
    capsys.readouterr()
    run(origin.job(cache))

    assert before == sorted((path, path.lstat().st_mtime_ns) for path in cache.rglob("*"))
    assert [] == list(origin.log)
    found = facts(capsys.readouterr().out)
    assert ("0", "0", "none") == (found["fetched"], found["hashed"], found["source"])


@pytest.mark.parametrize("damage", ["bytes", "truncated", "gone", "swapped link", "dangling link"])
def test_damage(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    """A damaged file is fetched again alone, and the others are not even hashed."""
    cache = tmp_path / "cache"
    run(origin.job(cache))
    blob = blobs(cache) / blob_of(origin, SHARD)
    link = cache / f"hub/models--me--model/snapshots/{REVISION}/{SHARD}"
    size = blob.stat().st_size
    if damage == "bytes":
        blob.write_bytes(bytes(size))
    elif damage == "truncated":
        os.truncate(blob, 100)
    elif damage == "gone":
        blob.unlink()
    else:
        link.unlink()
        link.symlink_to("../../blobs/" + ("none" if damage == "dangling link" else blob_of(origin, "config.json")))
    origin.log.clear()
    capsys.readouterr()
    run(origin.job(cache))

    bad = damage in {"bytes", "truncated", "gone"}
    assert ([SHARD] if bad else []) == [path for path in origin.content if origin.asked(path)]
    assert origin.content[SHARD] == link.read_bytes()
    found = facts(capsys.readouterr().out)
    assert str(size if bad else 0) == found["fetched"]
    assert str((2 * size if damage == "bytes" else size) if bad else 0) == found["hashed"]


def test_touched(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was touched is hashed again, it alone, and not fetched."""
    cache = tmp_path / "cache"
    run(origin.job(cache))
    os.utime(blobs(cache) / blob_of(origin, SHARD), (1, 1))
    capsys.readouterr()
    run(origin.job(cache))

    found = facts(capsys.readouterr().out)
    assert ("0", str(len(origin.content[SHARD]))) == (found["fetched"], found["hashed"])


def test_same_blobs_at_another_commit(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A new commit with the same shards fetches and hashes what has changed, and nothing else."""
    cache = tmp_path / "cache"
    run(origin.job(cache))
    capsys.readouterr()
    other = "f" * 40
    served = origin.job(cache)
    (tmp_path / "origin/model/config.json").write_bytes(b'{"new": 1}')
    (tmp_path / "origin/served.json").write_text(
        f'{{"models": [{{"repo": "me/model", "revision": "{other}", "path": "{tmp_path}/origin/model"}}]}}'
    )
    files = [
        file if file["path"] != "config.json" else wanted("config.json", b'{"new": 1}') for file in served["files"]
    ]
    run(served | {"revision": other, "name": f"models--me--model@{other}", "files": files})

    found = facts(capsys.readouterr().out)
    assert ("10", "10") == (found["fetched"], found["hashed"])
    # The same branch: it stands at the new commit now, and the old one is complete all the same.
    assert other == (cache / "hub/models--me--model/refs/main").read_text()
    assert b"{}" == (cache / f"hub/models--me--model/snapshots/{REVISION}/config.json").read_bytes()


def test_client_filled_the_cache(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """What the Hub's own client has put there is checked, recorded, and not fetched."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    cache = tmp_path / "cache"
    snapshot_download(origin.job(cache)["repo"], revision=REVISION, cache_dir=cache / "hub", endpoint=origin.url)
    origin.log.clear()
    run(origin.job(cache))

    assert [] == [path for path in origin.content if origin.asked(path)]
    total = str(sum(map(len, origin.content.values())))
    found = facts(capsys.readouterr().out)
    assert ("0", total, total) == (found["fetched"], found["reused"], found["hashed"])


def test_two_names_of_one_blob(tmp_path: Path, origin: Origin) -> None:
    """One content under two names comes once."""
    cache = tmp_path / "cache"
    job = origin.job(cache)
    job["files"].append(wanted("copy/model.safetensors", origin.content[SHARD]))
    run(job)

    assert [None] == origin.asked(SHARD)
    copy = cache / f"hub/models--me--model/snapshots/{REVISION}/copy/model.safetensors"
    assert "../../../blobs/" + hashlib.sha256(origin.content[SHARD]).hexdigest() == str(copy.readlink())
    assert 5 == len((cache / f"hermeion/{NAME}.manifest").read_text().splitlines())


def test_two_pulls(tmp_path: Path, origin: Origin) -> None:
    """Two runs at once: one pulls, the other waits, says for whom, and finds the work done."""
    cache = tmp_path / "cache"
    origin.turn(bodies=[{"path": SHARD, "bytes_per_second": 3 * MIB}])
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first = spawn(folders[0], origin.job(cache))
    wait_for(cache / f"hermeion/{NAME}.lock/owner.json", 1, first)
    second = spawn(folders[1], origin.job(cache))
    ends = [said(first), said(second)]

    assert [0, 0] == [status for status, _ in ends], ends
    assert [None] == origin.asked(SHARD)
    assert "0" == facts(ends[1][1])["fetched"]
    host = os.uname().nodename
    assert any(
        text.startswith(f"{host} (process {first.pid}) pulls the same weights since 20") for text in notes(ends[1][1])
    )


def test_two_pulls_of_one_blob(tmp_path: Path, origin: Origin) -> None:
    """Two pulls of other names that share a blob do not write into one file: it comes once."""
    cache = tmp_path / "cache"
    origin.turn(bodies=[{"path": SHARD, "bytes_per_second": 3 * MIB}])
    shard = [file for file in origin.files() if file["path"] == SHARD]
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    pulls = [spawn(folder, origin.job(cache, name=f"{NAME}+{folder.name}", files=shard)) for folder in folders]
    ends = [said(process) for process in pulls]

    assert [0, 0] == [status for status, _ in ends], ends
    assert [None] == origin.asked(SHARD)
    assert 1 == sum(f"another pull on this host fetches {SHARD}; waiting for it" in notes(out) for _, out in ends)
