"""Asking the Hub and the registry: the real script against a small server, and its answers judged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hermeion.answers import Answer, parse_answers
from hermeion.errors import SourceError
from hermeion.inventory import HostSpec
from hermeion.planner import make_plan
from hermeion.plans import Service
from hermeion.sources import HubFile, Sources, settle
from tests.unit.asking import question_script, read_answers
from tests.unit.builders import (
    DIGEST,
    H100,
    NAME,
    OTHER_DIGEST,
    POISON,
    REVISION,
    final_service,
    image_of,
    make_probe,
    make_sources,
    make_spec,
)

REPO = "NousResearch/Hermes-3-Llama-3.1-8B"
CONFIG = (
    '{"architecture":"amd64","config":{"Env":["PATH=/bin","CUDA_VERSION=13.0.3",'
    '"NVIDIA_REQUIRE_CUDA=cuda\\u003e=13.0 brand=tesla,driver\\u003e=575,driver\\u003c576"]}}'
)  # as Docker writes it: angle brackets escaped
CONFIG_DIGEST = hashlib.sha256(CONFIG.encode()).hexdigest()
LAYERS = json.dumps(
    {
        "schemaVersion": 2,
        "config": {"mediaType": "application/json", "size": len(CONFIG), "digest": f"sha256:{CONFIG_DIGEST}"},
        "layers": [{"size": 100}, {"size": 23}],
    },
    indent=2,
)
PLATFORM = "sha256:" + hashlib.sha256(LAYERS.encode()).hexdigest()
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "manifests": [
            {"digest": "sha256:" + "00" * 32, "size": 1, "platform": {"architecture": "unknown", "os": "unknown"}},
            {"digest": PLATFORM, "size": 2, "platform": {"architecture": "amd64", "os": "linux"}},
            {"digest": PLATFORM, "size": 2, "platform": {"architecture": "arm64", "os": "linux"}},
        ],
    },
    indent=3,
)
INDEX_DIGEST = "sha256:" + hashlib.sha256(INDEX.encode()).hexdigest()
TREE = [
    {"type": "file", "path": "config.json", "size": 700, "oid": "c1" * 20},
    {
        "type": "file",
        "path": "model-1.safetensors",
        "size": 5000,
        "oid": "d0" * 20,
        "lfs": {"oid": "aa" * 32, "size": 5000, "pointerSize": 135},
        "xetHash": "ee" * 32,
    },
    {"type": "file", "path": "chat_template.jinja", "size": 30, "oid": "c2" * 20},
    {"type": "file", "path": "tokenizer.model", "size": 40, "oid": "c3" * 20},
    {"type": "file", "path": "README.md", "size": 9},
    {"type": "file", "path": "pytorch_model.bin", "size": 9999},
    {"type": "file", "path": "original/consolidated.safetensors", "size": 9999},
    {"type": "directory", "path": "original", "size": 0},
]


class Site(ThreadingHTTPServer):
    """The Hub and a registry on loopback. ``status`` overrides an answer's status by the path's beginning."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status: dict[str, int] = {}
        self.seen: list[tuple[str, str | None]] = []
        self.bearer: str | None = None
        self.index = True
        self.config = CONFIG

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers of the Hub and of a registry."""

    server: Site

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keep the tests' output clean."""

    def answer(self, status: int, body: str, **headers: str) -> None:
        """Send it."""
        data = body.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """One question."""
        authorization = self.headers.get("Authorization")
        path = self.path
        self.server.seen.append((path, authorization))
        status = next((s for start, s in self.server.status.items() if path.startswith(start)), 200)
        if path.startswith("/token"):
            self.answer(200, json.dumps({"expires_in": 300, "access_token": "anonymous"}))
        elif path.startswith("/v2/") and self.server.bearer and authorization != f"Bearer {self.server.bearer}":
            challenge = f'Bearer realm="{self.server.url}/token",service="registry",scope="repository:x:pull"'
            self.answer(401, "{}", WWW_Authenticate=challenge)
        elif status != 200:
            self.answer(status, '{"error": "no"}')
        elif "/revision/" in path:
            self.answer(200, json.dumps({"id": REPO, "sha": REVISION, "siblings": []}))
        elif "/tree/" in path:
            self.answer(200, json.dumps(TREE))
        elif "/blobs/" in path:
            self.answer(200, self.server.config)
        else:
            self.answer(200, INDEX if self.server.index and PLATFORM not in path else LAYERS)


