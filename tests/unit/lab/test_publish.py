"""Repositories and buckets that a lab serves from a folder: what is written, and what the server makes of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from hermeion.errors import LabError
from hermeion.lab import publish, served
from hermeion.lab.labfile import LabFile, write_lab_file
from hermeion.lab.paths import StatePaths, cache_root
from hermeion.lab.progress import Report
from hermeion.lab.services import catalog as catalog_module
from hermeion.lab.services.catalog import Catalog
from hermeion.lab.services.content import hash_content, revision_from

SHARD = bytes(range(256)) * 5000
REPO = "org/Big-Model"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatePaths:
    """A lab that is up, as far as its files say."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # As if this were the container: what it serves is where it is.
    place = StatePaths.of("lab")
    monkeypatch.setattr(served, "SERVING_INSIDE", place.serving)
    lab = LabFile(name="lab", user="root", key="", known_hosts="", hosts=[], mirrors={}, images={}, models=[])
    write_lab_file(lab, place)
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository, one file of it a link as in the Hub's own cache."""
    root = tmp_path / "repo"
    (root / "sub").mkdir(parents=True)
    (root / "config.json").write_text("{}")
    (root / "sub" / "a b.safetensors").write_bytes(SHARD)
    (tmp_path / "blob").write_bytes(b"tokens")
    (root / "tokenizer.json").symlink_to(tmp_path / "blob")
    return root


def read(state: StatePaths) -> Catalog:
    return Catalog(state.serving / "served.json")


def test_a_folder_becomes_a_revision(state: StatePaths, folder: Path) -> None:
    """Files of all folders, links followed, each with the hash of its content; the entry names the revision."""
    entry = publish.publish_model("lab", REPO, folder, Report())
    assert ("big-model", REPO, None) == (entry.name, entry.repo, entry.file)
    (model,) = read(state).models(REPO)
    assert entry.revision == model.revision
    assert {"config.json", "sub/a b.safetensors", "tokenizer.json"} == set(model.files)
    assert hashlib.sha256(SHARD).hexdigest() == model.files["sub/a b.safetensors"].etag
    assert b"tokens" == model.files["tokenizer.json"].source.read_bytes()
    assert not model.files["tokenizer.json"].source.is_symlink()
    assert entry == publish.publish_model("lab", REPO, folder, Report())
    assert 1 == len(read(state).models(REPO))
    assert [f"org--Big-Model@{entry.revision}"] == [path.name for path in (state.serving / "published").iterdir()]


