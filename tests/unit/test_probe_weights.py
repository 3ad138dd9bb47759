"""What the real probe says of weights: whether they are those that were checked, and what is there of others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hermeion.probe import Probe, parse_probe, probe_script
from hermeion.puller.job import File, Job
from hermeion.puller.record import manifest_text
from tests.unit.laid_weights import lay, record

MIB = 1 << 20


def ask(cache: Path, fstype: str | None = None) -> Probe:
    """The script's answer on this machine.

    Args:
        fstype: What ``findmnt`` is made to say of every filesystem.
    """
    script = probe_script()
    if fstype is not None:
        script = script.replace(
            "\nos() {",
            f'\nfindmnt() {{ case $* in *FSTYPE*) echo "$2" | grep -q , || echo {fstype} ;; esac; }}\nos() {{',
            1,
        )
    done = subprocess.run(["sh", "-c", script, "probe", str(cache)], capture_output=True, text=True, check=True)
    return parse_probe(done.stdout.splitlines())


FILES = {"model 1 [of 2].safetensors": "12345", "tokenizer/a b.json": "{}", "(x) $y `z`.txt": "", "back\\slash": "1"}


@pytest.mark.parametrize("name", ["whole", "odd [name] of it"])
def test_weights_that_were_checked(name: str, tmp_path: Path) -> None:
    """Weights of which nothing has changed since they were checked are complete, whatever the files are called."""
    record(tmp_path, lay(tmp_path, f"models--me--{name}", FILES))

    assert {f"models--me--{name}@abc": "complete"} == ask(tmp_path).weights


def test_manifest_of_the_puller(tmp_path: Path) -> None:
    """What the puller writes is what the probe's own find prints, to the last digit and in the same order."""
    files = {**FILES, "ä.txt": "1", "Z": "2", "a/b": "3", "a-b": "4"}
    snapshot = lay(tmp_path, "models--me--m", files)
    os.utime((snapshot / "Z").resolve(), ns=(0, 1_700_000_000_000_000_001))
    wanted = tuple(File(path=path, size=len(content), sha256="ab" * 32) for path, content in files.items())
    job = Job(name="x", repo="me/m", revision="abc", cache=tmp_path, files=wanted, sources=())

    assert record(tmp_path, snapshot).read_text() == manifest_text(job)


def other_inode(path: Path) -> None:
    """The same content and times in another file."""
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def later(path: Path) -> None:
    """The same content, written a nanosecond later."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def longer(path: Path) -> None:
    """Another size at the same time."""
    stat = path.stat()
    path.write_text("123456")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES = [other_inode, later, longer, Path.unlink]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", list(FILES)[::3])
def test_a_change_of_any_file(change: Callable[[Path], None], path: str, tmp_path: Path) -> None:
    """A file with another inode, time or size than was checked, or none, makes the weights damaged."""
    snapshot = lay(tmp_path, "models--me--m", FILES)
    record(tmp_path, snapshot)
    change((snapshot / path).resolve())

    assert {"models--me--m@abc": "damaged"} == ask(tmp_path).weights


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fstype", ["nfs4", "fuse.juicefs"])
def test_on_a_network_filesystem(change: Callable[[Path], None], fstype: str, tmp_path: Path) -> None:
    """Where each host has inodes of its own they do not count; times and sizes do."""
    snapshot = lay(tmp_path, "models--me--m", FILES)
    record(tmp_path, snapshot)
    change((snapshot / "tokenizer/a b.json").resolve())

    state = "complete" if change is other_inode else "damaged"
    assert {"models--me--m@abc": state} == ask(tmp_path, fstype).weights


def test_what_was_not_checked(tmp_path: Path) -> None:
    """A manifest of an older release, an empty one, and one without its commit's files say that nothing was checked."""
    for name in ("old", "empty", "gone"):
        record(tmp_path, lay(tmp_path, f"models--me--{name}", {"a": "12345"}))
    (tmp_path / "hermeion/models--me--old@abc.manifest").write_text("5 a\n")
    (tmp_path / "hermeion/models--me--empty@abc.manifest").write_text("")
    shutil.rmtree(tmp_path / "hub/models--me--gone/snapshots")

    damaged = dict.fromkeys((f"models--me--{name}@abc" for name in ("empty", "gone", "old")), "damaged")
    assert damaged == ask(tmp_path).weights
    assert damaged == ask(tmp_path, "nfs4").weights


def test_files_of_one_repository(tmp_path: Path) -> None:
    """Two pulls of single files into one repository are judged apart: the other's file disturbs neither."""
    snapshot = lay(tmp_path, "models--me--gguf", {"a.gguf": "12345", "b.gguf": "1", "c.gguf": "1"})
    for letter in "abc":
        record(tmp_path, snapshot, f"+0{letter}", f"{letter}.gguf")
    longer((snapshot / "c.gguf").resolve())

    assert {
        "models--me--gguf@abc+0a": "complete",
        "models--me--gguf@abc+0b": "complete",
        "models--me--gguf@abc+0c": "damaged",
    } == ask(tmp_path).weights


def blob(folder: Path, name: str, size: int, age: float) -> None:
    """A blob of some bytes that was written some seconds ago."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    os.truncate(folder / name, size)
    now = (folder / name).stat().st_mtime
    os.utime(folder / name, (now - age, now - age))


def test_what_an_unfinished_pull_has_left(tmp_path: Path) -> None:
    """Blobs of a repository that is not complete are told, half-finished ones too; of small files nobody makes much."""
    folder = tmp_path / "hub/models--me--m/blobs"
    blob(folder, "ab", 3 * MIB, 60)
    blob(folder, "cd.incomplete", MIB, 60)
    blob(folder, "small", MIB - 512, 60)

    assert {"models--me--m": {"ab": 3 * MIB, "cd.incomplete": MIB}} == ask(tmp_path).blobs


def test_beside_what_is_complete(tmp_path: Path) -> None:
    """Of a repository with a complete copy only what came later is told: another pull's."""
    snapshot = lay(tmp_path, "models--me--m", {"a.gguf": "1"})
    folder = tmp_path / "hub/models--me--m/blobs"
    blob(folder, "older", MIB, 60)
    for mark in ("+0a", "+0b"):
        record(tmp_path, snapshot, mark)
    oldest, newest = sorted((tmp_path / "hermeion").iterdir())
    for manifest, age in ((oldest, 90), (newest, 30)):
        os.utime(manifest, (manifest.stat().st_mtime - age,) * 2)
    assert {} == ask(tmp_path).blobs

    blob(folder, "newer.incomplete", MIB, 10)
    assert {"models--me--m": {"newer.incomplete": MIB}} == ask(tmp_path).blobs


def test_as_many_blobs_as_a_probe_can_carry(tmp_path: Path) -> None:
    """A cache full of others' repositories does not fill the probe, and hides no weights."""
    for name in ("a", "b"):
        for number in range(1100):
            blob(tmp_path / f"hub/models--me--{name}/blobs", f"{number}", MIB, 60)
    record(tmp_path, lay(tmp_path, "models--me--c", {"x": "1"}))
    probe = ask(tmp_path)

    assert 2000 == sum(len(blobs) for blobs in probe.blobs.values())
    assert {"models--me--c@abc": "complete"} == probe.weights
