"""The HTTPS server: routes, the request log, and bodies with ranges and faults."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from . import hub, index
from .answers import Answer, FileAnswer, json_answer
from .catalog import Catalog
from .knobs import BodyKnob, KnobError, Knobs

_LOG_LENGTH = 5000
_CHUNK = 64 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class LabServer(ThreadingHTTPServer):
    """Serves a catalog; ``context`` None means plain HTTP, for tests on loopback."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], catalog: Catalog, context: ssl.SSLContext | None = None) -> None:
        self.catalog = catalog
        self.knobs = Knobs()
        self.log: deque[dict[str, Any]] = deque(maxlen=_LOG_LENGTH)
        self._context = context
        super().__init__(address, Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake in the request's own thread: a silent client must not stop the others."""
        if self._context is not None:
            request.settimeout(60)
            try:
                request = self._context.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of every test."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: LabServer

    def do_GET(self) -> None:
        """Answer a GET."""
        self._handle()

    do_HEAD = do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Keep quiet: the log is at /_lab/requests."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.startswith("/_lab/"):
            self._send(self._control(path, body), None)
            return
        forced = self.server.knobs.status_for(path)
        if forced is not None:
            headers = {"X-Error-Code": forced.error_code} if forced.error_code else {}
            if forced.retry_after is not None:
                headers["Retry-After"] = str(forced.retry_after)
            answer: Answer = json_answer(forced.status, {"error": f"forced {forced.status}"}, headers)
        else:
            answer = self._route(path)
        self._note(answer.status)
        self._send(answer, self.server.knobs.body_for(path) if self.command == "GET" else None)

    def _route(self, path: str) -> Answer:
        if self.command not in ("GET", "HEAD"):
            return json_answer(405, {"error": "only GET and HEAD"})
        if path.startswith("/simple/"):
            return index.answer(self.server.catalog.folders("index"), path.removeprefix("/simple/"))
        for kind in ("apt", "files"):
            if path.startswith(f"/{kind}/"):
                return index.static(self.server.catalog.folders(kind), path.removeprefix(f"/{kind}/"))
        return hub.answer(self.server.catalog, path)

    def _control(self, path: str, body: bytes) -> Answer:
        match self.command, path:
            case "GET", "/_lab/health":
                return json_answer(200, {"ok": True})
            case "GET", "/_lab/requests":
                return json_answer(200, list(self.server.log))
            case "DELETE", "/_lab/requests":
                self.server.log.clear()
            case "DELETE", "/_lab/knobs":
                self.server.knobs.replace({})
            case "POST", "/_lab/knobs":
                try:
                    self.server.knobs.replace(json.loads(body))
                except (KnobError, ValueError) as error:
                    return json_answer(400, {"error": str(error)})
            case _:
                return json_answer(404, {"error": f"no {self.command} {path}"})
        return json_answer(200, {"ok": True})

    def _note(self, status: int) -> None:
        entry = {"time": time.time(), "client": self.client_address[0], "method": self.command, "path": self.path}
        entry |= {"status": status, "range": self.headers.get("Range"), "agent": self.headers.get("User-Agent")}
        # Whether credentials came, never what they are.
        self.server.log.append(entry | {"authorized": "Authorization" in self.headers})

    def _send(self, answer: Answer, fault: BodyKnob | None) -> None:
        first, last = 0, answer.size - 1
        status = answer.status
        headers = dict(answer.headers)
        match = _RANGE.fullmatch(self.headers.get("Range") or "")
        if isinstance(answer, FileAnswer) and status == 200:
            headers["Accept-Ranges"] = "bytes"
            if match and int(match[1]) >= answer.size:
                answer = json_answer(416, {}, {"Content-Range": f"bytes */{answer.size}"})
                status, headers, first, last = 416, dict(answer.headers), 0, answer.size - 1
            elif match:
                first, last = int(match[1]), min(int(match[2] or last), last)
                status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{answer.size}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if self.command == "HEAD":
            return
        for chunk in spoil(answer.read(first, last + 1, _CHUNK), fault):
            if chunk is None:
                self.close_connection = True
                return
            self.wfile.write(chunk)


def spoil(chunks: Iterator[bytes], fault: BodyKnob | None) -> Iterator[bytes | None]:
    """The same chunks with the fault put in; None means: hang up here."""
    sent, start = 0, time.monotonic()
    for whole in chunks:
        chunk = whole
        if fault is not None:
            if fault.corrupt and sent == 0 and chunk:
                chunk = bytes([chunk[0] ^ 0xFF]) + chunk[1:]
            if fault.drop_after is not None and sent + len(chunk) > fault.drop_after:
                yield chunk[: fault.drop_after - sent]
                yield None
                return
            if fault.bytes_per_second:
                time.sleep(max(0.0, start + sent / fault.bytes_per_second - time.monotonic()))
        yield chunk
        sent += len(chunk)


def serve_in_thread(serving: Path) -> LabServer:
    """A server on a free loopback port, over plain HTTP, for tests; stop it with ``shutdown()``."""
    server = LabServer(("127.0.0.1", 0), Catalog(serving / "served.json"))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
