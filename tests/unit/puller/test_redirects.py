"""Redirects, and the token on their way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermeion.puller.sources import Refused
from tests.unit.puller.conftest import run, served
from tests.unit.puller.origin import HookedHandler, Origin

SHARD = "model-1.safetensors"


def test_redirect(tmp_path: Path, origin: Origin) -> None:
    """A redirect to another host is followed without the token; one to the endpoint itself with it."""
    seen: list[tuple[str, str, bool]] = []
    port = origin.server.server_port

    def hook(handler: HookedHandler) -> bool:
        if "/resolve/" not in handler.path:
            return False
        host = str(handler.headers["Host"])
        seen.append((host, handler.path.partition("?")[2], "Authorization" in handler.headers))
        if "?" in handler.path:
            handler.path = handler.path.partition("?")[0]
            return False
        other = handler.path.endswith(SHARD)
        place = f"http://localhost:{port}" if other else ""
        return handler.answer(302, {"Location": f"{place}{handler.path}?signed", "Content-Length": "0"})

    origin.hook(hook)
    entry = {"kind": "hub", "endpoint": origin.url, "token": "hf_secret"}
    run(origin.job(tmp_path / "cache", sources=[entry], workers=1))

    assert origin.content == served(tmp_path / "cache")
    assert {
        (f"127.0.0.1:{port}", "", True),
        (f"127.0.0.1:{port}", "signed", True),
        (f"localhost:{port}", "signed", False),
    } == set(seen)


def test_redirect_circle(tmp_path: Path, origin: Origin) -> None:
    """A circle ends."""
    origin.hook(
        lambda handler: (
            "/resolve/" in handler.path and handler.answer(302, {"Location": handler.path, "Content-Length": "0"})
        )
    )
    with pytest.raises(Refused, match=r"redirects more than 8 times\.$"):
        run(origin.job(tmp_path / "cache"))


def test_redirect_to_file(tmp_path: Path, origin: Origin) -> None:
    """A redirect to a file of the host is not followed."""
    origin.hook(
        lambda handler: (
            "/resolve/" in handler.path
            and handler.answer(302, {"Location": "file:///etc/shadow", "Content-Length": "0"})
        )
    )
    with pytest.raises(Refused, match=r"redirects to file:, which is not followed\.$"):
        run(origin.job(tmp_path / "cache"))