def test_the_server_does_not_hash_again(state: StatePaths, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What publishing has hashed is known; a file that has changed since is read, and so is one that nobody noted."""
    publish.publish_model("lab", REPO, folder, Report())
    hashed: list[str] = []

    def count(path: Path) -> object:
        hashed.append(path.name)
        return hash_content(path)

    monkeypatch.setattr(catalog_module, "hash_content", count)
    reader = read(state)
    (model,) = reader.models(REPO)
    assert [] == hashed
    changed = model.files["config.json"].source
    changed.unlink()
    changed.write_text('{"changed": 1}')
    (changed.parent / "new.json").write_text("{}")
    served.add_bucket(state, "touch", "/nowhere")
    (model,) = reader.models(REPO)
    assert ["config.json", "new.json"] == sorted(hashed)
    assert hash_content(changed).git_oid == model.files["config.json"].etag
    served.add_bucket(state, "again", "/nowhere")
    reader.models(REPO)
    assert 2 == len(hashed)


def test_main_stands_where_it_is_told_to(state: StatePaths, folder: Path) -> None:
    first = publish.publish_model("lab", REPO, folder, Report())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text('{"newer": 1}')
    second = publish.publish_model("lab", REPO, folder, Report())
    assert [first.revision, second.revision] == [model.revision for model in read(state).models(REPO)]
    publish.publish_model("lab", REPO, folder, Report(), main=True)
    assert [second.revision, first.revision] == [model.revision for model in read(state).models(REPO)]


def test_what_the_lab_makes_leaves_alone_what_was_published(state: StatePaths, folder: Path) -> None:
    """An ``up`` serves its own models anew; published ones, buckets and keys stay, before or after them as told."""
    keys = served.ensure_keys(state)
    main = publish.publish_model("lab", "org/main", folder, Report(), main=True)
    older = publish.publish_model("lab", "org/own", folder, Report())
    publish.publish_bucket("lab", "s3://weights", folder, Report())
    own, apt, wheels = (cache_root() / name for name in ("model-1", "apt-1", "wheels-1"))
    for _ in range(2):
        models = [("org/main", "a" * 40, own), ("org/own", "b" * 40, own)]
        served.serve_supplies(state, apt=apt, index=[wheels], files=None, models=models)
        said = json.loads((state.serving / "served.json").read_text())
        order = [(model["repo"], model["revision"]) for model in said["models"]]
        expected = [("org/main", main.revision), ("org/main", "a" * 40), ("org/own", "b" * 40)]
        assert [*expected, ("org/own", older.revision)] == order
        assert ("/cache/apt-1", ["/cache/wheels-1"], ["weights"]) == (said["apt"], said["index"], list(said["buckets"]))
    assert keys == served.ensure_keys(state)


def test_what_did_not_change_is_not_written(state: StatePaths, folder: Path) -> None:
    """Or the server would read every folder again."""
    publish.publish_model("lab", REPO, folder, Report())
    before = (state.serving / "served.json").stat().st_ino
    publish.publish_model("lab", REPO, folder, Report())
    assert before == (state.serving / "served.json").stat().st_ino


def test_a_folder_becomes_a_bucket(state: StatePaths, folder: Path) -> None:
    """With the list of its hashes, as ``sha256sum`` writes it; a list that is there already stays."""
    publish.publish_bucket("lab", "s3://weights", folder, Report())
    place = read(state).buckets()[0]["weights"]
    lines = [line.partition("  ") for line in (place / "SHA256SUMS").read_text().splitlines()]
    sums = {path: digest for digest, _, path in lines}
    assert {"config.json", "sub/a b.safetensors", "tokenizer.json"} == set(sums)
    assert hashlib.sha256(SHARD).hexdigest() == sums["sub/a b.safetensors"]
    assert not (folder / "SHA256SUMS").exists()
    (folder / "SHA256SUMS").write_text("own\n")
    publish.publish_bucket("lab", "s3://weights", folder, Report())
    assert "own\n" == (read(state).buckets()[0]["weights"] / "SHA256SUMS").read_text()


def test_what_was_published_can_be_taken_back(state: StatePaths, folder: Path) -> None:
    """Its folder goes too, the files it came from stay; a second time there is nothing to take back."""
    publish.publish_model("lab", REPO, folder, Report())
    publish.publish_bucket("lab", "s3://weights", folder, Report())
    assert [True, False] == [publish.unpublish("lab", REPO) for _ in range(2)]
    assert [True, False] == [publish.unpublish("lab", "s3://weights") for _ in range(2)]
    assert ([], {}) == (read(state).models(REPO), read(state).buckets()[0])
    assert [] == [path.name for path in (state.serving / "published").iterdir()]
    assert SHARD == (folder / "sub" / "a b.safetensors").read_bytes()


def test_of_a_split_model_the_first_file_is_named(folder: Path) -> None:
    for number in (2, 1):
        (folder / f"big-Q8_0-0000{number}-of-00002.gguf").write_bytes(bytes([number]))
    assert "big-Q8_0-00001-of-00002.gguf" == publish.publish_model("lab", REPO, folder, Report()).file


@pytest.mark.parametrize("what", ["big", "org/big/more", "s3:/weights", "org/../x"])
def test_a_name_that_is_none_is_refused(folder: Path, what: str) -> None:
    with pytest.raises(LabError, match="is not a repository: write ORG/NAME, or s3://BUCKET"):
        publish.publish_model("lab", what, folder, Report())


def test_a_bucket_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(LabError, match="is not a bucket: write s3://NAME"):
        publish.publish_bucket("lab", "s3://Weights/x", folder, Report())


def test_a_folder_without_files_is_refused(state: StatePaths, tmp_path: Path) -> None:
    for empty in (tmp_path / "none", state.root / "lab.json"):
        with pytest.raises(LabError, match="has no files"):
            publish.publish_model("lab", REPO, empty, Report())


def test_a_lab_that_is_not_up_publishes_nothing(folder: Path) -> None:
    with pytest.raises(LabError, match="no lab named 'other' is up"):
        publish.publish_model("other", REPO, folder, Report())


def test_large_files_are_named_by_sha256_whatever_they_are_called(tmp_path: Path) -> None:
    """As on the Hub, where files over 10 MB are in Large File Storage."""
    (tmp_path / "tokenizer.json").write_bytes(bytes(10_000_001))
    (tmp_path / "small.json").write_bytes(bytes(10_000_000))
    assert hashlib.sha256(bytes(10_000_001)).hexdigest() == hash_content(tmp_path / "tokenizer.json").sha256
    assert None is hash_content(tmp_path / "small.json").sha256


def test_a_revision_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    one, two = hash_content(tmp_path / "a"), hash_content(tmp_path / "b")
    revisions = [revision_from(files) for files in ({"a": one, "b": two}, {"b": two, "a": one}, {"a": two, "b": one})]
    assert revisions[0] == revisions[1] != revisions[2]
    assert 40 == len(revisions[0])