@pytest.fixture
def site() -> Iterator[Site]:
    """A server in a thread."""
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def unresolved() -> Service:
    """A service whose commit and digest are to be asked for."""
    service = final_service()
    return service.model_copy(
        update={
            "revision": None,
            "image": image_of(service).model_copy(update={"registry": "mirror:5000", "digest": None}),
        }
    )


TOOLS = [tool for tool in ("curl", "wget") if shutil.which(tool)]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with everything the script calls but curl and wget."""
    folder = tmp_path / "bin"
    folder.mkdir()
    names = [
        "mktemp",
        "rm",
        "cp",
        "cat",
        "printf",
        "tr",
        "sed",
        "head",
        "tail",
        "awk",
        "grep",
        "cut",
        "sha256sum",
        "uname",
        "echo",
        "sort",
        "sh",
    ]
    for name in names:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def ask(
    url: str, tools: Path, *with_tools: str, service: Service | None = None, token: str | None = None
) -> dict[str, Answer]:
    """Run the real script by the shell with one of the tools; the registry is spoken to without TLS here."""
    for tool in with_tools:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    spec = make_spec(hermes_mirrors={"hub": url})
    script = question_script(spec, service or unresolved(), ca=None, token=token).replace("https://mirror:5000", url)
    environment = {"PATH": str(tools), "TMPDIR": str(tools.parent), "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [str(tools / "sh"), "-s"], input=script, env=environment, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    return parse_answers(done.stdout.splitlines())


@pytest.mark.parametrize("tool", TOOLS)
def test_questions(site: Site, tools: Path, tool: str) -> None:
    """One script resolves branch to commit and tag to digest, and lists the wanted files with exact sizes."""
    answers = ask(site.url, tools, tool)
    sources = read_answers(NAME, make_spec(), unresolved(), answers)

    assert (REVISION, INDEX_DIGEST, 123, 5770) == (
        sources.revision,
        sources.digest,
        sources.image_bytes,
        sources.bytes,
    )
    assert {
        "config.json": (None, "c1" * 20, None),
        "model-1.safetensors": ("aa" * 32, None, "ee" * 32),
        "chat_template.jinja": (None, "c2" * 20, None),
        "tokenizer.model": (None, "c3" * 20, None),
    } == {file.path: (file.sha256, file.oid, file.xet) for file in sources.files}
    assert [
        f"/api/models/{REPO}/revision/main",
        f"/api/models/{REPO}/tree/{REVISION}?recursive=true&expand=false",
        "/v2/vllm/vllm-openai/manifests/v0.33.0",
        f"/v2/vllm/vllm-openai/manifests/{PLATFORM}",
        f"/v2/vllm/vllm-openai/blobs/sha256:{CONFIG_DIGEST}",
    ] == [path for path, _ in site.seen]
    assert ("13.0.3", "cuda>=13.0 brand=tesla,driver>=575,driver<576") == (sources.cuda, sources.requires)


def test_config_that_is_not_the_one_named(site: Site, tools: Path) -> None:
    """Another configuration than the manifest names is not believed: then nobody knows the image's CUDA."""
    site.config = CONFIG + " "
    answers = ask(site.url, tools, TOOLS[0])
    sources = read_answers(NAME, make_spec(), unresolved(), answers)

    assert (0, "") == (answers["config"].status, answers["config"].body)
    assert (None, None) == (sources.cuda, sources.requires)


@pytest.mark.parametrize("tool", TOOLS)
def test_plain_manifest(site: Site, tools: Path, tool: str) -> None:
    """An image for one platform alone has no index; its own layers are counted."""
    site.index = False
    sources = read_answers(NAME, make_spec(), unresolved(), ask(site.url, tools, tool))

    assert (PLATFORM, 123) == (sources.digest, sources.image_bytes)


