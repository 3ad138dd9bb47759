"""Copying from other hosts, with real rsync."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermeion.puller.job import File, Job
from hermeion.puller.parts import Part
from hermeion.puller.peers import Peers
from hermeion.puller.rsync import explain
from hermeion.puller.sources import Refused, Stopped
from tests.unit.puller_sharing.conftest import MODULE, PASSWORD, REVISION, Giver, file_of, job_of

Givers = Callable[..., Giver]
MIB = 1 << 20


def peers_of(job: Job, *entries: dict[str, Any], password: str = f"run-1:{PASSWORD}", **more: Any) -> Peers:
    """The source, with its password in a file."""
    file = job.cache / "password"
    file.touch(0o600)
    file.write_text(f"{password}\n")
    return Peers({"kind": "peers", "peers": list(entries), "password_file": str(file), **more}, job)


def fill(job: Job, peers: Peers, file: File, **more: Any) -> Part:
    """The file's part, after it was filled."""
    part = Part(file, job.folder / "blobs", **more)
    peers.fill(file, part)
    return part


def size_of(path: Path) -> int:
    """Bytes of a file that may not be there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def grow(giver: Giver, file: File, content: bytes, steps: int, wait: float) -> threading.Thread:
    """Let the giver get the file itself, step by step, and check it in the end."""
    path = giver.blobs / f"{file.blob}.incomplete"

    def write() -> None:
        with path.open("ab", buffering=0) as stream:
            for step in range(steps):
                stream.write(content[step * len(content) // steps : (step + 1) * len(content) // steps])
                time.sleep(wait)
        path.rename(giver.blobs / file.blob)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_whole_file(givers: Givers, tmp_path: Path) -> None:
    """What a host has comes as it is."""
    content = os.urandom(3 * MIB + 7)
    giver, file = givers(), file_of(content)
    (giver.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file)

    part = fill(job, peers_of(job, giver.peer("gpu-1")), file)

    assert part.is_good
    assert content == part.path.read_bytes()


def test_growing_file_is_followed(
    givers: Givers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that the host before is still getting comes while it grows, and each byte once."""
    monkeypatch.setattr("hermeion.puller.peers.STEP", MIB)
    content = os.urandom(12 * MIB)
    giver, file = givers(), file_of(content)
    job = job_of(tmp_path / "own", file)
    began = time.monotonic()
    writer = grow(giver, file, content, 12, 0.4)
    sizes: list[int] = []

    part = fill(job, peers_of(job, giver.peer("gpu-1")), file, gate=lambda: sizes.append(int(writer.is_alive())))
    writer.join()

    assert part.is_good
    assert 1.0 == round(giver.sent / len(content), 1)
    assert (time.monotonic() - began) < 12 * 0.4 + 4
    assert "##note copying from gpu-1 (127.0.0.1)\n" == capsys.readouterr().out
    assert sum(sizes) > 3


