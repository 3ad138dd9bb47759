"""Own models: the real script against a small Hub and a folder, and what its answers say about the model."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hermeion.answers import Answer, parse_answers
from hermeion.errors import ModelError, SourceError
from hermeion.model_files import model_question, read_model
from hermeion.variants import CatalogEntry, ModelFacts
from tests.unit.builders import NAME, REVISION, make_spec

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
ELEMENTS = 2 * (64 * 64 + 64 * 64 + 64 * 64 + 3 * 64 * 128 + 2 * 64) + 2 * 512 * 64 + 64
"""Two layers (query; key and value; output; gate, up, down; two norms), two tables, the last norm."""


def safetensors(elements: int = ELEMENTS) -> bytes:
    """A safetensors file with one tensor of so many 16-bit elements."""
    header = json.dumps({"w": {"dtype": "BF16", "shape": [elements], "data_offsets": [0, 2 * elements]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * elements)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(architecture: str = "llama", file_type: int = 15) -> bytes:
    """The beginning of a GGUF file: its metadata, without tensors."""
    strings = {"general.architecture": architecture, "tokenizer.chat_template": "{{ messages }}"}
    numbers = {
        "general.file_type": file_type,
        f"{architecture}.block_count": 2,
        f"{architecture}.embedding_length": 64,
        f"{architecture}.feed_forward_length": 128,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
        f"{architecture}.context_length": 4096,
        f"{architecture}.vocab_size": 512,
        f"{architecture}.rope.dimension_count": 16,
    }
    body = b"".join(_text(key) + struct.pack("<I", 8) + _text(value) for key, value in strings.items())
    body += b"".join(_text(key) + struct.pack("<II", 4, value) for key, value in numbers.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(strings) + len(numbers)) + body


class Hub(ThreadingHTTPServer):
    """A Hub with one repository. ``files`` are its files by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {
            "config.json": json.dumps(CONFIG).encode(),
            "model.safetensors": safetensors(),
            "tokenizer (7).json": b"{}",
        }
        self.seen: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers of the Hub."""

    server: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        """One question."""
        self.server.seen.append((self.path, self.headers.get("Range")))
        name = self.path.rpartition("/")[2]
        status, body = 404, b"{}"
        if "/revision/" in self.path:
            status, body = 200, json.dumps({"sha": REVISION}).encode()
        elif "/tree/" in self.path:
            tree = [{"type": "file", "path": path, "size": len(data)} for path, data in self.server.files.items()]
            status, body = 200, json.dumps(tree).encode()
        elif name in self.server.files:
            status, body = 200, self.server.files[name]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub in a thread."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def entry(**keys: object) -> CatalogEntry:
    """An own model of which only the place is known."""
    place = {} if "path" in keys else {"repo": "me/mine"}
    return CatalogEntry.model_validate({"name": "mine", **place, **keys})


def ask(model: CatalogEntry, url: str = "http://127.0.0.1:9", path: str | None = None) -> dict[str, Answer]:
    """Run the real script on this machine."""
    script = model_question(make_spec(hermes_mirrors={"hub": url}), model, ca=None, token=None)
    environment = {"PATH": path or "/usr/bin:/bin", "no_proxy": "127.0.0.1"}
    done = subprocess.run(["/bin/sh", "-s"], input=script, env=environment, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return parse_answers(done.stdout.splitlines())


def facts(model: CatalogEntry, answers: dict[str, Answer]) -> ModelFacts:
    """What the answers say."""
    return read_model(NAME, make_spec(), model, answers)


def refusal(model: CatalogEntry, answers: dict[str, Answer]) -> str:
    """The message when a model cannot be read."""
    with pytest.raises((ModelError, SourceError)) as caught:
        facts(model, answers)
    return str(caught.value)


def without_curl(folder: Path) -> str:
    """A PATH with every program but curl."""
    for program in Path("/usr/bin").iterdir():
        if program.name != "curl":
            (folder / program.name).symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("tool", [tool for tool in ("curl", "wget") if shutil.which(tool)])
def test_a_repository(hub: Hub, tmp_path: Path, tool: str) -> None:
    """Commit, precision, bytes and shape come from the repository's own files, with either tool."""
    found = facts(entry(), ask(entry(), hub.url, without_curl(tmp_path) if tool == "wget" else None))

    assert (REVISION, "bf16", len(safetensors())) == (found.revision, found.precision, found.bytes)
    assert (2, 64, 4096, "LlamaForCausalLM") == (
        found.shape.layers,
        found.shape.hidden,
        found.shape.max_context,
        found.shape.architecture,
    )
    assert ("/me/mine/resolve/" + REVISION + "/model.safetensors", "bytes=0-1048575") in hub.seen