@pytest.mark.parametrize("tool", TOOLS)
def test_anonymous_token(site: Site, tools: Path, tool: str) -> None:
    """A registry that wants an anonymous token gets one, and the Hub's token goes to the Hub alone."""
    site.bearer = "anonymous"
    sources = read_answers(NAME, make_spec(), unresolved(), ask(site.url, tools, tool, token=POISON))

    assert INDEX_DIGEST == sources.digest
    assert {f"Bearer {POISON}"} == {header for path, header in site.seen if path.startswith("/api/")}
    assert {None, "Bearer anonymous"} == {header for path, header in site.seen if not path.startswith("/api/")}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_statuses(site: Site, tools: Path, tool: str, status: int) -> None:
    """A status that is not 200 arrives as it is, for the Hub and for the registry."""
    site.status = {"/api/": status, "/v2/": status}
    answers = ask(site.url, tools, tool)

    assert {"revision": status, "tree": status, "manifest": status} == {
        name: answer.status for name, answer in answers.items()
    }


@pytest.mark.parametrize("tool", TOOLS)
def test_no_server(site: Site, tools: Path, tool: str) -> None:
    """Where nobody listens, the status is 0 and the tool's own words are there."""
    url = site.url.rpartition(":")[0] + ":9"
    answers = ask(url, tools, tool)

    assert {"revision": 0, "tree": 0, "manifest": 0} == {name: answer.status for name, answer in answers.items()}
    assert all(answer.error for answer in answers.values()), answers


def test_no_tool(site: Site, tools: Path) -> None:
    """Without curl and wget nothing is asked, and the answer says so."""
    answers = ask(site.url, tools)

    assert ["tool"] == list(answers)
    assert [] == site.seen


@pytest.mark.parametrize("tool", TOOLS)
def test_token_is_on_no_command_line(site: Site, tools: Path, tool: str) -> None:
    """No program is started with the token among its arguments, nor with it in its environment."""
    real = str(shutil.which(tool))
    spy = tools / tool
    log = tools.parent / "spy.log"
    spy.write_text(f'#!/bin/sh\n{{ echo "$@"; {shutil.which("env")}; }} >> {log}\nexec {real} "$@"\n')
    spy.chmod(0o755)
    ask(site.url, tools, token=POISON)

    assert f"Bearer {POISON}" in {header for _, header in site.seen}
    assert site.url in log.read_text()
    assert POISON not in log.read_text()


def test_nothing_is_left(site: Site, tools: Path) -> None:
    """The script's private folder, which held the token, is gone."""
    ask(site.url, tools, TOOLS[0], token=POISON)

    assert ["bin"] == [child.name for child in tools.parent.iterdir()]


@pytest.mark.parametrize(
    ("mirrors", "line"),
    [
        ({}, "REGISTRY=https://registry-1.docker.io/v2/vllm/vllm-openai/manifests"),
        ({"registry": "mirror:5000"}, "REGISTRY=https://mirror:5000/v2/vllm/vllm-openai/manifests"),
        ({}, "HUB=https://huggingface.co"),
        ({"hub": "http://mirror:8080/"}, "HUB=http://mirror:8080"),
        ({}, f"REVISION={REVISION}"),
        ({}, f"REFERENCE={DIGEST}"),
        ({}, "CA=''"),
        ({}, "TOKEN=''"),
    ],
)
def test_values(mirrors: dict[str, str], line: str) -> None:
    """The script's values stand above its text, each quoted for the shell."""
    service = final_service(hermes_mirrors=mirrors)
    script = question_script(make_spec(hermes_mirrors=mirrors), service, ca=None, token=None)

    assert line in script.splitlines()


def an_answer(status: int = 200, body: object = None, *, error: str = "", sha256: str = DIGEST[7:]) -> Answer:
    """One HTTP answer."""
    return Answer(status=status, sha256=sha256, error=error, body=json.dumps(body or {}))


def good(**changes: Answer) -> dict[str, Answer]:
    """Answers where all is well, but for the changes."""
    return {
        "revision": an_answer(body={"sha": REVISION}),
        "tree": an_answer(body=TREE),
        "manifest": an_answer(body={"layers": [{"size": 5}]}),
    } | changes


def judged(answers: dict[str, Answer], service: Service | None = None, **mirrors: str) -> str:
    """The message about these answers."""
    spec: HostSpec = make_spec(hermes_mirrors=mirrors)
    with pytest.raises(SourceError) as caught:
        read_answers(NAME, spec, service or unresolved(), answers)
    return str(caught.value)