def test_what_is_there_is_not_fetched_again(givers: Givers, tmp_path: Path) -> None:
    """A copy that was broken off goes on where it was."""
    content = os.urandom(8 * MIB)
    giver, file = givers(), file_of(content)
    (giver.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file)
    (job.folder / "blobs" / f"{file.blob}.incomplete").write_bytes(content[: 6 * MIB])

    part = fill(job, peers_of(job, giver.peer("gpu-1")), file)

    assert part.is_good
    assert (2 * MIB, 0) == (part.fetched, giver.sent // (3 * MIB))


def test_end_is_left_until_it_was_checked(givers: Givers, tmp_path: Path) -> None:
    """A whole file that its host has not checked yet may turn out wrong: then it is not copied to its end."""
    content, wrong = os.urandom(2 * MIB), os.urandom(2 * MIB)
    giver, file = givers(), file_of(content)
    (giver.blobs / f"{file.blob}.incomplete").write_bytes(wrong)
    job = job_of(tmp_path / "own", file, stall_seconds=30.0)

    def put_right() -> None:
        time.sleep(2.5)
        (giver.blobs / f"{file.blob}.incomplete").unlink()
        (giver.blobs / file.blob).write_bytes(content)

    healer = threading.Thread(target=put_right)
    healer.start()
    part = fill(job, peers_of(job, giver.peer("gpu-1")), file)
    healer.join()

    assert part.is_good
    assert 2 * MIB == part.fetched


def test_host_that_started_over_is_followed_from_the_start(givers: Givers, tmp_path: Path) -> None:
    """Bytes that the host before threw away are thrown away here."""
    content, wrong = os.urandom(4 * MIB), os.urandom(3 * MIB)
    giver, file = givers(), file_of(content)
    path = giver.blobs / f"{file.blob}.incomplete"
    path.write_bytes(wrong)
    job = job_of(tmp_path / "own", file, stall_seconds=30.0)
    own = job.folder / "blobs" / path.name
    seen: list[int] = []

    def start_over() -> None:
        while size_of(own) < len(wrong):
            time.sleep(0.05)
        seen.append(size_of(own))
        path.unlink()
        path.write_bytes(content[:MIB])
        while size_of(own) > MIB:
            time.sleep(0.05)
        seen.append(size_of(own))
        path.unlink()
        (giver.blobs / file.blob).write_bytes(content)

    other = threading.Thread(target=start_over, daemon=True)
    other.start()
    part = fill(job, peers_of(job, giver.peer("gpu-1")), file)
    other.join(10)

    assert part.is_good
    assert 3 * MIB == seen[0]
    assert seen[1] <= MIB


def test_dead_host_is_passed_over(givers: Givers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the host before does not answer, the one before it is asked, and is named."""
    content = os.urandom(MIB)
    dead, giver, file = givers(), givers(), file_of(content)
    dead.stop()
    (giver.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file)
    peers = peers_of(job, dead.peer("gpu-2"), giver.peer("gpu-1"))

    assert fill(job, peers, file).is_good
    assert "gpu-1 (127.0.0.1)" == peers.name
    assert "##note copying from gpu-1 (127.0.0.1)\n" == capsys.readouterr().out


def test_host_before_that_is_not_up_yet_is_waited_for(givers: Givers, tmp_path: Path) -> None:
    """At a run's start nobody turns to the first host because the one before has not begun: the first gives once."""
    content = os.urandom(MIB)
    before, first, file = givers(), givers(), file_of(content)
    repository, later = before.blobs.parent, before.folder / "later"
    repository.rename(later)
    for giver_blobs in (later / "blobs", first.blobs):
        (giver_blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file, stall_seconds=30.0)

    def begin() -> None:
        time.sleep(2)
        later.rename(repository)

    beginner = threading.Thread(target=begin)
    beginner.start()
    part = fill(job, peers_of(job, before.peer("gpu-2"), first.peer("gpu-1")), file)
    beginner.join()

    assert part.is_good
    assert (1, 0) == (round(before.sent / MIB), round(first.sent / MIB))


def test_host_that_dies_in_the_middle(givers: Givers, tmp_path: Path) -> None:
    """When the host before dies, the rest comes from another one; nothing is fetched twice."""
    content = os.urandom(6 * MIB)
    dying, giver, file = givers(), givers(), file_of(content)
    (dying.blobs / f"{file.blob}.incomplete").write_bytes(content[: 4 * MIB])
    (giver.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file, stall_seconds=30.0)
    own = job.folder / "blobs" / f"{file.blob}.incomplete"

    def die() -> None:
        while size_of(own) < 4 * MIB:
            time.sleep(0.05)
        dying.stop()

    killer = threading.Thread(target=die)
    killer.start()
    part = fill(job, peers_of(job, dying.peer("gpu-2"), giver.peer("gpu-1")), file)
    killer.join()

    assert part.is_good
    assert 6 * MIB == part.fetched
    assert 2 == round(giver.sent / MIB)


def test_host_that_gets_nothing_new(givers: Givers, tmp_path: Path) -> None:
    """A host whose own pull stands still is passed over after the stall time, and not before."""
    content = os.urandom(2 * MIB)
    still, giver, file = givers(), givers(), file_of(content)
    (still.blobs / f"{file.blob}.incomplete").write_bytes(content[:MIB])
    (giver.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file, stall_seconds=3.0)
    began = time.monotonic()

    part = fill(job, peers_of(job, still.peer("gpu-2"), giver.peer("gpu-1")), file)

    assert part.is_good
    assert 3.0 <= time.monotonic() - began < 8
    assert (1, 1) == (round(still.sent / MIB), round(giver.sent / MIB))


def test_wrong_bytes_are_fetched_from_another_host(givers: Givers, tmp_path: Path) -> None:
    """A host whose bytes were thrown away is asked last when the file is fetched again."""
    content = os.urandom(MIB)
    bad, good, file = givers(), givers(), file_of(content)
    (bad.blobs / file.blob).write_bytes(os.urandom(MIB))
    (good.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file)
    peers = peers_of(job, bad.peer("gpu-2"), good.peer("gpu-1"))

    part = fill(job, peers, file)
    assert not part.is_good
    part.restart()
    peers.fill(file, part)

    assert part.is_good


def test_file_of_another_size_is_not_taken(givers: Givers, tmp_path: Path) -> None:
    """A host whose file is longer than promised is passed over, and the message tells both sizes."""
    content = os.urandom(1000)
    giver, file = givers(), file_of(content)
    (giver.blobs / file.blob).write_bytes(content + b"more")
    job = job_of(tmp_path / "own", file)

    with pytest.raises(Refused, match=r"has 1004 bytes of model.safetensors, 1000 were promised"):
        fill(job, peers_of(job, giver.peer("gpu-1"), patience=1), file)


def test_nobody_answers(givers: Givers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the patience is over, one sentence names every host with its address, its port, why, and what to do."""
    one, other, file = givers(), givers(), file_of(b"x")
    one.stop()
    job = job_of(tmp_path / "own", file)
    peers = peers_of(job, one.peer("gpu-2"), other.peer("gpu-1"), patience=7)

    with pytest.raises(Refused) as error:
        fill(job, peers, file)

    message = str(error.value)
    assert (
        f"no host gives model.safetensors: gpu-2 (127.0.0.1:{one.port}) does not answer (Connection refused); gpu-1 "
        f"(127.0.0.1:{other.port}) has got nothing new for " == message[: message.index("nothing new for ") + 16]
    )
    ports = ", ".join(sorted([str(one.port), str(other.port)]))
    assert message.endswith(
        f". Let TCP port {ports} through to there from this host, or set hermes_sharing (hosts = false: every host "
        "pulls for itself), and run again."
    )
    assert "##note waiting for gpu-2, which does not answer (Connection refused); gpu-1, which has got nothing" in (
        capsys.readouterr().out
    )


def test_host_that_comes_up_late(givers: Givers, tmp_path: Path) -> None:
    """A host that does not offer the weights yet is waited for."""
    content = os.urandom(1000)
    giver, file = givers(), file_of(content)
    conf = giver.folder / "modules" / "m.conf"
    conf.rename(giver.folder / "later")
    job = job_of(tmp_path / "own", file)

    def offer() -> None:
        time.sleep(2)
        (giver.blobs / file.blob).write_bytes(content)
        (giver.folder / "later").rename(conf)

    late = threading.Thread(target=offer)
    late.start()
    part = fill(job, peers_of(job, giver.peer("gpu-1")), file)
    late.join()

    assert part.is_good


def test_wrong_password(givers: Givers, tmp_path: Path) -> None:
    """Another run's password does not get better by waiting."""
    giver, file = givers(), file_of(b"x")
    job = job_of(tmp_path / "own", file)
    began = time.monotonic()

    with pytest.raises(Refused) as error:
        fill(job, peers_of(job, giver.peer("gpu-1"), password="other", user="run-1"), file)

    assert f"gpu-1 (127.0.0.1:{giver.port}) does not take the password of this run. Let" in str(error.value)
    assert time.monotonic() - began < 5


def test_password_is_nowhere(givers: Givers, tmp_path: Path) -> None:
    """While a copy goes on, no process has the password in its arguments or its environment."""
    content = os.urandom(4 * MIB)
    giver, file = givers(), file_of(content)
    (giver.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file)
    programs: set[str] = set()
    leaks: list[str] = []

    def look() -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                texts = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            except OSError:
                continue
            if b"rsync://" in texts[0]:
                programs.add(texts[0].split(b"\0")[0].decode())
            if any(PASSWORD.encode() in text for text in texts):
                leaks.append(texts[0].decode())

    ended = threading.Event()

    def look_on() -> None:
        while not ended.is_set():
            look()

    watcher = threading.Thread(target=look_on)
    watcher.start()
    part = fill(job, peers_of(job, giver.peer("gpu-1")), file)
    ended.set()
    watcher.join()

    assert part.is_good
    assert {"rsync"} == programs
    assert [] == leaks


def test_stop_leaves_no_process(givers: Givers, tmp_path: Path) -> None:
    """A pull that ends in the middle of a copy takes both of rsync's processes with it; what came stays."""
    content = bytes(256 * MIB)
    giver, file = givers(), file_of(content)
    (giver.blobs / file.blob).write_bytes(content)
    job = job_of(tmp_path / "own", file)
    own = job.folder / "blobs" / f"{file.blob}.incomplete"

    def gate() -> None:
        if size_of(own):
            raise Stopped

    with pytest.raises(Stopped):
        fill(job, peers_of(job, giver.peer("gpu-1")), file, gate=gate)

    size = own.stat().st_size
    time.sleep(0.5)
    assert size == own.stat().st_size
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(own).encode() in _read(path)]
    assert [] == left


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_tree(givers: Givers, tmp_path: Path) -> None:
    """The client's list of the commit comes too, readable for all."""
    giver, file = givers(), file_of(b"x")
    job = job_of(tmp_path / "own", file)
    trees = giver.blobs.parent / "trees"
    trees.mkdir()
    (trees / f"{REVISION}.json").write_text("{}")

    assert peers_of(job, giver.peer("gpu-1")).extras(job)

    tree = job.folder / "trees" / f"{REVISION}.json"
    assert ("{}", 0o644) == (tree.read_text(), tree.stat().st_mode & 0o777)


def test_tree_that_will_never_be(givers: Givers, tmp_path: Path) -> None:
    """Weights that never came from a Hub have no list: that is known as soon as their branch is written."""
    giver, file = givers(), file_of(b"x")
    job = job_of(tmp_path / "own", file, stall_seconds=60.0)
    refs = giver.blobs.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text(REVISION)
    began = time.monotonic()

    assert not peers_of(job, giver.peer("gpu-1")).extras(job)
    assert time.monotonic() - began < 5
    assert [] == list((job.folder / "trees").iterdir())


ENDED = "rsync error: error starting client-server protocol (code 5) at main.c(1859) [Receiver=3.4.1]"


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (5, f"@ERROR: auth failed on module {MODULE}\n{ENDED}", "does not take the password of this run"),
        (5, f"@ERROR: Unknown module '{MODULE}'\n{ENDED}", "does not offer these weights"),
        (5, f"@ERROR: chdir failed\n{ENDED}", "has not begun yet"),
        (5, f"@ERROR: access denied to m from x\n{ENDED}", "does not let this host in (access denied to m from x)"),
        (10, "rsync: failed to connect to x (::1): No route to host (113)\n", "does not answer (No route to host)"),
        (35, "rsync error: timeout waiting for daemon connection (code 35)", "does not answer (timeout)"),
        (12, "rsync: connection unexpectedly closed (0 bytes received so far)", "broke the connection off"),
        (30, "rsync error: timeout in data send/receive (code 30)", "sent nothing for 120 s"),
        (23, 'rsync: link_stat "/x" failed: No such file or directory (2)', "does not have the file"),
        (23, "rsync: denied (13)", "could not be copied from: rsync ended with status 23: rsync: denied (13)"),
        (2, "", "could not be copied from: rsync ended with status 2: without a word"),
    ],
)
def test_what_rsync_means(status: int, said: str, expected: str) -> None:
    """Each way in which rsync ends is said in the words of the person who waits."""
    assert expected == str(explain(status, said, 120))
