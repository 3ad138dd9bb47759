"""From other hosts of the run: each file follows that of the host before, even while that one is still getting it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from .job import File, Job
from .parts import Part
from .peer import LOOK_SECONDS, Peer
from .rsync import Away, Server
from .sources import Refused
from .talk import note, seconds_text

STEP = 32 << 20
"""Bytes of a growing file that are worth a connection."""

STEP_SECONDS = 2.0
"""How long fewer are waited on."""

PATIENCE = 900.0
"""Seconds without a byte anywhere until all hosts are given up: longer than the ten minutes that a Hub may ask for."""

FIRST_SECONDS = 30.0
"""How long a host that was never seen is waited for while another one could be asked."""

QUIET_SECONDS = 5.0
"""Seconds without a byte until it is said what is waited for."""


class Peers:
    """Hosts that have the weights or are getting them, in order of preference.

    Args:
        entry: ``peers`` (``host``, ``address``, ``port``), ``user``, ``password_file`` (``password``, or
            ``user:password``); and perhaps ``patience`` in seconds.
    """

    def __init__(self, entry: dict[str, Any], job: Job) -> None:
        password = Path(entry["password_file"]).read_text(encoding="utf-8").strip()
        user, _, word = password.rpartition(":")
        self._job = job
        wanted = {file.blob: file.size for file in job.files}
        self._peers = [
            Peer(
                Server(
                    **{key: peer[key] for key in ("host", "address", "port")},
                    module=job.folder.name,
                    user=user or entry.get("user", "hermeion"),
                    password=word,
                    stall_seconds=job.stall_seconds,
                ),
                wanted,
            )
            for peer in entry["peers"]
        ]
        self.name = " or ".join(f"{peer.server.host} ({peer.server.address})" for peer in self._peers)
        self._patience = float(entry.get("patience", PATIENCE))
        self._first_seconds = min(FIRST_SECONDS, job.stall_seconds)
        self._since = time.monotonic()
        self._came = self._since
        self._said = ""
        self._copied: dict[tuple[str, str], tuple[int, float]] = {}
        self._last: dict[str, Peer] = {}

    def fill(self, file: File, part: Part) -> None:
        """Append what is missing, from the first host that has more, or will.

        Raises:
            Refused: No host gives it, and none will.
        """
        if not part.size and (last := self._last.pop(file.blob, None)):
            last.bad.add(file.blob)  # what it gave was thrown away
        part.catch_up()
        tried = 0.0
        while part.size < file.size:
            part.gate()
            peer = self._choose(file, part, time.monotonic() - tried >= STEP_SECONDS)
            if peer is None:
                time.sleep(LOOK_SECONDS / 4)
                continue
            self.name = f"{peer.server.host} ({peer.server.address})"
            self._say(f"copying from {self.name}")
            self._copy(peer, file, part)
            tried = time.monotonic()

    def extras(self, job: Job) -> bool:
        """Copy ``trees/<commit>.json``, in which the Hub's client keeps the names and sizes of the commit's files.

        To be called when all blobs are there. It waits for a host that is not so far yet.

        Returns:
            Whether there is one: weights that never came from a Hub have none.
        """
        name, end = f"trees/{job.revision}.json", time.monotonic() + job.stall_seconds
        new = job.folder / "trees" / f".{job.revision}.new"
        new.parent.mkdir(exist_ok=True)
        while time.monotonic() < end:
            for peer in self._peers:
                try:
                    peer.server.copy(name, new)
                except Away:
                    continue
                new.chmod(0o644)
                new.replace(job.folder / name)
                return True
            if self._has_ended(job, new):
                return False
            time.sleep(LOOK_SECONDS)
        return False

    def _has_ended(self, job: Job, copy: Path) -> bool:
        """Whether a host has the weights completely: the branch is written last."""
        for peer in self._peers:
            with contextlib.suppress(Away):
                peer.server.copy(f"refs/{job.ref}", copy)
                text = copy.read_text(encoding="ascii", errors="replace")
                copy.unlink()
                if text.strip() == job.revision:
                    return True
        return False

    def _choose(self, file: File, part: Part, is_due: bool) -> Peer | None:
        """The first host that has more of the file, or ``None``: it is waited for."""
        avoided = {id(peer) for peer in self._peers if file.blob in peer.bad}
        for peer in self._peers:
            if id(peer) in avoided and len(avoided) < len(self._peers):
                continue
            if not peer.look():
                # All hosts of a run begin at once: who is not up yet is waited for, lest all ask the first one.
                if not (peer.seen or peer.for_good) and time.monotonic() - self._since < self._first_seconds:
                    self._wait(peer)
                    return None
                continue
            size, is_whole = peer.has(file.blob), file.blob in peer.files
            if size > file.size or (is_whole and size != file.size):
                peer.reason = f"has {size} bytes of {file.path}, {file.size} were promised"
                continue
            reached, when = self._copied.get((peer.server.host, file.blob), (0, 0.0))
            if size < reached and peer.asked > when and not is_whole:
                part.restart()  # it found that its beginning was wrong, and ours is the same
                self._copied.pop((peer.server.host, file.blob))
            # All is there and not checked yet: the end is left until it is, lest wrong bytes go from host to host.
            if size > part.size and (is_whole or size < file.size):
                return peer if is_due or is_whole or size - part.size >= STEP else None
            if time.monotonic() - peer.grown < self._job.stall_seconds:
                self._wait(peer)
                return None
            peer.reason = f"has got nothing new for {seconds_text(time.monotonic() - peer.grown)}"
        self._wait(None)
        hope = max(self._came, *(peer.grown for peer in self._peers))
        if all(peer.for_good for peer in self._peers) or time.monotonic() - hope > self._patience:
            raise Refused(self._nobody(file))
        return None

    def _copy(self, peer: Peer, file: File, part: Part) -> None:
        part.path.open("ab").close()  # with our umask, and our error if that is not allowed
        before = part.size
        name = file.blob if file.blob in peer.files else f"{file.blob}.incomplete"
        try:
            peer.server.append(f"blobs/{name}", part.path, part.catch_up)
        except Away as trouble:
            if trouble.missing:
                peer.asked = 0.0  # it has another name by now
            else:
                peer.away(trouble)
        if part.size > before:
            self._came = time.monotonic()
            self._last[file.blob] = peer
            self._copied[peer.server.host, file.blob] = (part.size, self._came)

    def _wait(self, peer: Peer | None) -> None:
        if time.monotonic() - self._came > QUIET_SECONDS:
            peers = [peer] if peer else self._peers
            self._say("waiting for " + "; ".join(f"{each.server.host}, which {each.reason}" for each in peers))

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            note(text)

    def _nobody(self, file: File) -> str:
        ports = ", ".join(sorted({str(peer.server.port) for peer in self._peers}))
        reasons = "; ".join(f"{peer.server!r} {peer.reason}" for peer in self._peers)
        return (
            f"no host gives {file.path}: {reasons}. Let TCP port {ports} through to there from this host, or set "
            "hermes_sharing (hosts = false: every host pulls for itself), and run again."
        )
