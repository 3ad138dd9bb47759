"""The real llama-server takes what is rendered: its parser, its answers, its logs.

The program is that of Debian, out of the archive that the lab makes; the model is the lab's tiny one.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from hermeion.engines import ENGINES, llamacpp
from hermeion.engines.llamacpp_log import read_log
from hermeion.engines.llamacpp_options import words
from hermeion.engines.tables import table
from hermeion.lab.paths import cache_root
from hermeion.planner import make_plan
from hermeion.plans import Service
from hermeion.sources import HubFile, Sources, settle
from tests.unit.builders import DIGEST, H100, L40S, NAME, REVISION, ROOT, make_probe, make_spec
from tools.engine_tables.llamacpp import extract

KNOWN = table("llamacpp", "b11669")
KEY = "sk-of-this-test-alone"
TEMPLATE = """-{%- set price = '$5 100% "quoted" \\\\n é' -%}
{%- for message in messages -%}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}"""
"""A template with everything that a shell, Compose, systemd or YAML could take for its own, and a dash in front."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A llama-server of the known build."""
    found = shutil.which("llama-server")
    if not found:
        archives = sorted(cache_root().glob("llamacpp-archive-*/*.tar.gz"), key=os.path.getmtime)
        if not archives:
            pytest.skip("no llama-server here, and none that the lab has made (hermeion lab up makes one)")
        folder = tmp_path_factory.mktemp("llama")
        with tarfile.open(archives[-1]) as archive:
            archive.extractall(folder, filter="tar")
        found = str(next(folder.glob("*/llama-server")))
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    if "build 11669" not in version.stdout + version.stderr:
        pytest.skip(f"llama-server here is not build 11669: {version.stdout}{version.stderr}")
    return found


@pytest.fixture(scope="module")
def model() -> Path:
    """The lab's tiny model in one GGUF file."""
    files = sorted(cache_root().glob("gguf-*/*-F16.gguf"), key=os.path.getmtime)
    if not files:
        pytest.skip("no tiny model in a GGUF file (hermeion lab up makes one)")
    return files[-1]


def service_of(there: Sequence[str] = (L40S,), **changes: object) -> Service:
    """A service of llama.cpp with its commit and file resolved."""
    wanted = {"name": "hermes", "model": "hermes-4-14b", "variant": "q5_k_m", "engine": "llamacpp"} | changes
    service = make_plan(NAME, make_spec(wanted), make_probe(there)).services[0]
    files = (HubFile(path="model.gguf", size=1, sha256="ab" * 32),)
    return settle(service, Sources(revision=REVISION, files=files, digest=DIGEST, image_bytes=1))


def golden_services() -> list[tuple[str, Service]]:
    """Every golden plan of llama.cpp."""
    plans = [(path.parent.name, json.loads(path.read_text())) for path in sorted(ROOT.glob("tests/golden/*/plan.json"))]
    return [(name, Service.model_validate(plan)) for name, plan in plans if plan["engine"] == "llamacpp"]


PLANNED = [
    ("as it is", service_of()),
    ("thinks", service_of(thinking=True)),
    ("eight GPUs", service_of((H100,) * 8, gpus=8, model="hermes-4-70b", variant="q8_0")),
    ("cannot think", service_of(model="hermes-3-8b", variant="q4_k_m")),
    ("many names", service_of(served_names=["gpt-4o-mini", "x/y:z"])),
    ("more options", service_of(extra_args={"no-warmup": True, "temp": 0.1, "cram": 0, "metrics": False, "seed": -1})),
    ("hostile", service_of(extra_args={"chat-template": TEMPLATE, "reverse-prompt": "--x\n'\"$\\%"})),
    *golden_services(),
]


