"""Hosts that give weights: real rsync daemons on this machine, run by the program that runs on hosts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from hermeion.puller.job import File, Job

MODULE = "models--o--m"
PASSWORD = "poison-1f2e3d4c5b6a"  # a canary
REVISION = "0123456789" * 4


class Giver:
    """A host that gives: its folder, and the daemon in front of it."""

    def __init__(self, folder: Path, idle: int = 900) -> None:
        self.folder = folder
        self.blobs = folder / "hub" / MODULE / "blobs"
        self.blobs.mkdir(parents=True)
        self.log = folder / "run" / "log"
        (folder / "run").mkdir()
        modules = folder / "modules"
        modules.mkdir()
        secrets = folder / "secrets"
        secrets.write_text(f"run-1:{PASSWORD}\n")
        secrets.chmod(0o600)
        owner = ["uid = root", "gid = root"] if os.geteuid() == 0 else []
        (modules / "m.conf").write_text(
            "\n".join(
                [
                    *(f"[{MODULE}]", f"path = {self.blobs.parent}", "read only = yes", "list = no", "auth users = *"),
                    *(f"secrets file = {secrets}", "hosts allow = 127.0.0.1", *owner, ""),
                ]
            )
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        program = Path(__file__).parents[3] / "hermeion" / "scripts" / "share.sh"
        self.process = subprocess.Popen(
            ["sh", program, "127.0.0.1", str(self.port), str(idle), modules],
            env={**os.environ, "RUNTIME_DIRECTORY": str(folder / "run")},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)

    def peer(self, host: str) -> dict[str, Any]:
        """Its entry in a job."""
        return {"host": host, "address": "127.0.0.1", "port": self.port}

    @property
    def sent(self) -> int:
        """Bytes of files that it has sent, by its own log."""
        return sum(
            int(line.split("sent ")[1].split()[0]) for line in self.log.read_text().splitlines() if " sent " in line
        )

    def stop(self) -> None:
        """Kill it, with everything that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait()


@pytest.fixture
def givers(tmp_path: Path) -> Iterator[Callable[..., Giver]]:
    """Makes hosts that give."""
    assert shutil.which("rsync"), "rsync is missing: scripts/setup installs it"
    made: list[Giver] = []

    def make(idle: int = 900) -> Giver:
        made.append(Giver(tmp_path / f"giver-{len(made)}", idle))
        return made[-1]

    yield make
    for giver in made:
        giver.stop()


def file_of(content: bytes, path: str = "model.safetensors") -> File:
    """A large file."""
    return File(path, len(content), sha256(content).hexdigest())


def job_of(cache: Path, *files: File, **changes: Any) -> Job:
    """A job whose blobs' folder is there."""
    fields: dict[str, Any] = {
        "name": f"{MODULE}@{REVISION}", "repo": "o/m", "revision": REVISION, "cache": cache, "files": files,
        "sources": (), "stall_seconds": 2.0,
    }  # fmt: skip
    job = Job(**(fields | changes))
    (job.folder / "blobs").mkdir(parents=True, exist_ok=True)
    return job
