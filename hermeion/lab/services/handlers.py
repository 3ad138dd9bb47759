"""What is done with a request: the routes of both origins, and bodies with ranges and faults."""

from __future__ import annotations

import re
import select
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from . import cdn, control, faults, hub, index, s3
from .answers import Answer, FileAnswer, json_answer
from .knobs import BodyKnob, StatusKnob

if TYPE_CHECKING:
    from .server import Listener

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_COMMIT = re.compile(r"(?<=/resolve/)[^/]+")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the first bytes of a body wait 40 ms for the client to confirm the headers
    server: Listener
    place = "hub"

    def do_GET(self) -> None:
        """Answer a GET."""
        self._handle()

    do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815  # http.server wants these names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Keep quiet: the log is at /_lab/requests."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.startswith(control.PREFIX):
            self._send(self.server.main.control.answer(self.command, path, body), path, None)
            return
        knobs = self.server.main.control.knobs
        forced = knobs.status_for(path)
        answer = _forced(forced) if forced else self._route(path, parts.path, parts.query)
        self._note(answer.status)
        self._send(answer, path, knobs.body_for(path) if self.command == "GET" else None)

    def _route(self, path: str, raw: str, query: str) -> Answer:
        if self.command not in ("GET", "HEAD"):
            return json_answer(405, {"error": "only GET and HEAD"})
        catalog, knobs = self.server.catalog, self.server.main.control.knobs
        if path.startswith("/simple/"):
            return index.answer(catalog.folders("index"), path.removeprefix("/simple/"))
        for kind in ("apt", "files"):
            if path.startswith(f"/{kind}/"):
                return index.static(catalog.folders(kind), path.removeprefix(f"/{kind}/"))
        if path.startswith(s3.PREFIX):
            headers = {name.lower(): value for name, value in self.headers.items()}
            return s3.answer(catalog, self.command, raw, query, headers)
        token = knobs.token_for(path)
        refusal = hub.refuse(token, self.headers.get("Authorization")) if token else None
        if refusal:
            return refusal
        answer = hub.answer(catalog, path, query, knobs.now, self._origin(self.server))
        if isinstance(answer, FileAnswer) and knobs.redirects(path):
            pinned = _COMMIT.sub(answer.headers["X-Repo-Commit"], path, count=1)
            return cdn.redirect(answer, self.server.main.secret, self._origin(self.server.main.cdn), pinned)
        return answer

    def _origin(self, listener: Listener) -> str:
        """Address of an origin, by the name under which the client knows this one."""
        host = (self.headers.get("Host") or str(listener.server_address[0])).rpartition(":")
        scheme = "http" if listener.context is None else "https"
        return f"{scheme}://{host[0] or host[2]}:{listener.server_address[1]}"

    def _note(self, status: int) -> None:
        entry = {"time": time.time(), "client": self.client_address[0], "method": self.command, "path": self.path}
        entry |= {"status": status, "range": self.headers.get("Range"), "agent": self.headers.get("User-Agent")}
        # Whether credentials came, never what they are.
        entry |= {"authorized": "Authorization" in self.headers, "origin": self.place}
        self.server.main.control.log.append(entry)

    def _send(self, answer: Answer, path: str, fault: BodyKnob | None) -> None:
        answer = faults.resize(answer, fault)
        first, end = 0, answer.size
        status = answer.status
        headers = dict(answer.headers)
        if isinstance(answer, FileAnswer) and status == 200:
            headers["Accept-Ranges"] = "bytes"
            span = read_range(self.headers.get("Range"), answer.size)
            if span and span[0] >= answer.size:
                status, answer, headers = 416, Answer(416), {"Content-Range": f"bytes */{answer.size}"}
                end = 0
            elif span:
                first, end = span
                status, headers["Content-Range"] = 206, f"bytes {first}-{end - 1}/{answer.size}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(end - first))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(answer, first, end, path, fault)

    def _send_body(self, answer: Answer, first: int, end: int, path: str, fault: BodyKnob | None) -> None:
        knobs, traffic = self.server.main.control.knobs, self.server.main.control.traffic
        total_rate = knobs.now.bytes_per_second_total
        chunk = faults.chunk_for(total_rate, fault.bytes_per_second if fault else None)
        whole = answer.read(first, end, chunk)
        pieces = whole if fault is None else faults.spoil(whole, end - first, fault, lambda: self._stall_is_over(fault))
        counted = not path.startswith(control.PREFIX)
        for piece in pieces:
            if piece is None:
                self.close_connection = True
                return
            if total_rate and counted:
                self.server.main.control.uplink.wait(len(piece), total_rate)
            self.wfile.write(piece)
            if counted:
                traffic.add(path, self.client_address[0], len(piece))

    def _stall_is_over(self, fault: BodyKnob) -> bool | None:
        """As ``faults.spoil`` asks: a client says nothing while it reads, so what can be read is its farewell."""
        if select.select([self.connection], [], [], 0)[0]:
            return None
        return not self.server.main.control.knobs.is_on(fault)


class CdnHandler(Handler):
    """One connection to the second origin."""

    place = "cdn"

    def _route(self, path: str, raw: str, query: str) -> Answer:  # noqa: ARG002  # as the first origin's
        if self.command not in ("GET", "HEAD"):
            return json_answer(405, {"error": "only GET and HEAD"})
        authorized = "Authorization" in self.headers
        return cdn.answer(self.server.catalog, self.server.main.secret, path, query, authorized=authorized)


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last that a Range header asks of ``size`` bytes; None: everything."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


def _forced(knob: StatusKnob) -> Answer:
    headers = {"X-Error-Code": knob.error_code} if knob.error_code else {}
    if knob.retry_after is not None:
        moment = formatdate(time.time() + knob.retry_after, usegmt=True)
        headers["Retry-After"] = moment if knob.retry_after_date else str(knob.retry_after)
    return json_answer(knob.status, {"error": f"forced {knob.status}"}, headers)
