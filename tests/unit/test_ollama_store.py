"""Ollama's store: the program is run, and what it leaves is read as Ollama's source reads it (no Ollama here)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermeion.engines import ollama
from hermeion.engines.ollama_store import listed_name, model_path
from hermeion.errors import PlacementError
from hermeion.planner import make_plan
from hermeion.plans import Service
from hermeion.render import mounts_of
from hermeion.sources import HubFile, Sources, settle
from tests.unit.builders import DIGEST, H100, L40S, NAME, REVISION, make_probe, make_spec

FILE = "NousResearch_Hermes-4-14B-Q5_K_M.gguf"
REPO = "models--bartowski--NousResearch_Hermes-4-14B-GGUF"
WEIGHTS = b"GGUF" + bytes(1000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
ARCHIVE = {"url": "https://example.com/ollama.tgz", "sha256": "ab" * 32}


def service_of(file: str = FILE, revision: str = REVISION, **changes: object) -> Service:
    """A service of Ollama with its commit and file resolved."""
    wanted = {"name": "hermes", "model": "hermes-4-14b", "variant": "q5_k_m", "engine": "ollama"} | changes
    service = make_plan(NAME, make_spec(wanted), make_probe((L40S,))).services[0]
    files = (HubFile(path=file, size=len(WEIGHTS), sha256=SHA256),)
    return settle(service, Sources(revision=revision, files=files, digest=DIGEST, image_bytes=1))


def lay_hub(host: Path, file: str = FILE, revision: str = REVISION, content: bytes = WEIGHTS) -> Path:
    """The Hub's cache with one file, as its client lays it out; the file behind the link."""
    blob = host / "srv/models/hub" / REPO / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link = host / "srv/models/hub" / REPO / "snapshots" / revision / file
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"../../blobs/{blob.name}")
    return blob


