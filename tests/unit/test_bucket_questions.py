"""Weights in a bucket: the real script against a small store that checks signatures, and its answers judged."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from hermeion.answers import Answer, parse_answers
from hermeion.errors import ModelError, SourceError
from hermeion.inventory import HostSpec
from hermeion.model_files import model_question, read_model
from hermeion.plans import Service
from hermeion.s3 import S3Access, sign
from hermeion.sources import HubFile, read_weights, weights_question
from hermeion.variants import CatalogEntry
from tests.unit.builders import NAME, POISON, final_service, make_spec
from tests.unit.test_model_files import CONFIG, gguf, safetensors

ACCESS = S3Access(key="AKIAEXAMPLE", secret=POISON, date="20260922T101500Z")
COMMAND = "find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS"
TOOLS = [tool for tool in ("curl", "wget") if shutil.which(tool)]
WHOLE = "gpu-1: hermes: the bucket s3://models/my/llama"


def sums(files: dict[str, bytes]) -> bytes:
    """What the command above writes."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  ./{name}\n" for name, data in files.items()).encode()


class Store(ThreadingHTTPServer):
    """A store with one bucket, ``models``. ``files`` by key; ``access``: whose signature it takes, or anybody's."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.access: S3Access | None = ACCESS
        self.page = 1000
        self.seen: list[str] = []
        self.files: dict[str, bytes] = {}
        self.put(
            {
                "config.json": json.dumps(CONFIG).encode(),
                "model.safetensors": safetensors(),
                "tokenizer (7).json": b"{}",
                "README.md": b"read me",
                "original/consolidated.safetensors": b"x",
            }
        )

    def put(self, files: dict[str, bytes]) -> None:
        """Files of the model, with their checksums."""
        self.files = {f"my/llama/{name}": data for name, data in {**files, "SHA256SUMS": sums(files)}.items()}

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """GetObject and ListObjectsV2."""

    server: Store

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keep the tests' output clean."""

    def answer(self, status: int, body: bytes) -> None:
        """Send it."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        """An error in the store's words."""
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

    def do_GET(self) -> None:
        """One question."""
        self.server.seen.append(self.path)
        url = urlsplit(self.path)
        if self.server.access:
            wanted = sign(f"{self.server.url}{self.path}", "us-east-1", self.server.access)
            for row in wanted:
                name, _, value = row.partition(": ")
                if self.headers.get(name) != value:
                    return self.refuse(403, "SignatureDoesNotMatch" if self.headers.get(name) else "AccessDenied")
        elif self.headers.get("Authorization"):
            return self.refuse(400, "AuthorizationHeaderMalformed")
        bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
        if bucket != "models":
            return self.refuse(404, "NoSuchBucket")
        if not key:
            return self.listing(parse_qs(url.query)["prefix"][0])
        if key not in self.server.files:
            return self.refuse(404, "NoSuchKey")
        return self.answer(200, self.server.files[key])

    def listing(self, prefix: str) -> None:
        """The files of one folder."""
        keys = [key for key in self.server.files if key.startswith(prefix) and "/" not in key.removeprefix(prefix)]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.files[key])}</Size></Contents>"
            for key in keys[: self.server.page]
        )
        more = str(len(keys) > self.server.page).lower()
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        text = f"<ListBucketResult {space}><IsTruncated>{more}</IsTruncated>{rows}</ListBucketResult>"
        self.answer(200, text.encode())


@pytest.fixture
def store() -> Iterator[Store]:
    """A store in a thread."""
    server = Store()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def spec_of(url: str, source: str = "s3://models/my/llama", **keys: object) -> HostSpec:
    """An inventory whose model comes from the bucket."""
    entry = {"name": "mine", "repo": "me/mine", "source": source, **keys}
    return make_spec(hermes_mirrors={"s3": {"endpoint": url}}, hermes_catalog=[entry])


def service_of(spec: HostSpec, revision: str | None = None) -> Service:
    """A service of that model."""
    file = spec.hermes_catalog[0].file
    changes = {"model": "mine", "repo": "me/mine", "revision": revision, "files": (file,) if file else ()}
    return final_service().model_copy(update=changes)