def command_of(service: Service, model: Path | str, keys: Path, port: int, **changes: object) -> tuple[str, ...]:
    """The service's own words, but for the paths and the port that this machine does not have."""
    own = {"model": str(model), "api-key-file": str(keys), "host": "127.0.0.1", "port": port, **changes}
    return words(KNOWN, {**service.config, **own})


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A file with one key."""
    path = tmp_path / "api-keys"
    path.write_text(f"{KEY}\n")
    return path


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


class Api:
    """A llama-server that answers."""

    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log

    def ask(self, path: str, body: Mapping[str, Any] | None = None, key: str | None = KEY) -> tuple[int, Any]:
        """Status and answer."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self._port}{path}", data, headers)
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310
                text = answer.read()
                return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else text.decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def chat(self, question: str, **changes: Any) -> dict[str, Any]:
        """The message that answers a question, the likeliest word each time."""
        body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 60} | changes
        status, answer = self.ask("/v1/chat/completions", body)
        assert 200 == status, answer
        message: dict[str, Any] = answer["choices"][0]["message"]
        return message

    @property
    def log(self) -> str:
        """What it has said until now."""
        return self._log.read_text(errors="replace")


@contextmanager
def serving(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Api]:
    """The server until the end of the block; fails with its last words if it does not come up."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
    api = Api(port, log)
    try:
        for _ in range(300):
            if process.poll() is not None:
                pytest.fail(f"it ended with {process.returncode}: {api.log[-2000:]}")
            try:
                if api.ask("/health", key=None)[0] == 200:
                    break
            except (URLError, ConnectionError):
                pass
            time.sleep(0.1)
        yield api
    finally:
        process.terminate()
        process.wait(30)


def test_table_is_the_programs_own(program: str) -> None:
    """The table of build 11669 has the options, spellings and choices that the program prints, and no other."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    found = extract(text, "b11669", "its own --help").options

    assert {name: (option.kind, option.aliases, option.choices) for name, option in found.items()} == {
        name: (option.kind, option.aliases, option.choices) for name, option in KNOWN.options.items()
    }


@pytest.mark.parametrize(("name", "service"), PLANNED, ids=[name for name, _ in PLANNED])
def test_every_word_is_parsed(program: str, keys: Path, name: str, service: Service) -> None:
    """A planned command line is read to its end: all that is missing is the model file, and the log says so."""
    command = command_of(service, "/nowhere/model.gguf", keys, free_port())
    done = subprocess.run([program, *command], capture_output=True, text=True, timeout=60, check=False)

    assert "llamacpp" == service.engine, name
    assert (
        "/nowhere/model.gguf cannot be opened (No such file or directory): check variant, and in hermes_catalog path "
        "and files"
    ) == read_log(done.stdout + done.stderr).failure


@pytest.mark.parametrize(
    "wrong",
    [["--no-such-option"], ["--alias=hermes"], ["--metrics", "true"], ["--no-metrics"], ["--flash-attn"]],
    ids=" ".join,
)
def test_parser_can_refuse(program: str, wrong: list[str]) -> None:
    """The forms that are never rendered are refused, and the log is read as a refusal: the test above can fail."""
    done = subprocess.run([program, "--model", "/x", *wrong], capture_output=True, text=True, timeout=60, check=False)
    failure = read_log(done.stdout + done.stderr).failure

    assert (1, True) == (done.returncode, bool(failure and "extra_args" in failure)), failure


def test_service_serves(program: str, model: Path, keys: Path, tmp_path: Path) -> None:
    """A planned service is what the server says it serves: names, context, sampling, a key, nothing else open."""
    service = service_of(context=2048, sequences=3, served_names=["gpt-4o-mini"])
    port = free_port()
    with serving([program, *command_of(service, model, keys, port)], port, tmp_path / "log") as api:
        _, models = api.ask("/v1/models")
        _, props = api.ask("/props")
        closed = {path: api.ask(path)[0] for path in ("/slots", "/", "/metrics")}
        refused = {path: api.ask(path, key=None)[0] for path in ("/v1/models", "/props", "/metrics")}
        chat = api.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, key="wrong")[0]
        said = read_log(api.log)
    params = props["default_generation_settings"]["params"]

    assert set(service.served_names) == set(models["data"][0]["aliases"])
    assert (2048, 3) == (props["default_generation_settings"]["n_ctx"], props["total_slots"])
    assert {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "repeat_penalty": 1.0} == {
        name: round(params[name], 6) for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
    }
    assert {"/slots": 501, "/": 404, "/metrics": 200} == closed
    assert {"/v1/models": 401, "/props": 401, "/metrics": 401} == refused
    assert 401 == chat
    assert (2048, 3 * 2048, None) == (said.context, said.kv_tokens, said.failure)


