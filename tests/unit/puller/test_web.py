"""HTTP: certificates, proxies, and whom a token is told."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from email.message import Message
from email.utils import formatdate
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hermeion.puller.identity import owner_of
from hermeion.puller.private import trust
from hermeion.puller.sources import Refused, Retry
from hermeion.puller.web import Web, asked_wait
from tests.unit.puller.conftest import run
from tests.unit.puller.origin import HookedHandler, Origin


class Hello(BaseHTTPRequestHandler):
    """Answers everything."""

    def do_GET(self) -> None:  # the base class wants it so
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that no system knows, with its key beside it."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "ca.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return tmp_path / "ca.pem"


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    """An HTTPS server with that certificate; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that does not trust it hangs up
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_certificate(secure: str, certificate: Path) -> None:
    """A mirror's own authority is trusted if it is passed, and else the message says what to pass."""
    with Web(secure, None, str(certificate), 5).get(f"{secure}/x", 0) as answer:
        assert b"hello" == answer.read()
    with pytest.raises(Refused) as caught:
        Web(secure, None, None, 5).get(f"{secure}/x", 0)
    assert (
        f"{secure.removeprefix('https://')}: its certificate is not trusted (self-signed certificate); pass "
        "the certificate "
        "of the authority that signed it as hermes_mirrors.ca, and look at the host's clock."
    ) == str(caught.value)


def test_trust(tmp_path: Path, certificate: Path, secure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's certificates come beside the system's, for everything that reads SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", "")
    trust([str(certificate)], tmp_path, owner_of(tmp_path))
    bundle = (tmp_path / "certificates.pem").read_text()

    assert certificate.read_text() in bundle
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    assert not system.exists() or system.read_text() in bundle
    with Web(secure, None, None, 5).get(f"{secure}/x", 0) as answer:
        assert b"hello" == answer.read()


def test_proxy(tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is used, except for the hosts that need none."""
    asked: list[str] = []

    def hook(handler: HookedHandler) -> bool:
        asked.append(handler.path)
        handler.path = handler.path.removeprefix("http://hub.example")
        return False

    origin.hook(hook)
    monkeypatch.setenv("http_proxy", origin.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    run(origin.job(tmp_path / "cache", sources=[{"kind": "hub", "endpoint": "http://hub.example"}]))
    assert all(path.startswith("http://hub.example/") for path in asked)

    asked.clear()
    run(origin.job(tmp_path / "other"))
    assert all(path.startswith("/") for path in asked)


@pytest.mark.parametrize(
    ("endpoint", "url", "may"),
    [
        ("https://huggingface.co", "https://huggingface.co/me/model/x", True),
        ("https://huggingface.co", "https://HuggingFace.co/x", True),
        ("https://huggingface.co", "http://huggingface.co/x", False),
        ("https://huggingface.co", "https://huggingface.co:8443/x", False),
        ("https://huggingface.co", "https://cdn.huggingface.co/x", False),
        ("https://huggingface.co", "https://huggingface.co.evil.example/x", False),
        ("https://huggingface.co", "https://huggingface.co@evil.example/x", False),
        ("http://mirror:8080/hf", "http://mirror:8080/hf/x", True),
        ("http://mirror", "https://mirror/x", True),
    ],
)
def test_who_gets_the_token(endpoint: str, url: str, may: bool) -> None:
    """The endpoint itself, and nobody else; never in the clear if the endpoint is encrypted."""
    assert may == Web(endpoint, "hf_x", None, 5).may_have_token(url)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("7", 7, 7), (formatdate(4102444800, usegmt=True), 1e9, 1e10), (formatdate(0, usegmt=True), 0, 0)],
)
def test_asked_wait(text: str, low: float, high: float) -> None:
    """Seconds or a date, which may lie in the past."""
    headers: Message = HTTPMessage()
    headers["Retry-After"] = text
    wait = asked_wait(headers)  # type: ignore[arg-type]
    assert wait is not None
    assert low <= wait <= high


@pytest.mark.parametrize("text", ["", "soon", "-3", "1.5e"])
def test_asked_nothing(text: str) -> None:
    """What is neither counts as nothing said."""
    headers: Message = HTTPMessage()
    headers["Retry-After"] = text
    assert asked_wait(headers) is None  # type: ignore[arg-type]


def test_silent_server() -> None:
    """A server that takes the connection and says nothing is tried again later."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)  # accepts by its backlog, and never answers
    with pytest.raises(Retry, match=r"^127\.0\.0\.1:\d+ did not answer \(timed out\)$"):
        Web("http://x", None, None, 0.2).get(f"http://127.0.0.1:{server.server_port}/x", 0)
    server.server_close()
