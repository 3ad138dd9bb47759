"""Weights in a folder of the host that they are copied from: the real script, and its answers judged."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from hermeion.answers import Answer, parse_answers
from hermeion.errors import ModelError, SourceError
from hermeion.inventory import HostSpec
from hermeion.model_files import model_question, read_model
from hermeion.plans import Service
from hermeion.sources import HubFile, read_weights, weights_question
from hermeion.variants import ModelFacts
from tests.unit.builders import NAME, final_service, make_spec
from tests.unit.test_model_files import CONFIG, gguf, safetensors

COMMAND = "find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, with the checksums that the command of the messages makes."""
    place = tmp_path / "usb" / "model"
    (place / "original").mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "model.safetensors").write_bytes(safetensors())
    (place / "tokenizer (7).json").write_text("{}")
    (place / "original" / "x.safetensors").write_text("x")
    checksums(place)
    return place


def checksums(place: Path) -> None:
    """Make them as a person is told to, twice: the second time they are there."""
    for _ in range(2):
        subprocess.run(["/bin/sh", "-c", COMMAND], cwd=place, check=True)


def spec_of(place: Path, **keys: object) -> HostSpec:
    """An inventory whose model comes from the folder."""
    return make_spec(hermes_catalog=[{"name": "mine", "repo": "me/mine", "source": str(place), **keys}])


def service_of(spec: HostSpec) -> Service:
    """A service of that model."""
    file = spec.hermes_catalog[0].file
    changes = {"model": "mine", "repo": "me/mine", "revision": None, "files": (file,) if file else ()}
    return final_service().model_copy(update=changes)


def run(script: str) -> dict[str, Answer]:
    """Run a real script on this machine."""
    done = subprocess.run(["/bin/sh", "-s"], input=script, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return parse_answers(done.stdout.splitlines())


def weights(place: Path, **keys: object) -> tuple[str, tuple[HubFile, ...]]:
    """Ask about the weights, and judge."""
    spec = spec_of(place, **keys)
    service = service_of(spec)
    return read_weights(NAME, spec, service, run(weights_question(spec, service, ca=None, token=None)))


def refusal(place: Path) -> str:
    """The message about weights that cannot be had."""
    with pytest.raises(SourceError) as caught:
        weights(place)
    return str(caught.value)


def facts(place: Path, **keys: object) -> ModelFacts:
    """What the model says about itself."""
    spec = spec_of(place, **keys)
    entry = spec.hermes_catalog[0]
    return read_model(NAME, spec, entry, run(model_question(spec, entry, ca=None, token=None)))


def test_weights_in_a_folder(folder: Path) -> None:
    """Names, sizes and checksums of what the engine reads; the commit follows from them, not from where they lie."""
    revision, files = weights(folder)
    other = folder.parent / "elsewhere"
    folder.rename(other)
    names = ["config.json", "model.safetensors", "tokenizer (7).json"]

    assert [
        HubFile(
            path=name,
            size=(other / name).stat().st_size,
            sha256=hashlib.sha256((other / name).read_bytes()).hexdigest(),
        )
        for name in names
    ] == list(files)
    assert (revision, files) == weights(other)


def test_no_folder(folder: Path) -> None:
    """A disk that is not mounted is told."""
    assert (
        f"gpu-1: hermes: the folder {folder}2 is not there on the host. Mount it or copy the model there first, or "
        "correct source in hermes_catalog."
    ) == refusal(Path(f"{folder}2"))


def test_no_checksums(folder: Path) -> None:
    """Without checksums nothing is copied; the message has the command that makes them."""
    (folder / "SHA256SUMS").unlink()

    assert (
        f"gpu-1: hermes: the folder {folder} has no SHA256SUMS, so nobody could tell a damaged file. Make it in the "
        f"folder: {COMMAND}"
    ) == refusal(folder)


def test_checksums_that_cannot_be_read(folder: Path) -> None:
    """What the system says is passed on."""
    (folder / "SHA256SUMS").unlink()
    (folder / "SHA256SUMS").mkdir()

    assert (
        f"gpu-1: hermes: the folder {folder}: SHA256SUMS cannot be read (cat: {folder}/SHA256SUMS: Is a directory). "
        "Check its owner and mode."
    ) == refusal(folder)


def test_a_file_that_is_not_there(folder: Path) -> None:
    """What the checksums name must be there; a link into nowhere is not."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("nowhere")

    assert (
        f"gpu-1: hermes: the folder {folder}: SHA256SUMS names model.safetensors, which is not there. Copy what is "
        "missing, then run again."
    ) == refusal(folder)


def test_no_safetensors(folder: Path) -> None:
    """A folder without weights is refused."""
    (folder / "model.safetensors").unlink()
    checksums(folder)

    assert (
        f"gpu-1: hermes: {folder} has no .safetensors file in its top folder; vLLM reads no other form. Choose a "
        "repository with safetensors."
    ) == refusal(folder)


def test_links_are_followed(folder: Path) -> None:
    """A folder of links, as the Hub's cache has, is a folder with files."""
    links = folder.parent / "links"
    links.mkdir()
    for file in folder.iterdir():
        (links / file.name).symlink_to(os.path.relpath(file, links))

    assert weights(folder) == weights(links)


def test_an_own_model(folder: Path) -> None:
    """What it is like is read from the folder, and its commit is that of its weights."""
    found = facts(folder)

    assert ("bf16", len(safetensors()), 2) == (found.precision, found.bytes, found.shape.layers)
    assert weights(folder)[0] == found.revision


def test_an_own_split_gguf(folder: Path) -> None:
    """Of a split GGUF file all parts are wanted, in a folder of their own as well."""
    (folder / "Q4").mkdir()
    names = [f"Q4/mine-Q4_K_M-0000{part}-of-00002.gguf" for part in (1, 2)]
    for name in names:
        (folder / name).write_bytes(gguf())
    checksums(folder)
    found = facts(folder, file=names[0])
    pattern = "Q4/mine-Q4_K_M-*-of-00002.gguf"
    variant = spec_of(folder, file=names[0]).hermes_catalog[0].to_variant(found)
    assert variant
    spec = spec_of(folder, file=names[0])
    service = service_of(spec).model_copy(update={"files": variant.files})
    revision, files = read_weights(NAME, spec, service, run(weights_question(spec, service, ca=None, token=None)))

    assert ("q4_k_m", 2 * len(gguf())) == (found.precision, found.bytes)
    assert ((pattern,), names, found.revision) == (variant.files, [file.path for file in files], revision)


def test_an_own_gguf_that_is_not_there(folder: Path) -> None:
    """A file that is not there is told with those that are."""
    (folder / "a-Q4_K_M.gguf").write_bytes(gguf())
    checksums(folder)
    with pytest.raises(ModelError) as caught:
        facts(folder, file="c.gguf")

    assert (f"gpu-1: hermes_catalog/mine/file: {folder} has no c.gguf. GGUF files there: a-Q4_K_M.gguf.") == str(
        caught.value
    )


def test_every_host_has_a_folder_of_its_own(folder: Path) -> None:
    """Two hosts with the same path ask twice: what is under it on the one says nothing about the other."""
    spec = spec_of(folder)
    services = [service_of(spec).model_copy(update={"host": host}) for host in ("gpu-1", "gpu-2", "gpu-1")]

    assert 2 == len({weights_question(spec, service, ca=None, token=None) for service in services})
