"""The Hub, or a mirror of it: Xet where the file has it, else HTTP, both from any byte on.

The client's own download is not used for the bytes: it cannot go on after a kill, checks no content on the HTTP path,
gives up at the first 429, and reads half as fast as curl.
"""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from typing import Any
from urllib.parse import quote

from .client import list_online
from .job import File, Job
from .parts import Part
from .refusals import refusal
from .sources import Retry, Wrong
from .talk import note
from .web import Web, asked_wait
from .xet import Xet, XetFailed

SMALLEST, LARGEST = 1 << 16, 1 << 20
"""Bytes read at a time: little where they come slowly, so that a cut loses little."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Hub:
    """A Source."""

    def __init__(self, entry: dict[str, Any], job: Job) -> None:
        self._job = job
        self._endpoint = str(entry["endpoint"]).rstrip("/")
        self._token = entry.get("token")
        self._web = Web(self._endpoint, self._token, entry.get("ca"), job.stall_seconds)
        self._xet: Xet | None = None
        self._without_xet = bool(os.environ.get("HF_HUB_DISABLE_XET"))
        self._by_xet: set[str] = set()
        self._turn = threading.Lock()
        self.name = f"the Hub {self._endpoint}"

    def fill(self, file: File, part: Part) -> None:
        """Append what is missing."""
        if file.xet and not self._without_xet:
            try:
                if file.blob in self._by_xet:
                    raise XetFailed(f"{file.path} was another file there")
                self._open_xet().fill(file, part)
            except XetFailed as error:
                self._leave_xet(error)
            else:
                self._by_xet.add(file.blob)  # asked for again, it was not what was promised
                return
        self._fill_by_http(file, part)

    def extras(self, job: Job) -> None:
        """The listing of the commit, by the client itself."""
        list_online(job, self._endpoint, self._token)

    def _open_xet(self) -> Xet:
        with self._turn:
            if self._xet is None:
                self._xet = Xet(self._job, self._endpoint, self._token)
            return self._xet

    def _leave_xet(self, error: XetFailed) -> None:
        """Once and for all files: what failed for one will fail for the next."""
        with self._turn:
            if not self._without_xet:
                self._without_xet = True
                note(f"Xet: {error}; the rest comes over plain HTTP")

    def _fill_by_http(self, file: File, part: Part) -> None:
        url = f"{self._endpoint}/{self._job.repo}/resolve/{self._job.revision}/{quote(file.path)}"
        with self._web.get(url, part.size) as answer:
            skip = self._look(file, part, answer)
            self._read(file, part, answer, skip)

    def _look(self, file: File, part: Part, answer: http.client.HTTPResponse) -> int:
        """Bytes at the answer's beginning that are there already.

        Raises:
            Retry, Wrong, Refused: It is not what was asked for.
        """
        status, length = answer.status, answer.length
        if status == 200:
            if length is not None and length != file.size:
                raise Wrong(f"{file.path} has {length} bytes, promised were {file.size}")
            return part.size
        if status == 206:
            match = _RANGE.fullmatch(answer.headers.get("Content-Range") or "")
            if match and match[3] not in ("*", str(file.size)):
                raise Wrong(f"{file.path} has {match[3]} bytes, promised were {file.size}")
            if not match or int(match[1]) != part.size:
                part.restart()
                raise Retry(f"{self.name} sends another range of {file.path} than was asked for")
            return 0
        if status == 416:
            part.restart()
            raise Retry(f"{self.name} has no rest of {file.path}")
        if status in (408, 429) or status >= 500:
            raise Retry(f"{self.name} answers {status}", asked_wait(answer.headers))
        raise refusal(
            self._job,
            file,
            endpoint=self._endpoint,
            status=status,
            code=answer.headers.get("X-Error-Code") or "",
            token=bool(self._token),
        )

    def _read(self, file: File, part: Part, answer: http.client.HTTPResponse, skip: int) -> None:
        """Append the body; what is there already is skipped where the server knows no ranges."""
        buffer = memoryview(bytearray(LARGEST))
        block = SMALLEST
        at = part.size - skip
        while at < file.size:
            began = time.monotonic()
            try:
                count = answer.readinto(buffer[: min(block, file.size - at)])
            except TimeoutError as error:
                raise Retry(f"{self.name} sent nothing of {file.path} for {self._job.stall_seconds:g} s") from error
            except (OSError, http.client.HTTPException) as error:
                raise Retry(f"{self.name} cut {file.path} after {part.size} of {file.size} bytes ({error})") from error
            if not count:
                raise Retry(f"{self.name} cut {file.path} after {part.size} of {file.size} bytes")
            part.write(buffer[min(count, max(0, part.size - at)) : count])
            at += count
            took = time.monotonic() - began
            block = min(block * 2, LARGEST) if took < 0.05 else max(block // 2, SMALLEST) if took > 1 else block