def test_a_gguf_file(hub: Hub) -> None:
    """Of a GGUF repository the header of the named file tells the shape, and its parts are added up."""
    hub.files = {
        "mine-Q4_K_M-00001-of-00002.gguf": gguf(),
        "mine-Q4_K_M-00002-of-00002.gguf": bytes(1000),
        "other-Q8_0.gguf": bytes(5000),
    }
    model = entry(file="mine-Q4_K_M-00001-of-00002.gguf")
    found = facts(model, ask(model, hub.url))

    assert ("q4_k_m", len(gguf()) + 1000, 2) == (found.precision, found.bytes, found.shape.layers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model."""
    place = tmp_path / "my model"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "model.safetensors").write_bytes(safetensors())
    return place


def local(path: Path, **keys: object) -> CatalogEntry:
    """An own model in a folder, however its path is spelled."""
    return entry(path="/placeholder", **keys).model_copy(update={"path": str(path)})


def test_a_folder(folder: Path) -> None:
    """A folder of the host is read like a repository; its revision follows from names, sizes and configuration."""
    found = facts(local(folder), ask(local(folder)))
    again = facts(local(folder), ask(local(folder)))
    (folder / "config.json").write_text(json.dumps({**CONFIG, "rope_theta": 20000.0}))
    changed = facts(local(folder), ask(local(folder)))

    assert ("bf16", len(safetensors()), 40) == (found.precision, found.bytes, len(str(found.revision)))
    assert found == again
    assert found.revision != changed.revision


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    missing = local(tmp_path / "missing")

    assert (
        f"gpu-1: hermes_catalog/mine/path: there is no folder {tmp_path}/missing on the host. "
        "Copy the model there first."
    ) == refusal(missing, ask(missing))


@pytest.mark.parametrize(
    ("files", "keys", "message"),
    [
        (
            {"config.json": b"{}"},
            {},
            "gpu-1: hermes_catalog/mine: me/mine has no .safetensors file in its top folder. vLLM reads no other form; "
            "for a GGUF name it with `file`.",
        ),
        (
            {"model.safetensors": safetensors()},
            {},
            "gpu-1: hermes_catalog/mine: me/mine has no config.json, so nobody knows what model it is.",
        ),
        (
            {"a-Q4_K_M.gguf": gguf(), "b-Q8_0.gguf": gguf()},
            {"file": "c.gguf"},
            "gpu-1: hermes_catalog/mine/file: me/mine has no c.gguf. GGUF files there: a-Q4_K_M.gguf, b-Q8_0.gguf.",
        ),
    ],
)
def test_what_is_missing(hub: Hub, files: dict[str, bytes], keys: dict[str, Any], message: str) -> None:
    """What a repository lacks is told, with what to do."""
    hub.files = files

    assert message == refusal(entry(**keys), ask(entry(**keys), hub.url))


def test_unknown_architecture(hub: Hub) -> None:
    """A model of an unknown kind is refused by the name of its class."""
    hub.files["config.json"] = json.dumps({**CONFIG, "architectures": ["FrobnicateForCausalLM"]}).encode()
    message = refusal(entry(), ask(entry(), hub.url))

    assert message.startswith("gpu-1: hermes_catalog/mine: config.json of me/mine: ")
    assert "FrobnicateForCausalLM" in message


def test_sizes_contradict_the_configuration(hub: Hub) -> None:
    """Files that cannot be those of the configuration are refused, with both sides."""
    hub.files["config.json"] = json.dumps({**CONFIG, "num_hidden_layers": 4}).encode()

    assert refusal(entry(), ask(entry(), hub.url)).startswith(
        "gpu-1: hermes_catalog/mine: the weight files have 272.7 KiB, but LlamaForCausalLM with 4 layers, hidden "
        "size 64, two embeddings and bf16 weights has "
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            401,
            "gpu-1: hermes_catalog/mine: the Hub https://huggingface.co refuses me/mine (401): it is gated, private, "
            "or does not exist. Check the name, accept its terms on the Hub, and pass a token: export HF_TOKEN=hf_…, "
            "then run again.",
        ),
        (
            404,
            "gpu-1: hermes_catalog/mine: the Hub https://huggingface.co has no me/mine at revision main (404). Check "
            "repo and revision of the model in hermes_catalog.",
        ),
    ],
)
def test_the_hub_refuses(status: int, message: str) -> None:
    """A Hub that refuses is quoted before anything is planned."""
    no = Answer(status=status, sha256="0", error="", body="")

    assert message == refusal(entry(), {"revision": no, "tree": no})


def test_cut_short() -> None:
    """An answer that ends early changes nothing."""
    assert (
        "gpu-1: hermes_catalog/mine: asking about the model was cut short. Nothing was changed; run again."
        == refusal(entry(), {})
    )


def test_a_login_page() -> None:
    """Something that is not the Hub's answer is not taken for one."""
    page = Answer(status=200, sha256="0", error="", body="<html>log in</html>")

    assert refusal(entry(), {"revision": page, "tree": page}).endswith("Look for a proxy or a login page in between.")


def test_neither_tool() -> None:
    """A host without curl and wget is told which to install."""
    nothing = Answer(status=0, sha256="-", error="missing", body="")

    assert refusal(entry(), {"tool": nothing}).startswith("gpu-1: neither curl nor wget is here to ask")
