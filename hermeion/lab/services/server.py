"""The HTTPS server and its second origin: ports, TLS, and a thread for each connection."""

from __future__ import annotations

import secrets
import ssl
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .catalog import Catalog
from .control import Control
from .handlers import CdnHandler, Handler

_HANDSHAKE_SECONDS = 60
_IDLE_SECONDS = 600  # a client that neither asks nor reads for so long has gone


class Listener(ThreadingHTTPServer):
    """One origin; ``main`` is the server that it belongs to."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], handler: type[Handler], catalog: Catalog, context: ssl.SSLContext | None
    ) -> None:
        self.catalog = catalog
        self.context = context
        self.main: LabServer
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake in the request's own thread: a silent client must not stop the others."""
        if self.context is not None:
            request.settimeout(_HANDSHAKE_SECONDS)
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
        request.settimeout(_IDLE_SECONDS)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of every test."""


class LabServer(Listener):
    """Serves a catalog, and its second origin, ``cdn``; ``context`` None means plain HTTP, for tests on loopback.

    Attributes:
        secret: Of the signatures in the second origin's addresses.
    """

    def __init__(
        self, address: tuple[str, int], catalog: Catalog, context: ssl.SSLContext | None = None, cdn_port: int = 0
    ) -> None:
        self.control = Control()
        self.secret = secrets.token_bytes(32)
        super().__init__(address, Handler, catalog, context)
        self.cdn = Listener((address[0], cdn_port), CdnHandler, catalog, context)
        self.main = self.cdn.main = self

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve both origins until ``shutdown``."""
        threading.Thread(target=self.cdn.serve_forever, args=(poll_interval,), daemon=True).start()
        super().serve_forever(poll_interval)

    def shutdown(self) -> None:
        """Stop both."""
        self.cdn.shutdown()
        super().shutdown()

    def server_close(self) -> None:
        """Close both ports."""
        self.cdn.server_close()
        super().server_close()


def serve_in_thread(serving: Path) -> LabServer:
    """A server on free loopback ports, over plain HTTP, for tests; stop it with ``shutdown()``."""
    server = LabServer(("127.0.0.1", 0), Catalog(serving / "served.json"))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
