"""A server of the lab's services on loopback, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hermeion.lab.services.server import LabServer, serve_in_thread
from tests.unit.lab.serving import write_folders


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabServer]:
    """It serves the folders below ``tmp_path``."""
    write_folders(tmp_path)
    running = serve_in_thread(tmp_path / "serving")
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def client(server: LabServer) -> Iterator[httpx.Client]:
    """Its Hub."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}", trust_env=False) as client:
        yield client
