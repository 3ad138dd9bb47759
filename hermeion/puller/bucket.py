"""Weights from an S3-compatible bucket, by ``rclone``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .job import File, Job
from .parts import Part
from .sources import Refused, Retry

REMOTE = "store"
"""Name of the store in the configuration."""

READ = 1 << 20
"""Bytes read at a time, and held by the pipe in between: pipe(7) allows as much to anybody."""

NO_USE = ("status code: 401", "status code: 403", "AccessDenied", "NoSuchBucket", "NoSuchKey", "directory not found")
"""What rclone says where another try says the same."""

HEAD = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?:(?:ERROR|NOTICE|CRITICAL)\s*: )?", re.MULTILINE)
"""Date and level before rclone's words."""

NOT_FOUND = frozenset({3, 4})
"""rclone's exit codes for a folder and a file that are not there (rclone.org/docs, "Exit code")."""


class Bucket:
    """A prefix of a bucket with the files by their names in the repository.

    The configuration, which holds the key, is read once, by who starts the program, and given to rclone by way of
    memory: the user that the program becomes needs no file of its own.
    """

    def __init__(self, entry: dict[str, Any], job: Job) -> None:
        self.remote = str(entry["remote"]).rstrip("/")
        self.name = f"the bucket {self.remote}"
        self.ca: str | None = entry.get("ca")
        self.stall = job.stall_seconds
        self._config = os.memfd_create("rclone.conf", 0)
        with Path(entry["config_file"]).open("rb") as stream:
            os.write(self._config, stream.read())

    def _command(self, file: File, start: int) -> list[str]:
        place = f"{REMOTE}:{self.remote.removeprefix('s3://')}/{file.path}"
        options = {
            "config": f"/proc/self/fd/{self._config}",
            "offset": start,
            "count": file.size - start,
            "retries": 1,  # whoever calls tries again, from where this ended
            "low-level-retries": 1,
            "contimeout": "15s",
            "timeout": f"{max(1, round(self.stall))}s",
            **({"ca-cert": self.ca} if self.ca else {}),
        }
        return ["rclone", "cat", place, *(f"--{name}={value}" for name, value in options.items())]

    def fill(self, file: File, part: Part) -> None:
        """Append to the part what is missing.

        Raises:
            Retry: The store did not answer, was slow beyond the job's patience, broke off, or gave too little.
            Refused: The store refuses the file or lacks the bucket, or there is no rclone.
        """
        if part.size >= file.size:
            return
        errors = os.memfd_create("errors", os.MFD_CLOEXEC)
        try:
            with self._started(file, part.size, errors) as process, _killed(process):
                self._read(process, file, part)
                code = process.wait(timeout=self.stall)
            said = _reason(os.pread(errors, 1 << 16, 0).decode(errors="replace"))
        except FileNotFoundError as error:
            raise Refused("rclone, which reads buckets, is not installed (apt-get install rclone).") from error
        except subprocess.TimeoutExpired as error:
            raise Retry(f"{self.name}: rclone did not end after {file.path}") from error
        finally:
            os.close(errors)
        self._judge(code, said, file, part)

    def _started(self, file: File, start: int, errors: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command(file, start),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(self._config,),
            bufsize=0,
            env={name: value for name, value in os.environ.items() if not name.startswith(("RCLONE_", "AWS_"))},
        )

    def _read(self, process: subprocess.Popen[bytes], file: File, part: Part) -> None:
        stream = process.stdout
        assert stream is not None  # noqa: S101  # it is a pipe
        with contextlib.suppress(OSError):  # a small pipe works too
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, READ)
        while True:
            if not select.select([stream], [], [], self.stall)[0]:
                raise Retry(f"{self.name}: not a byte of {file.path} came for {self.stall:g} s")
            block = stream.read(READ)
            if not block:
                return
            part.write(block)

    def _judge(self, code: int, said: str, file: File, part: Part) -> None:
        if code in NOT_FOUND or any(word in said for word in NO_USE):
            raise Refused(
                f"{self.name} does not give {file.path} ({said}). Check the key in the environment, and whether the "
                "bucket still holds what its SHA256SUMS names."
            )
        if code:
            raise Retry(f"{self.name}: {file.path} broke off at byte {part.size} ({said or f'rclone: {code}'})")
        if part.size < file.size:
            # A store that is busy (503) is to rclone 1.60 one without the file, and it is content with nothing.
            raise Retry(
                f"{self.name} gives nothing of {file.path} beyond byte {part.size} of {file.size}; if it stays so, "
                "upload the file again with its SHA256SUMS"
            )


@contextlib.contextmanager
def _killed(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, the process does not go on alone."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()


def _reason(text: str) -> str:
    """rclone's words on one line, without dates and levels."""
    return " ".join(HEAD.sub("", text).split())[:400]