THE_HUB = "gpu-1: hermes: the Hub https://huggingface.co "
THE_REGISTRY = "gpu-1: hermes: the registry mirror:5000 "
REFUSES = (
    f"refuses {REPO} (%d): it is gated, private, or does not exist. Check the name, accept its terms on the Hub, and "
    "pass a token: export HF_TOKEN=hf_…, then run again."
)


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("revision", an_answer(401), THE_HUB + REFUSES % 401),
        ("tree", an_answer(403), THE_HUB + REFUSES % 403),
        (
            "revision",
            an_answer(404),
            THE_HUB + f"has no {REPO} at revision main (404). Check repo and revision of the model in hermes_catalog.",
        ),
        ("revision", an_answer(503), THE_HUB + "answers 503. Nothing was changed; try again later."),
        (
            "revision",
            an_answer(0, error="curl: (7) Failed to connect"),
            THE_HUB + "cannot be reached from the host (curl: (7) Failed to connect). Check the network and "
            "hermes_mirrors/hub, hermes_mirrors/ca.",
        ),
        (
            "manifest",
            an_answer(404),
            THE_REGISTRY + "has no vllm/vllm-openai:v0.33.0 (404). Check the image's name and digest; push it to the "
            "mirror first if the site has one.",
        ),
        (
            "manifest",
            an_answer(400),
            THE_REGISTRY + "has no vllm/vllm-openai:v0.33.0 (400). Check the image's name and digest; push it to the "
            "mirror first if the site has one.",
        ),
        (
            "manifest",
            an_answer(401),
            THE_REGISTRY + "answers 401 for vllm/vllm-openai:v0.33.0. Nothing was changed.",
        ),
        (
            "manifest",
            an_answer(0, error="curl: (60) SSL certificate problem"),
            THE_REGISTRY + "cannot be reached from the host (curl: (60) SSL certificate problem). Check the network "
            "and hermes_mirrors/registry, hermes_mirrors/ca.",
        ),
        (
            "platform",
            an_answer(503),
            THE_REGISTRY + "answers 503 for this machine's manifest of vllm/vllm-openai:v0.33.0. Nothing was changed; "
            "run again.",
        ),
        (
            "manifest",
            an_answer(body={"manifests": []}),
            "gpu-1: hermes: vllm/vllm-openai:v0.33.0 has no image for this host's architecture. Choose a tag that has "
            "one.",
        ),
        (
            "tree",
            an_answer(body=[{"type": "file", "path": "model.gguf", "size": 1}]),
            f"gpu-1: hermes: {REPO} has no .safetensors file in its top folder; vLLM reads no other form. Choose a "
            "repository with safetensors.",
        ),
        (
            "tree",
            an_answer(body=[{"type": "file", "path": "model.safetensors", "size": 1}]),
            f"gpu-1: hermes: the list of files of {REPO} has no hash of model.safetensors, so a damaged file could not "
            "be told from a whole one. Look at the mirror: the Hub gives an `oid` for each.",
        ),
        (
            "tree-2",
            an_answer(0, error="more than 50 pages"),
            THE_HUB + "cannot be reached from the host (more than 50 pages). Check the network and hermes_mirrors/hub, "
            "hermes_mirrors/ca.",
        ),
    ],
)
def test_refusals(name: str, answer: Answer, message: str) -> None:
    """What the Hub or the registry refuses or lacks is told with who, what and the next step."""
    assert message == judged(good(**{name: answer}))


@pytest.mark.parametrize(("missing", "whom"), [("revision", "Hub"), ("tree", "Hub"), ("manifest", "registry")])
def test_answers_cut_short(missing: str, whom: str) -> None:
    """A connection that broke between the questions is told, not stumbled over."""
    answers = good()
    del answers[missing]

    assert (
        f"gpu-1: hermes: asking the {whom} was cut short (no {missing}). Nothing was changed; run again."
    ) == judged(answers)


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("revision", "<html>Please log in</html>", "JSONDecodeError('Expecting value: line 1 column 1 (char 0)')"),
        ("revision", "{}", "KeyError('sha')"),
        ("tree", "[1]", "TypeError(\"'int' object is not subscriptable\")"),
        ("manifest", "[]", "AttributeError(\"'list' object has no attribute 'get'\")"),
    ],
)
def test_login_page_in_between(name: str, body: str, error: str) -> None:
    """A 200 from someone else is not taken for an answer."""
    answers = good(**{name: Answer(status=200, sha256=DIGEST[7:], error="", body=body)})

    whom = THE_REGISTRY if name == "manifest" else THE_HUB
    assert (
        f"{whom}answered something that is not its own ({error}). Look for a proxy or a login page in between."
    ) == judged(answers)


