"""A mirror of the Hub: below a path, with certificates of its own, in pages, without Xet. The real script asks it."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermeion.answers import Answer, parse_answers
from hermeion.errors import SourceError
from hermeion.planner import make_plan
from hermeion.sources import HubFile, read_weights, weights_question
from tests.unit.builders import H100, NAME, POISON, REVISION, final_service, make_probe, make_spec

PREFIX = "/repository/hf"
REPO = "NousResearch/Hermes-3-Llama-3.1-8B"
PAGES = 3


def rows(page: int) -> list[dict[str, object]]:
    """Files on a page: a shard, and on the first one the configuration."""
    shard = {"type": "file", "path": f"model-{page}.safetensors", "size": page, "lfs": {"oid": f"{page:064x}"}}
    first = [{"type": "file", "path": "config.json", "size": 7, "oid": "c1" * 20}]
    return [shard, *first] if page == 1 else [shard]


class Mirror(ThreadingHTTPServer):
    """A pass-through mirror. ``next_host``: whom its links name; a mirror may pass on the Hub's own."""

    def __init__(self, next_host: str = "https://huggingface.co") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.next_host = next_host
        self.pages = PAGES
        self.failing = 0
        self.seen: list[tuple[str, str | None]] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}{PREFIX}"


class Handler(BaseHTTPRequestHandler):
    """Answers of the Hub, below the prefix."""

    server: Mirror

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        """One question."""
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        status, body, link = 404, "{}", None
        api = f"{PREFIX}/api/models/{REPO}"
        page = int(self.path.rpartition("cursor=")[2]) if "cursor=" in self.path else 1
        if self.path == f"{api}/revision/main":
            status, body = 200, json.dumps({"sha": REVISION})
        elif self.path.startswith(f"{api}/tree/{REVISION}?recursive=true&expand=false") and page != self.server.failing:
            status, body = 200, json.dumps(rows(page))
            if page < self.server.pages:
                tail = f"/api/models/{REPO}/tree/{REVISION}?recursive=true&expand=false&cursor={page + 1}"
                link = f'<{self.server.next_host}{tail}>; rel="next"'
        self.send_response(status)
        if link:
            self.send_header("Link", link)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


def serve(server: Mirror) -> Iterator[Mirror]:
    """Run it in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A mirror in a thread."""
    yield from serve(Mirror())


def ask(server: Mirror, path: str = "/usr/bin:/bin", *, ca: str | None = None) -> dict[str, Answer]:
    """Run the real script on this machine."""
    spec = make_spec(hermes_mirrors={"hub": server.url})
    service = final_service().model_copy(update={"revision": None})
    script = weights_question(spec, service, ca=ca, token=POISON)
    environment = {"PATH": path, "no_proxy": "127.0.0.1"}
    done = subprocess.run(["/bin/sh", "-s"], input=script, env=environment, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return parse_answers(done.stdout.splitlines())


def read(server: Mirror, answers: dict[str, Answer]) -> tuple[str, tuple[HubFile, ...]]:
    """What the answers say."""
    spec = make_spec(hermes_mirrors={"hub": server.url})
    return read_weights(NAME, spec, final_service().model_copy(update={"revision": None}), answers)


@pytest.mark.parametrize("tool", [tool for tool in ("curl", "wget") if shutil.which(tool)])
def test_pages_are_followed(mirror: Mirror, tmp_path: Path, tool: str) -> None:
    """A listing in pages is read to its end, from the mirror alone, whatever host its links name."""
    for program in Path("/usr/bin").iterdir():
        if program.name not in {"curl", "wget"} - {tool}:
            (tmp_path / program.name).symlink_to(program)
    revision, files = read(mirror, ask(mirror, str(tmp_path)))

    assert REVISION == revision
    assert ["model-1.safetensors", "config.json", "model-2.safetensors", "model-3.safetensors"] == [
        file.path for file in files
    ]
    assert {None} == {file.xet for file in files}
    assert {f"Bearer {POISON}"} == {token for _, token in mirror.seen}
    assert 1 + PAGES == len(mirror.seen)


def test_a_page_that_fails(mirror: Mirror) -> None:
    """A listing without its last page is no listing."""
    mirror.failing = 3
    with pytest.raises(SourceError) as caught:
        read(mirror, ask(mirror))

    assert f"gpu-1: hermes: the Hub {mirror.url} has no {REPO} at revision main (404)." in str(caught.value)


def test_pages_without_end(mirror: Mirror) -> None:
    """A server that goes on naming a next page is left after fifty of them."""
    mirror.pages = 1000
    with pytest.raises(SourceError) as caught:
        read(mirror, ask(mirror))

    assert "(more than 50 pages)" in str(caught.value)
    assert 51 == len(mirror.seen)


def certificates(folder: Path) -> tuple[str, Path]:
    """A CA as text, and a file with a certificate of it for 127.0.0.1 and its key."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Site CA", "mirror")]
    made = [
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(names[0])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=key is keys[0], path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(keys[0], hashes.SHA256())
        for name, key in zip(names, keys, strict=True)
    ]
    texts = [certificate.public_bytes(serialization.Encoding.PEM) for certificate in made]
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "mirror.pem").write_bytes(texts[1] + key)
    return texts[0].decode(), folder / "mirror.pem"


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Mirror, str]]:
    """A mirror with a certificate of the site's own CA, and the CA."""
    ca, chain = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = Mirror()
    server.scheme = "https"
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for running in serve(server):
        yield running, ca


def test_own_certificates(secure: tuple[Mirror, str]) -> None:
    """A mirror with TLS is believed by the site's CA, and not without."""
    server, ca = secure
    revision, files = read(server, ask(server, ca=ca))
    with pytest.raises(SourceError) as caught:
        read(server, ask(server))

    assert (REVISION, 1 + PAGES) == (revision, len(files))
    assert f"the Hub {server.url} cannot be reached from the host (curl: (60) SSL certificate problem" in str(
        caught.value
    )


def test_the_same_question_is_the_same_text() -> None:
    """Two hosts, and two services, that want the same weights ask with the same words: one of them asks for all."""
    wanted = [{"name": name, "model": "hermes-3-8b", "gpus": 1, "port": 8000 + i} for i, name in enumerate(("a", "b"))]
    spec = make_spec(*wanted)
    services = [
        service for name in (NAME, "gpu-2") for service in make_plan(name, spec, make_probe((H100, H100))).services
    ]

    assert 1 == len({weights_question(spec, service, ca=None, token="t") for service in services})
    assert 4 == len(services)
