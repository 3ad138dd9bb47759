"""``python3 -m services``: serve until killed."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path

from .catalog import Catalog
from .server import LabServer


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="services")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--cdn-port", type=int, default=8444)
    parser.add_argument("--tls", type=Path, help="folder with server.crt and server.key; without it: plain HTTP")
    parser.add_argument("--serving", type=Path, required=True, help="folder with served.json")
    arguments = parser.parse_args()
    context = None
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.tls / "server.crt", arguments.tls / "server.key")
    address = ("0.0.0.0", arguments.port)  # noqa: S104 - the container's own network only
    LabServer(address, Catalog(arguments.serving / "served.json"), context, arguments.cdn_port).serve_forever()


if __name__ == "__main__":
    main()