def test_no_tool_message() -> None:
    """Without curl and wget the host is refused, with the next step."""
    assert (
        "gpu-1: neither curl nor wget is here to ask the Hub and the registry before anything is changed. "
        "Install one (apt-get install -y curl ca-certificates), then run again."
    ) == judged({"tool": an_answer(0, error="missing")})


def test_registry_that_lies() -> None:
    """A manifest that is not what its digest says is not used."""
    assert (
        f"gpu-1: hermes: the registry docker.io answered {OTHER_DIGEST} when asked for vllm/vllm-openai@{DIGEST}. "
        "Do not use it."
    ) == judged(good(manifest=an_answer(sha256=OTHER_DIGEST[7:])), final_service())


def test_settle() -> None:
    """Commit and digest reach the plan, and the engine's configuration."""
    service = settle(unresolved(), make_sources(unresolved()))

    assert (REVISION, DIGEST, REVISION, True) == (
        service.revision,
        image_of(service).digest,
        service.config["revision"],
        service.is_final,
    )


NATIVE = {"name": "hermes", "model": "hermes-3-8b", "runtime": "systemd"}
GGUF = {"name": "hermes", "model": "hermes-3-8b", "variant": "q8_0"}


def test_a_native_service_asks_no_registry() -> None:
    """What runs without a container has no image to ask for."""
    service = final_service(NATIVE)
    script = question_script(make_spec(NATIVE), service, ca=None, token=None)
    found = read_answers(NAME, make_spec(NATIVE), service, {k: v for k, v in good().items() if k != "manifest"})

    assert "REGISTRY=" not in script
    assert (None, 0) == (found.digest, found.image_bytes)


def test_only_the_file_of_a_gguf_variant_is_pulled() -> None:
    """Of a repository with many GGUF files the variant's is pulled, and nothing else."""
    name = "Hermes-3-Llama-3.1-8B.Q8_0.gguf"
    tree = [
        {"type": "file", "path": path, "size": 5, "oid": "c0" * 20}
        for path in (name, "Hermes-3-Llama-3.1-8B.Q4_K_M.gguf", "README.md")
    ]
    found = read_answers(NAME, make_spec(GGUF), final_service(GGUF), good(tree=an_answer(body=tree)))

    assert [name] == [file.path for file in found.files]


def test_a_gguf_file_that_is_not_there() -> None:
    """A file that the repository does not have is named before anything is changed."""
    message = judged(good(), final_service(GGUF))

    assert (
        "gpu-1: hermes: NousResearch/Hermes-3-Llama-3.1-8B-GGUF has no file Hermes-3-Llama-3.1-8B.Q8_0.gguf. Names are "
        "case-sensitive; look at the repository's list of files." == message
    )


def test_parts_of_a_split_file_are_resolved() -> None:
    """The number of parts is the repository's to say: the first part is what the engine is given."""
    wanted = {"name": "hermes", "model": "hermes-4-405b", "variant": "q4_k_m"}
    service = make_plan(NAME, make_spec(wanted), make_probe((H100,) * 8)).services[0]
    parts = [service.files[0].replace("*", f"-0000{part}-of-00002") for part in (2, 1)]
    files = tuple(HubFile(path=path, size=5, sha256="ef" * 32) for path in parts)
    settled = settle(service, make_sources(service, files=files))

    assert "*" in service.files[0]
    assert tuple(sorted(parts)) == settled.files
    assert settled.config["model"].endswith(f"/{REVISION}/{parts[1]}")


def test_sources_add_up() -> None:
    """The size of a pull is that of the files."""
    files = make_sources(final_service()).files * 3

    assert 3 * 16_060_522_496 == Sources(revision="r", files=files, digest="d", image_bytes=0).bytes


def test_script_is_shell() -> None:
    """The script is shell with any value above it."""
    hostile = unresolved().model_copy(update={"repo": "a'b$(c)/`d`", "revision": '"; exit 3; "'})
    script = question_script(make_spec(), hostile, ca="line\n'quoted'\n", token="'$x")
    done = subprocess.run(["sh", "-n"], input=script, env=dict(os.environ), capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
