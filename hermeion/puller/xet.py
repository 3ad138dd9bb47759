"""The Hub's Xet storage, by its own library: ordered bytes of a file from any offset on."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from .job import File, Job
from .parts import Part

SLICE = 8 << 20
"""Bytes written at a time: the library gives up to 64 MiB at once."""

_END = object()


class XetFailed(Exception):  # noqa: N818  # it is a finding
    """The file does not come this way; the message says why, without an end."""


class Xet:
    """Streams of one repository at one commit."""

    def __init__(self, job: Job, endpoint: str, token: str | None) -> None:
        self._job = job
        self._endpoint = endpoint
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._turn = threading.Lock()
        self._session: Any = None

    def fill(self, file: File, part: Part) -> None:
        """Append what is missing.

        The library waits in code that Python cannot interrupt: so it runs in a thread of its own, which is left behind
        if nothing comes.

        Raises:
            XetFailed: It cannot, or nothing came for the job's ``stall_seconds``.
        """
        blocks: queue.Queue[object] = queue.Queue(maxsize=1)
        left = threading.Event()
        stream: list[Any] = []

        def put(item: object) -> None:
            while not left.is_set():
                try:
                    blocks.put(item, timeout=1)
                except queue.Full:
                    continue
                return

        start = part.size

        def read() -> None:
            try:
                stream.append(self._open(file, start))
                for block in stream[0]:
                    put(block)
                    if left.is_set():
                        stream[0].cancel()
                        return
                put(_END)
            except BaseException as error:  # its panics are BaseExceptions
                put(error)

        threading.Thread(target=read, daemon=True).start()
        try:
            self._append(part, blocks, lambda: _moved(stream))
        finally:
            left.set()
        if part.size != file.size:
            raise XetFailed(f"{file.path} ended after {part.size} of {file.size} bytes")

    def _append(self, part: Part, blocks: queue.Queue[object], moved: Callable[[], object]) -> None:
        since, seen = time.monotonic(), moved()
        while True:
            try:
                item = blocks.get(timeout=0.5)
            except queue.Empty:
                part.gate()
                if (now := moved()) != seen:  # on a slow line a block of 64 MiB takes its time
                    since, seen = time.monotonic(), now
                if time.monotonic() - since > self._job.stall_seconds:
                    raise XetFailed(f"nothing of {part.file.path} came for {self._job.stall_seconds:g} s") from None
                continue
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise XetFailed(f"{part.file.path}: {type(item).__name__}: {item}") from item
            view = memoryview(item)[: max(0, part.file.size - part.size)]  # type: ignore[arg-type]
            for start in range(0, len(view), SLICE):
                part.write(view[start : start + SLICE])
            since = time.monotonic()

    def _open(self, file: File, start: int) -> Any:
        import hf_xet  # type: ignore[import-untyped] # noqa: PLC0415  # not on every host
        from huggingface_hub.utils import _xet as tokens  # noqa: PLC0415

        route = tokens.xet_connection_info_refresh_url(
            token_type=tokens.XetTokenType.READ,
            repo_id=self._job.repo,
            repo_type="model",
            revision=self._job.revision,
            endpoint=self._endpoint,
        )
        # The client keeps the answer as long as it is valid, for all files.
        found = tokens.refresh_xet_connection_info(
            file_data=tokens.XetFileData(file_hash=str(file.xet), refresh_route=route), headers=self._headers
        )
        with self._turn:
            self._session = self._session or hf_xet.XetSession()
        group = self._session.new_download_stream_group(
            endpoint=found.endpoint,
            token=found.access_token,
            token_expiry_unix_secs=found.expiration_unix_epoch,
            token_refresh_url=route,
            token_refresh_headers=self._headers,
        )
        return group.download_stream(hf_xet.XetFileInfo(file.xet, file.size), start=start or None)


def _moved(stream: list[Any]) -> object:
    """Anything that changes while bytes come."""
    try:
        return repr(stream[0].progress()) if stream else None
    except Exception:  # a stream that has ended
        return None
