"""The Hub contract, the package index and the folders of files, over loopback."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from tests.unit.lab.serving import CONFIG, REPO, REVISION, WEIGHTS


def test_a_branch_resolves_to_a_commit(client: httpx.Client) -> None:
    answer = client.get(f"/api/models/{REPO}/revision/main").json()
    assert (answer["id"], answer["sha"]) == (REPO, REVISION)


def test_the_tree_names_every_file(client: httpx.Client) -> None:
    tree = {e["path"]: e for e in client.get(f"/api/models/{REPO}/tree/{REVISION}?recursive=true&expand=false").json()}
    assert set(tree) == {"config.json", "model.safetensors"}
    assert tree["model.safetensors"]["lfs"]["oid"] == hashlib.sha256(WEIGHTS).hexdigest()
    blob = b"blob %d\0" % len(CONFIG) + CONFIG
    assert tree["config.json"]["oid"] == hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    assert "lfs" not in tree["config.json"]


def test_a_head_says_what_a_download_needs(client: httpx.Client) -> None:
    answer = client.head(f"/{REPO}/resolve/{REVISION}/model.safetensors")
    assert answer.headers["X-Repo-Commit"] == REVISION
    assert answer.headers["ETag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert answer.headers["Content-Length"] == str(len(WEIGHTS))


def test_a_range_is_honoured(client: httpx.Client) -> None:
    path = f"/{REPO}/resolve/{REVISION}/model.safetensors"
    answer = client.get(path, headers={"Range": "bytes=1000-"})
    assert answer.status_code == 206
    assert answer.content == WEIGHTS[1000:]
    assert answer.headers["Content-Range"] == f"bytes 1000-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"
    assert client.get(path, headers={"Range": "bytes=999999999-"}).status_code == 416


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/models/no/thing/revision/main", 401, "RepoNotFound"),
        (f"/api/models/{REPO}/revision/nothing", 404, "RevisionNotFound"),
        (f"/{REPO}/resolve/{REVISION}/nothing.json", 404, "EntryNotFound"),
        ("/api/agent-harnesses", 404, None),
    ],
)
def test_what_is_not_there_has_its_code(client: httpx.Client, path: str, status: int, code: str | None) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers.get("X-Error-Code")) == (status, code)


def test_the_index_links_wheels_by_hash(client: httpx.Client) -> None:
    assert 'href="some-thing/"' in client.get("/simple/").text
    page = client.get("/simple/Some.Thing/").text
    assert f"#sha256={hashlib.sha256(b'wheel').hexdigest()}" in page
    assert client.get("/simple/some-thing/Some_Thing-1.0-py3-none-any.whl").content == b"wheel"
    assert client.get("/simple/nothing/").status_code == 404


def test_the_apt_folder_and_nothing_beside_it(client: httpx.Client) -> None:
    assert client.get("/apt/Packages").content == b"Package: x\n"
    assert client.get("/apt/./Packages").status_code == 200
    assert client.get("/apt/%2e%2e/secret").status_code == 404


def test_an_index_of_two_folders_is_one(client: httpx.Client) -> None:
    """Wheels of all folders are listed; of two with one name, the first folder's is linked and sent."""
    page = client.get("/simple/some-thing/").text
    assert page.count("<a ") == 2
    assert hashlib.sha256(b"another of that name").hexdigest() not in page
    assert f"#sha256={hashlib.sha256(b'newer').hexdigest()}" in page
    assert client.get("/simple/some-thing/some_thing-2.0+cpu-py3-none-any.whl").content == b"newer"
    assert client.get("/simple/some-thing/some_thing-2.0%2Bcpu-py3-none-any.whl").content == b"newer"


def test_files_and_nothing_beside_them(client: httpx.Client) -> None:
    """Archives are served as they are, in parts too; their folder is not listed, and not left."""
    assert client.get("/files/l.tar.gz").content == b"archive"
    assert client.get("/files/l.tar.gz", headers={"Range": "bytes=3-"}).content == b"hive"
    assert client.get("/files/").status_code == 404
    assert client.get("/files/%2e%2e/secret").status_code == 404


def test_requests_are_logged_without_credentials(client: httpx.Client) -> None:
    client.get(f"/api/models/{REPO}/revision/main", headers={"Authorization": "Bearer hf_secret"})
    log = client.get("/_lab/requests")
    assert log.json()[-1]["authorized"] is True
    assert "hf_secret" not in log.text
    client.delete("/_lab/requests")
    assert client.get("/_lab/requests").json() == []


def test_served_json_is_read_again(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "serving" / "served.json").write_text("{}")
    assert client.get(f"/api/models/{REPO}/revision/main").status_code == 401