def run(script: str, path: str = "/usr/bin:/bin") -> dict[str, Answer]:
    """Run a real script on this machine."""
    environment = {"PATH": path, "no_proxy": "127.0.0.1"}
    done = subprocess.run(["/bin/sh", "-s"], input=script, env=environment, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return parse_answers(done.stdout.splitlines())


def weights(
    spec: HostSpec, access: S3Access | None = ACCESS, path: str = "/usr/bin:/bin", revision: str | None = None
) -> tuple[str, tuple[HubFile, ...]]:
    """Ask about the weights, and judge."""
    service = service_of(spec, revision)
    return read_weights(
        NAME, spec, service, run(weights_question(spec, service, ca=None, token=POISON, access=access), path)
    )


def refusal(spec: HostSpec, access: S3Access | None = ACCESS, revision: str | None = None) -> str:
    """The message about weights that cannot be had."""
    with pytest.raises(SourceError) as caught:
        weights(spec, access, revision=revision)
    return str(caught.value)


def only(folder: Path, tool: str) -> str:
    """A PATH with every program, of curl and wget only one."""
    for program in Path("/usr/bin").iterdir():
        if program.name not in {"curl", "wget"} - {tool}:
            (folder / program.name).symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("tool", TOOLS)
def test_weights_in_a_bucket(store: Store, tmp_path: Path, tool: str) -> None:
    """Names, sizes and checksums of what the engine reads, asked with either tool; the commit follows from them."""
    revision, files = weights(spec_of(store.url), path=only(tmp_path, tool))
    wanted = {
        name: store.files[f"my/llama/{name}"] for name in ("config.json", "model.safetensors", "tokenizer (7).json")
    }
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in wanted.items())

    assert [
        HubFile(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in wanted.items()
    ] == list(files)
    assert hashlib.sha256(lines.encode()).hexdigest()[:40] == revision


def test_the_commit_is_that_of_the_wanted_files(store: Store) -> None:
    """Another README is the same model; another tokenizer is not."""
    before, _ = weights(spec_of(store.url))
    files = {key.removeprefix("my/llama/"): data for key, data in store.files.items() if "SUMS" not in key}
    store.put({**files, "README.md": b"read me again"})
    same, _ = weights(spec_of(store.url))
    store.put({**files, "tokenizer (7).json": b"{ }"})
    other, _ = weights(spec_of(store.url))

    assert before == same
    assert before != other


def test_a_bucket_for_everybody(store: Store) -> None:
    """Without credentials nothing is signed, and a public bucket answers."""
    store.access = None

    assert 3 == len(weights(spec_of(store.url), None)[1])


def test_a_key_stays_here(store: Store) -> None:
    """Neither the store's key nor the Hub's token is in what a host is given to run."""
    spec = spec_of(store.url)

    assert POISON not in weights_question(spec, service_of(spec), ca=None, token=POISON, access=ACCESS)


@pytest.mark.parametrize(
    ("source", "access", "message"),
    [
        (
            "s3://models/my/llama",
            ACCESS.model_copy(update={"secret": "wrong"}),
            "%s: the store %s refuses (403 SignatureDoesNotMatch). Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "in the environment of this machine (export them for a bucket that is not public), and that the key may "
            "read and list the bucket.",
        ),
        (
            "s3://models/my/llama",
            None,
            "%s: the store %s refuses (403 AccessDenied). Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            "environment of this machine (export them for a bucket that is not public), and that the key may read and "
            "list the bucket.",
        ),
        (
            "s3://nowhere/my/llama",
            ACCESS,
            "%s: the store %s has no such bucket (404 NoSuchBucket). Correct source in hermes_catalog.",
        ),
    ],
)
def test_a_store_that_refuses(store: Store, source: str, access: S3Access | None, message: str) -> None:
    """What the store refuses is told with its own word and the next step."""
    assert message % (f"gpu-1: hermes: the bucket {source}", store.url) == refusal(spec_of(store.url, source), access)


def test_no_checksums(store: Store) -> None:
    """Without checksums nothing is pulled; the message has the command that makes them."""
    del store.files["my/llama/SHA256SUMS"]

    assert (
        f"{WHOLE} has no SHA256SUMS (404 NoSuchKey), so nobody could tell a damaged file. Check source in "
        f"hermes_catalog; or make it where the files are and upload it beside them: {COMMAND}"
    ) == refusal(spec_of(store.url))


def test_a_file_that_is_not_there(store: Store) -> None:
    """What the checksums name must be there."""
    del store.files["my/llama/model.safetensors"]

    assert (
        f"{WHOLE}: SHA256SUMS names model.safetensors, which is not there. Copy what is missing, then run again."
    ) == refusal(spec_of(store.url))


def test_files_without_checksums(store: Store) -> None:
    """What an engine would read must have a checksum; what it would not, need not."""
    store.files |= {f"my/llama/m{part}.safetensors": b"" for part in range(5)} | {"my/llama/notes.md": b""}

    assert (
        f"{WHOLE}: m0.safetensors, m1.safetensors, m2.safetensors and 2 more, which are there, but not in SHA256SUMS, "
        f"so nobody could tell a damaged file. Make it anew where the files are: {COMMAND}"
    ) == refusal(spec_of(store.url))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>", "line 1 of SHA256SUMS is none that sha256sum writes: '<html>'"),
        (f"\n{'a' * 63}  x", f"line 2 of SHA256SUMS is none that sha256sum writes: '{'a' * 63}  x'"),
        (f"{'a' * 64}  ../../x.json", "line 1 of SHA256SUMS names '../../x.json', which is not below the folder"),
        (f"{'a' * 64}  /etc/x.json", "line 1 of SHA256SUMS names '/etc/x.json', which is not below the folder"),
    ],
)
def test_checksums_that_are_none(store: Store, text: str, message: str) -> None:
    """A file of another form, and names that lead elsewhere, are refused."""
    store.files["my/llama/SHA256SUMS"] = text.encode()

    assert f"{WHOLE}: {message}. Make it anew where the files are: {COMMAND}" == refusal(spec_of(store.url))


