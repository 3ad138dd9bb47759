"""The second origin of the lab's Hub, its Xet storage, and the count of what was sent."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import httpx

from hermeion.lab.services import cdn
from hermeion.lab.services.server import LabServer
from tests.unit.lab.serving import CONFIG, FILE, REPO, REVISION, WEIGHTS, turn, write_served

TOKEN = {"Authorization": "Bearer hf_secret"}


def test_a_file_can_be_at_another_origin(client: httpx.Client, server: LabServer) -> None:
    """A 302 with what a client must know beforehand; there, the file for who brings no credentials."""
    turn(client, redirects=[{"path": "safetensors"}])
    target = httpx.URL()
    for method in ("HEAD", "GET"):
        answer = client.request(method, FILE.replace(REVISION, "main"), headers=TOKEN)
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        told = [answer.headers[name] for name in ("X-Repo-Commit", "X-Linked-ETag", "X-Linked-Size")]
        assert (302, [REVISION, f'"{digest}"', str(len(WEIGHTS))]) == (answer.status_code, told)
        target = httpx.URL(answer.headers["Location"])
        port = server.cdn.server_address[1]
        assert ("127.0.0.1", port, FILE) == (target.host, target.port, target.path)  # by commit: main may move
    assert WEIGHTS == client.get(target).content
    assert WEIGHTS[7:9] == client.get(target, headers={"Range": "bytes=7-8"}).content
    assert CONFIG == client.get(f"/{REPO}/resolve/main/config.json").content


def test_an_address_is_good_for_an_hour(client: httpx.Client, server: LabServer) -> None:
    turn(client, redirects=[{"path": "safetensors"}])
    target = httpx.URL(client.get(FILE).headers["Location"])
    assert 3590 < int(target.params["Expires"]) - time.time() <= 3600
    past = int(time.time()) - 1
    old = {"Expires": str(past), "Signature": cdn.sign(server.secret, FILE, past)}
    assert 403 == client.get(target.copy_with(params=old)).status_code


def test_the_other_origin_refuses_tokens_and_addresses_that_nobody_signed(client: httpx.Client) -> None:
    turn(client, redirects=[{"path": "safetensors"}])
    target = httpx.URL(client.get(FILE).headers["Location"])
    assert 400 == client.get(target, headers=TOKEN).status_code
    for wrong in (
        target.copy_with(path=FILE.replace("model.safetensors", "config.json")),
        target.copy_set_param("Expires", "9999999999"),
        target.copy_with(query=None),
        target.copy_set_param("Expires", "soon"),
    ):
        assert 403 == client.get(wrong).status_code
    assert 405 == client.post(target).status_code
    log = [(row["origin"], row["status"], row["authorized"]) for row in client.get("/_lab/requests").json()]
    assert [("hub", 302, False), ("cdn", 400, True), *[("cdn", 403, False)] * 4, ("cdn", 405, False)] == log


def test_faults_reach_the_other_origin(client: httpx.Client) -> None:
    turn(client, redirects=[{"path": "safetensors"}], bodies=[{"path": "safetensors", "corrupt": True}])
    assert WEIGHTS != client.get(FILE, follow_redirects=True).content


def test_what_was_sent_is_counted(client: httpx.Client) -> None:
    """By path and by client, over both origins, ranges by their own length, nothing for a HEAD."""
    config = f"/{REPO}/resolve/{REVISION}/config.json"
    turn(client, redirects=[{"path": "safetensors"}])
    client.get(FILE, follow_redirects=True)
    turn(client)
    client.get(FILE, headers={"Range": "bytes=1000-1999"})
    client.head(FILE)
    client.get(config)
    paths = {FILE: len(WEIGHTS) + 1000, config: len(CONFIG)}
    total = sum(paths.values())
    rows = [{"path": path, "client": "127.0.0.1", "bytes": count} for path, count in sorted(paths.items())]
    expected = {"total": total, "paths": paths, "clients": {"127.0.0.1": total}, "rows": rows}
    assert expected == client.get("/_lab/traffic").json()
    client.delete("/_lab/traffic")
    assert 0 == client.get("/_lab/traffic").json()["total"]


def test_a_file_can_be_in_xet_storage(client: httpx.Client, tmp_path: Path) -> None:
    """The tree has its hash, a HEAD the way to a token, and the token the way to the storage."""
    storage = {"cas": "local:///srv/cas", "hashes": {"model.safetensors": "a" * 64}}
    model = {"repo": REPO, "revision": REVISION, "path": str(tmp_path / "model"), "xet": storage}
    write_served(tmp_path, models=[model])
    tree = {entry["path"]: entry.get("xetHash") for entry in client.get(f"/api/models/{REPO}/tree/main").json()}
    assert {"config.json": None, "model.safetensors": "a" * 64} == tree
    head = client.head(FILE)
    assert "a" * 64 == head.headers["X-Xet-Hash"]
    way = head.links["xet-auth"]["url"]
    assert f"{client.base_url}/api/models/{REPO}/xet-read-token/{REVISION}" == way
    token = client.get(way)
    names = ("X-Xet-Cas-Url", "X-Xet-Access-Token", "X-Xet-Token-Expiration")
    assert all(name in token.headers for name in names)
    assert "local:///srv/cas" == token.headers["X-Xet-Cas-Url"]


def test_without_xet_storage_there_is_no_way_to_it(client: httpx.Client) -> None:
    assert 404 == client.get(f"/api/models/{REPO}/xet-read-token/{REVISION}").status_code
    assert "X-Xet-Hash" not in client.head(FILE).headers