@pytest.mark.parametrize("default", [False, True])
def test_thinking(program: str, model: Path, keys: Path, tmp_path: Path, default: bool) -> None:
    """The service says whether the model thinks, a request says otherwise, and thoughts are not in the answer."""
    service = service_of(context=2048, sequences=1, thinking=default)
    port = free_port()
    with serving([program, *command_of(service, model, keys, port)], port, tmp_path / "log") as api:
        silent = api.chat("Who are you?")
        other = api.chat("Who are you?", chat_template_kwargs={"thinking": not default})
    thinking, plain = (silent, other) if default else (other, silent)

    assert (True, False) == ("reasoning_content" in thinking, "reasoning_content" in plain)
    assert thinking["content"].strip() == plain["content"].strip() != ""


def test_tools(program: str, model: Path, keys: Path, tmp_path: Path) -> None:
    """The template's tools are alive: the server says so, and a call comes back as one."""
    service = service_of(context=2048, sequences=1)
    port = free_port()
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": city}}
    with serving([program, *command_of(service, model, keys, port)], port, tmp_path / "log") as api:
        _, props = api.ask("/props")
        message = api.chat("What is the weather in Paris?", tools=[tool])

    assert (True, True) == tuple(
        props["chat_template_caps"][name] for name in ("supports_tools", "supports_tool_calls")
    )
    assert ("get_weather", {"city": "Paris"}) == (
        message["tool_calls"][0]["function"]["name"],
        json.loads(message["tool_calls"][0]["function"]["arguments"]),
    )


def test_hostile_values_arrive_byte_for_byte(program: str, model: Path, keys: Path, tmp_path: Path) -> None:
    """A template with quotes, dollars, percent signs, line feeds and a dash in front is the one that the server has."""
    service = service_of(context=2048, sequences=1, extra_args={"chat-template": TEMPLATE})
    port = free_port()
    with serving([program, *command_of(service, model, keys, port)], port, tmp_path / "log") as api:
        _, props = api.ask("/props")

    assert TEMPLATE == props["chat_template"]


def test_taken_port(program: str, model: Path, keys: Path) -> None:
    """Who listens where it should is in the way, and the log's sentence names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = command_of(service_of(), model, keys, port)
        done = subprocess.run([program, *command], capture_output=True, text=True, timeout=60, check=False)

    assert (
        f"port {port} of 127.0.0.1 is taken: set another port, or stop who listens there (ss -ltnp)"
        == read_log(done.stdout + done.stderr).failure
    )


@pytest.mark.parametrize("default", [False, True])
def test_what_ollama_hands_on(program: str, model: Path, tmp_path: Path, default: bool) -> None:
    """llama-server, started with the words of Ollama 0.33, takes the rest from the environment that is planned for it.

    The words are those of ``startLlamaServer`` in ``llm/llama_server.go``; Ollama itself is not here.
    """
    service = service_of((L40S,) * 2, engine="ollama", gpus=2, context=2048, sequences=2, thinking=default)
    settings = service.environment
    context, parallel = int(settings["OLLAMA_CONTEXT_LENGTH"]), settings["OLLAMA_NUM_PARALLEL"]
    port = free_port()
    command = [program, "--model", str(model), "--port", str(port), "--host", "127.0.0.1", "--no-webui", "--offline"]
    command += ["-c", str(context * int(parallel)), "-np", parallel, "--log-verbosity", "4", "--no-log-prefix"]
    command += ["--no-log-timestamps", "--cache-type-k", settings["OLLAMA_KV_CACHE_TYPE"]]
    command += ["--cache-type-v", settings["OLLAMA_KV_CACHE_TYPE"], "--flash-attn", "on", "-b", "512", "-ub", "512"]
    with serving(command, port, tmp_path / "log", settings) as api:
        # Ollama sends this when a model can think and the request does not say.
        answer = api.chat("Who are you?", chat_template_kwargs={"enable_thinking": True})
        said = ENGINES["ollama"].read_log(api.log)

    assert default == ("reasoning_content" in answer)
    assert (2048, 4096, None) == (said.context, said.kv_tokens, said.failure)


def test_versions() -> None:
    """The build that these tests run is the one that is planned with."""
    assert KNOWN.version == llamacpp.VERSIONS[-1]