def test_more_than_a_page(store: Store) -> None:
    """A folder with more files than a page lists is not half read."""
    store.page = 3

    assert f"{WHOLE} holds more than 1000 files in one folder. Give the model a prefix of its own." == refusal(
        spec_of(store.url)
    )


def test_moved(store: Store) -> None:
    """Other files than an earlier run resolved, or the inventory names, are not taken for them."""
    revision, _ = weights(spec_of(store.url))

    assert revision == weights(spec_of(store.url), revision=revision)[0]
    assert (
        f"gpu-1: hermes: s3://models/my/llama holds other files than are wanted: {'0' * 40} is, its SHA256SUMS gives "
        f"{revision}. Put the old ones back, or take these: correct revision in hermes_catalog if it is given there, "
        "or run once with hermes_refresh."
    ) == refusal(spec_of(store.url), revision="0" * 40)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            403,
            "<Error><Code>RequestTimeTooSkewed</Code></Error>",
            "answers 403 RequestTimeTooSkewed: the clock of this machine, which signs, and the store's are more than "
            "15 minutes apart. Correct the clock.",
        ),
        (
            400,
            "<Error><Code>AuthorizationHeaderMalformed</Code></Error>",
            "answers 400 AuthorizationHeaderMalformed: the bucket is in another region. Give hermes_mirrors/s3 with "
            "its endpoint and region.",
        ),
        (503, "", "answers 503. Nothing was changed; try again later."),
        (
            0,
            "",
            "cannot be reached from the host (curl: (6) no host). Check the network and hermes_mirrors/s3, "
            "hermes_mirrors/ca.",
        ),
    ],
)
def test_other_answers(status: int, body: str, message: str) -> None:
    """A clock that is wrong, another region, a store that is down: each with its own next step."""
    answer = Answer(status=status, sha256="0", error="curl: (6) no host" if not status else "", body=body)
    spec = spec_of("http://store")
    with pytest.raises(SourceError) as caught:
        read_weights(NAME, spec, service_of(spec), {"sums": answer, "listing": answer})

    assert f"{WHOLE}: the store http://store {message}" == str(caught.value)