def run(service: Service, host: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as if ``host`` were the root of a host."""
    program = ollama.files(service)["prepare.sh"]
    for folder in ("/srv/models", "/var/cache"):
        program = program.replace(folder, f"{host}{folder}")
    (host / service.compile_cache[1:]).mkdir(parents=True, exist_ok=True)
    return subprocess.run(["sh"], input=program, capture_output=True, text=True, check=False)


def store_of(service: Service, host: Path) -> Path:
    """``OLLAMA_MODELS`` as the host sees it."""
    return host / service.compile_cache[1:] / "models"


def read_store(store: Path) -> dict[str, dict[str, Any]]:
    """Layers with their blobs by path of the manifest, as ``manifest.Manifests`` and ``GetModel`` find them."""
    found: dict[str, dict[str, Any]] = {}
    for path in store.glob("manifests/*/*/*/*"):
        manifest = json.loads(path.read_text())
        layers = {layer["mediaType"]: layer for layer in [manifest["config"], *manifest["layers"]]}
        for kind, layer in layers.items():
            blob = store / "blobs" / layer["digest"].replace(":", "-")
            layer["blob"] = blob
            if not kind.endswith("image.model"):
                content = blob.read_bytes()
                assert (layer["digest"], layer["size"]) == (
                    f"sha256:{hashlib.sha256(content).hexdigest()}",
                    len(content),
                )
        found[str(path.relative_to(store / "manifests"))] = layers
    return found


MODEL = "application/vnd.ollama.image.model"
NAMES = {
    "registry.ollama.ai/library/hermes/latest",
    "registry.ollama.ai/bartowski/NousResearch_Hermes-4-14B-GGUF/latest",
}


@pytest.mark.parametrize(
    ("name", "expected", "listed"),
    [
        ("hermes", "registry.ollama.ai/library/hermes/latest", "hermes:latest"),
        ("gpt-4o:mini", "registry.ollama.ai/library/gpt-4o/mini", "gpt-4o:mini"),
        (
            "NousResearch/Hermes-4-14B",
            "registry.ollama.ai/NousResearch/Hermes-4-14B/latest",
            "NousResearch/Hermes-4-14B:latest",
        ),
        ("a/b:c.d", "registry.ollama.ai/a/b/c.d", "a/b:c.d"),
    ],
)
def test_names(name: str, expected: str, listed: str) -> None:
    """A name has a manifest where Ollama looks for it, and is listed with its tag."""
    assert (expected, listed) == (model_path(name), listed_name(name))


@pytest.mark.parametrize(
    "name",
    ["", "a@b", "a+b", "a/b/c", "my.org/b", "-a", ".a", "a:", "a:b:c", "a:cloud", "a:8b-cloud", "a:local", "x" * 81],
)
def test_no_names(name: str) -> None:
    """What Ollama refuses, takes for a registry of its own, or sends to its cloud is no name."""
    assert None is model_path(name)


def test_store_natively(tmp_path: Path) -> None:
    """Each served name is a model whose file is the one in the Hub's cache: no second copy, no second name."""
    service = service_of(runtime="systemd", archive=ARCHIVE)
    blob = lay_hub(tmp_path)
    done = run(service, tmp_path)
    models = read_store(store_of(service, tmp_path))

    assert (0, "", NAMES) == (done.returncode, done.stderr, set(models))
    assert {(f"sha256:{SHA256}", len(WEIGHTS), blob.stat().st_ino)} == {
        (layers[MODEL]["digest"], layers[MODEL]["size"], layers[MODEL]["blob"].stat().st_ino)
        for layers in models.values()
    }


def test_store_of_a_container(tmp_path: Path) -> None:
    """The link leads where the container sees the weights, whatever they are called on the host."""
    service = service_of()
    lay_hub(tmp_path)
    done = run(service, tmp_path)
    (links,) = {str(layers[MODEL]["blob"].readlink()) for layers in read_store(store_of(service, tmp_path)).values()}

    assert (0, f"/models/hub/{REPO}/snapshots/{REVISION}/{FILE}") == (done.returncode, links)


def test_what_the_model_is_told(tmp_path: Path) -> None:
    """The card's sampling are the model's parameters; tools are said, since Ollama looks for them in one template."""
    service = service_of(runtime="systemd", archive=ARCHIVE)
    lay_hub(tmp_path)
    run(service, tmp_path)
    layers = read_store(store_of(service, tmp_path))["registry.ollama.ai/library/hermes/latest"]
    about = json.loads(layers["application/vnd.docker.container.image.v1+json"]["blob"].read_text())
    parameters = json.loads(layers["application/vnd.ollama.image.params"]["blob"].read_text())

    assert ("gguf", "Q5_K_M", ["completion", "tools"]) == (
        about["model_format"],
        about["file_type"],
        about["capabilities"],
    )
    assert {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "repeat_penalty": 1.0} == parameters


def tree(store: Path) -> dict[str, str]:
    """Everything in the store: links by where they lead, files by their content."""
    return {
        str(path.relative_to(store)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in store.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_again_is_the_same(tmp_path: Path) -> None:
    """Every start lays out the same store, also after somebody has deleted a model."""
    service = service_of()
    lay_hub(tmp_path)
    run(service, tmp_path)
    before = tree(store_of(service, tmp_path))
    (store_of(service, tmp_path) / "manifests/registry.ollama.ai/library/hermes/latest").unlink()
    run(service, tmp_path)

    assert before == tree(store_of(service, tmp_path))


def test_nothing_stays_of_an_older_release(tmp_path: Path) -> None:
    """Another commit's weights take the place of the old ones: no name and no link leads there any more."""
    old, new = service_of(served_names=["gone"]), service_of(revision="f" * 40)
    lay_hub(tmp_path)
    lay_hub(tmp_path, revision="f" * 40, content=WEIGHTS + b"new")
    run(old, tmp_path)
    run(new, tmp_path)
    fresh = tree(store_of(new, tmp_path))

    assert (NAMES, False) == (
        set(read_store(store_of(new, tmp_path))),
        any(REVISION in text or SHA256 in path for path, text in fresh.items()),
    )


def test_missing_weights(tmp_path: Path) -> None:
    """Without weights the start stops with a sentence, and the store stays as it was."""
    service = service_of()
    blob = lay_hub(tmp_path)
    run(service, tmp_path)
    before = tree(store_of(service, tmp_path))
    blob.unlink()
    done = run(service, tmp_path)

    assert (1, f"there is no file {tmp_path}/srv/models/hub/{REPO}/snapshots/{REVISION}/{FILE}\n", before) == (
        done.returncode,
        done.stderr,
        tree(store_of(service, tmp_path)),
    )


@pytest.mark.parametrize("runtime", ["compose", "systemd"])
def test_the_weights_take_no_room_in_the_store(runtime: str, tmp_path: Path) -> None:
    """Whatever is in the store beside the link to the weights is a few kilobytes."""
    native = {"archive": ARCHIVE} if runtime == "systemd" else {}
    service = service_of(FILE, REVISION, runtime=runtime, **native)
    lay_hub(tmp_path, content=WEIGHTS + bytes(4 << 20))
    run(service, tmp_path)
    paths = list(store_of(service, tmp_path).rglob("*"))

    assert 1 == sum(path.is_symlink() for path in paths)
    assert 8192 > sum(path.lstat().st_size for path in paths if not path.is_dir())


def test_blob_that_is_a_link_itself(tmp_path: Path) -> None:
    """Where the Hub's client keeps blobs in one store for all repositories, the first link has the SHA-256."""
    service = service_of()
    blob = lay_hub(tmp_path)
    shared = tmp_path / "srv/models/hub/blobs/ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    done = run(service, tmp_path)
    digests = {layers[MODEL]["digest"] for layers in read_store(store_of(service, tmp_path)).values()}

    assert (0, "", {f"sha256:{SHA256}"}) == (done.returncode, done.stderr, digests)


def test_parts_are_refused_when_planned() -> None:
    """Ollama would merge the parts of a split file into a copy of its own: that is no plan."""
    wanted = {"name": "hermes", "model": "hermes-4-405b", "variant": "q4_k_m", "engine": "ollama"}
    with pytest.raises(PlacementError) as caught:
        make_plan(NAME, make_spec(wanted), make_probe((H100,) * 8))

    assert (
        "Ollama reads a GGUF file in one piece, and hermes-4-405b-q4_k_m comes in parts; llama.cpp reads those"
    ) in str(caught.value)


def test_hostile_file_name(tmp_path: Path) -> None:
    """A file name with quotes, blanks and dollar signs is a file name."""
    file = 'we\'ird $(touch x) "q" & name.gguf'
    service = service_of(file, runtime="systemd", archive=ARCHIVE)
    blob = lay_hub(tmp_path, file)
    done = run(service, tmp_path)

    assert (0, {blob.resolve()}) == (
        done.returncode,
        {layers[MODEL]["blob"].resolve() for layers in read_store(store_of(service, tmp_path)).values()},
    )


def test_file_that_the_hub_did_not_name(tmp_path: Path) -> None:
    """A file that is not named by its hash gets a name that changes when the file does."""
    service = service_of(runtime="systemd", archive=ARCHIVE)
    lay_hub(tmp_path).unlink()
    link = tmp_path / "srv/models/hub" / REPO / "snapshots" / REVISION / FILE
    link.unlink()
    digests = []
    for content in (WEIGHTS, WEIGHTS + b"more"):
        link.write_bytes(content)
        run(service, tmp_path)
        (digest,) = {layers[MODEL]["digest"] for layers in read_store(store_of(service, tmp_path)).values()}
        digests.append(digest)

    assert 2 == len({digest for digest in digests if len(digest) == 71})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_the_store_is_the_engines_and_the_weights_are_not(tmp_path: Path) -> None:
    """What is laid out belongs to whom the folder belongs to; the weights behind the link keep their owner."""
    service = service_of()
    blob = lay_hub(tmp_path)
    cache = store_of(service, tmp_path).parent
    cache.mkdir(parents=True)
    os.chown(cache, 2000, 0)
    run(service, tmp_path)
    owners = {path.lstat().st_uid for path in [cache / "models", *(cache / "models").rglob("*")]}

    assert ({2000}, 0) == (owners, blob.stat().st_uid)


def test_folder_is_the_one_that_is_mounted() -> None:
    """The program writes into the folder that the container has as its own."""
    service = service_of()

    (writable,) = (mount.source for mount in mounts_of(service) if not mount.read_only)
    assert service.compile_cache == writable
    assert f"cache={writable} " in ollama.files(service)["prepare.sh"]


def test_not_before_the_weights_are_known() -> None:
    """Without commit and file there is nothing to lay out."""
    service = service_of()
    names = [
        set(ollama.files(service.model_copy(update=change)))
        for change in ({}, {"revision": None}, {"files": ("*.gguf",)})
    ]

    assert [{"prepare.sh"}, set(), set()] == names
