"""Asking another host's rsync daemon: what it has, and the bytes of one file from where ours ends."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .sources import Refused

CONNECT_SECONDS = 10
"""How long a host may take to accept a connection."""

WATCH_SECONDS = 0.25
"""How often it is looked how far a copy is."""

_ROW = re.compile(r"^-\S+ +([\d,.]+) \d{4}/\d\d/\d\d \d\d:\d\d:\d\d (.+)$")


class Away(Exception):  # noqa: N818  # it is a state
    """A host that does not give now; the message completes the sentence that begins with its name.

    Attributes:
        for_good: It will not do it later either.
        missing: It answers, and does not have the file.
    """

    def __init__(self, message: str, *, for_good: bool = False, missing: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good
        self.missing = missing


class Server(NamedTuple):
    """A daemon that offers the repository's folder.

    Attributes:
        module: The name that it offers the folder under.
        stall_seconds: How long not a byte may come before the connection is given up.
    """

    host: str
    address: str
    port: int
    module: str
    user: str
    password: str
    stall_seconds: float

    def __repr__(self) -> str:
        """Without the password."""
        return f"{self.host} ({self.address}:{self.port})"

    def list_folder(self, folder: str) -> dict[str, int]:
        """Bytes by name, of the files in a folder of the repository; empty if there is no such folder.

        Raises:
            Away: It does not answer.
            Refused: There is no rsync here.
        """
        with self._start("--list-only", "--no-human-readable", self._url(f"{folder}/")) as process:
            text, said = process.communicate()
        if process.returncode:
            trouble = explain(process.returncode, said, self.stall_seconds)
            if trouble.missing:
                return {}
            raise trouble
        rows = (_ROW.match(line) for line in text.splitlines())
        return {row[2]: int(re.sub(r"\D", "", row[1])) for row in rows if row}

    def append(self, path: str, target: Path, watch: Callable[[], object]) -> None:
        """Append what the file has more than ours; ``watch`` is called while it comes, and may stop it by raising.

        Raises:
            Away: It broke off, or has no such file (any more); what came stays.
            OSError: It cannot be written here.
        """
        self._run(watch, "--append", "--inplace", self._url(path), str(target))

    def copy(self, path: str, target: Path) -> None:
        """Copy a small file, in one step.

        Raises:
            Away: As for :meth:`append`.
            OSError: As for :meth:`append`.
        """
        self._run(lambda: None, "--ignore-times", self._url(path), str(target))

    def _run(self, watch: Callable[[], object], *arguments: str) -> None:
        said: str | None = None
        with self._start(*arguments) as process:
            try:
                while said is None:
                    try:
                        said = process.communicate(timeout=WATCH_SECONDS)[1]
                    except subprocess.TimeoutExpired:
                        watch()
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)  # it is two processes; killed singly, the other would go on
                raise
        watch()
        if process.returncode == 11 and (number := os_error(said)):
            raise OSError(number, os.strerror(number), arguments[-1])
        if process.returncode:
            raise explain(process.returncode, said, self.stall_seconds)

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        try:
            process = subprocess.Popen(
                [
                    "rsync",
                    *("--no-motd", "--password-file=-", f"--contimeout={CONNECT_SECONDS}"),
                    f"--timeout={max(int(self.stall_seconds), 1)}",
                    *arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise Refused("rsync is missing on this host; install it, and run again.") from None
        # The password goes over a pipe: not into a file, an argument or the environment.
        if process.stdin:
            # It may have ended before it asked; its status says why.
            with contextlib.suppress(BrokenPipeError), process.stdin as stream:
                stream.write(f"{self.password}\n")
            process.stdin = None
        return process

    def _url(self, path: str) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"rsync://{self.user}@{address}:{self.port}/{self.module}/{path}"


def explain(status: int, said: str, stall_seconds: float) -> Away:
    """What rsync's exit status and its words mean."""
    lines = [line for line in said.strip().splitlines() if not line.startswith("rsync error:")]
    line = lines[0] if lines else said.strip()
    if "auth failed" in said:
        return Away("does not take the password of this run", for_good=True)
    if "access denied" in said:
        return Away(f"does not let this host in ({line.removeprefix('@ERROR: ')})", for_good=True)
    if "chdir failed" in said:
        return Away("has not begun yet")
    if "Unknown module" in said:
        return Away("does not offer these weights")
    if status in (23, 24) and os_error(said) == errno.ENOENT:
        return Away("does not have the file", missing=True)
    if status in (10, 35):
        reason = re.search(r": ([A-Z][^:()]+) \(\d+\)", said)
        return Away(f"does not answer ({reason[1] if reason else 'timeout'})")
    if status == 12:
        return Away("broke the connection off")
    if status == 30:
        return Away(f"sent nothing for {stall_seconds:.0f} s")
    return Away(f"could not be copied from: rsync ended with status {status}: {line or 'without a word'}")


def os_error(said: str) -> int | None:
    """Number of the first error of a system call that rsync names."""
    found = re.search(r"\((\d+)\)", said)
    return int(found[1]) if found else None