def test_a_login_page_for_a_listing() -> None:
    """Something that is not the store's listing is not taken for an empty one."""
    good = Answer(status=200, sha256="0", error="", body="")
    spec = spec_of("http://store")
    with pytest.raises(SourceError) as caught:
        read_weights(
            NAME, spec, service_of(spec), {"sums": good, "listing": good.model_copy(update={"body": "<html></html>"})}
        )

    assert (
        f"{WHOLE}: what was answered is not an S3 listing (no listing: <html>). Check hermes_mirrors/s3/endpoint; look "
        "for a proxy or a login page in between."
    ) == str(caught.value)


def test_cut_short() -> None:
    """An answer that ends early is told."""
    spec = spec_of("http://store")
    with pytest.raises(SourceError) as caught:
        read_weights(NAME, spec, service_of(spec), {})

    assert f"{WHOLE}: asking was cut short (no listing, sums). Nothing was changed; run again." == str(caught.value)


def model(spec: HostSpec, path: str = "/usr/bin:/bin") -> tuple[CatalogEntry, dict[str, Answer]]:
    """Ask about an own model."""
    entry = spec.hermes_catalog[0]
    return entry, run(model_question(spec, entry, ca=None, token=None, access=ACCESS), path)


@pytest.mark.parametrize("tool", TOOLS)
def test_an_own_model_in_a_bucket(store: Store, tmp_path: Path, tool: str) -> None:
    """What a model is like is read from the bucket, and its commit is that of its weights."""
    spec = spec_of(store.url)
    found = read_model(NAME, spec, *model(spec, only(tmp_path, tool)))

    assert ("bf16", len(safetensors()), 2) == (found.precision, found.bytes, found.shape.layers)
    assert weights(spec)[0] == found.revision


def test_an_own_gguf_in_a_bucket(store: Store) -> None:
    """Of a GGUF file the header is asked for, in its folder; all its parts are the weights."""
    parts = {f"Q4/mine-Q4_K_M-0000{n}-of-00002.gguf": data for n, data in ((1, gguf()), (2, bytes(1000)))}
    store.put({**parts, "other-Q8_0.gguf": bytes(10)})
    spec = spec_of(store.url, file="Q4/mine-Q4_K_M-00001-of-00002.gguf")
    found = read_model(NAME, spec, *model(spec))
    variant = spec.hermes_catalog[0].to_variant(found)
    assert variant
    service = service_of(spec).model_copy(update={"files": variant.files})
    revision, files = read_weights(
        NAME, spec, service, run(weights_question(spec, service, ca=None, token=None, access=ACCESS))
    )

    assert ("q4_k_m", len(gguf()) + 1000) == (found.precision, found.bytes)
    assert list(parts) == [file.path for file in files]
    assert found.revision == revision


def test_an_own_gguf_that_is_not_there(store: Store) -> None:
    """A file that is not there is told with those that are."""
    store.put({"a-Q4_K_M.gguf": gguf(), "b-Q8_0.gguf": gguf()})
    spec = spec_of(store.url, file="c.gguf")
    with pytest.raises(ModelError) as caught:
        read_model(NAME, spec, *model(spec))

    assert (
        "gpu-1: hermes_catalog/mine/file: s3://models/my/llama has no c.gguf. GGUF files there: a-Q4_K_M.gguf, "
        "b-Q8_0.gguf." == str(caught.value)
    )


def test_an_own_model_that_is_refused(store: Store) -> None:
    """A store that refuses is quoted with the key of the inventory."""
    spec = spec_of(store.url, "s3://nowhere/x")
    with pytest.raises(SourceError) as caught:
        read_model(NAME, spec, *model(spec))

    assert (
        f"gpu-1: hermes_catalog/mine/source: the bucket s3://nowhere/x: the store {store.url} has no such bucket (404 "
        "NoSuchBucket). Correct source in hermes_catalog."
    ) == str(caught.value)
