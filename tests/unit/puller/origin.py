"""A Hub for tests of the puller: the lab's own server, in this process, with hooks for what its knobs do not do."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from hermeion.lab.services.server import LabServer, serve_in_thread

REPO = "me/model"
REVISION = "0123456789abcdef0123456789abcdef01234567"

Hook = Callable[["HookedHandler"], bool]


class HookedHandler(BaseHTTPRequestHandler):
    """Asks the hook first; what it does not answer, the lab's own handler does, which comes after it in the class."""

    hook: Hook
    log: list[dict[str, Any]]

    def do_GET(self) -> None:  # the base class wants it so
        """Answer a GET."""
        if not type(self).hook(self):
            super().do_GET()  # type: ignore[misc]

    def send_response(self, code: int, message: str | None = None) -> None:
        """Note what was asked, with the answer's status."""
        asked = {"path": self.path, "status": code, "range": self.headers.get("Range")}
        if not self.path.startswith("/_lab/"):
            self.log.append(asked | {"authorized": "Authorization" in self.headers})
        super().send_response(code, message)

    def answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> bool:
        """An answer of the hook's own; ``Content-Length`` only if it says so."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
        return True


class Origin:
    """The server, one repository at one commit, and what was asked."""

    def __init__(self, folder: Path, content: Mapping[str, bytes]) -> None:
        self._folder = folder
        self.content = dict(content)
        for path, data in content.items():
            (folder / "model" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "model" / path).write_bytes(data)
        model = {"repo": REPO, "revision": REVISION, "path": str(folder / "model")}
        (folder / "served.json").write_text(json.dumps({"models": [model]}))
        self.server: LabServer = serve_in_thread(folder)
        self._handler = cast("type", self.server.RequestHandlerClass)
        self.log: list[dict[str, Any]] = []
        self.hook(lambda _: False)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def hook(self, hook: Hook) -> None:
        """Answer by it from now on."""
        self.server.RequestHandlerClass = type(
            "Hooked", (HookedHandler, self._handler), {"hook": staticmethod(hook), "log": self.log}
        )

    def turn(self, **knobs: Any) -> None:
        """Turn the knobs of the lab's server."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/_lab/knobs", data=json.dumps(knobs).encode(), method="POST"
        )
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310

    def asked(self, path: str) -> list[str | None]:
        """Ranges of the requests for a file, in order."""
        return [entry["range"] for entry in self.log if entry["path"].endswith(f"/resolve/{REVISION}/{quote(path)}")]

    def files(self) -> list[dict[str, Any]]:
        """The files of a job, as the Hub tells them."""
        return [wanted(path, data) for path, data in self.content.items()]

    def job(self, cache: Path, **more: Any) -> dict[str, Any]:
        """A job that pulls everything from here."""
        return {
            "name": f"models--me--model@{REVISION}",
            "repo": REPO,
            "revision": REVISION,
            "cache": str(cache),
            "files": self.files(),
            "sources": [{"kind": "hub", "endpoint": self.url, "token_file": None, "ca": None}],
            "reserve": 0,
            "stall_seconds": 5.0,
        } | more


def wanted(path: str, data: bytes) -> dict[str, Any]:
    """A file of a job: large ones by sha256, small ones by their git oid."""
    if path.endswith((".safetensors", ".gguf")):
        return {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return {"path": path, "size": len(data), "oid": oid}
