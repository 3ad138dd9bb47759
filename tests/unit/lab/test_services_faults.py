"""The knobs of the lab's Hub: faults of a server that is up, told apart by what a client sees."""

from __future__ import annotations

import hashlib
import threading
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from hermeion.lab.services.faults import chunk_for
from tests.unit.lab.serving import FILE, REPO, REVISION, WEIGHTS, turn, write_served

MAIN = f"/api/models/{REPO}/revision/main"
TREE = f"/api/models/{REPO}/tree/{REVISION}?recursive=true&expand=false"


def test_a_status_can_be_forced_a_number_of_times(client: httpx.Client) -> None:
    turn(client, statuses=[{"path": "^/api/", "status": 429, "times": 1, "retry_after": 3}])
    first = client.get(MAIN)
    assert (429, "3") == (first.status_code, first.headers["Retry-After"])
    assert 200 == client.get(MAIN).status_code
    turn(client, statuses=[{"path": "^/api/", "status": 403}])
    assert "GatedRepo" == client.get(MAIN).headers["X-Error-Code"]
    client.delete("/_lab/knobs")
    assert 200 == client.get(MAIN).status_code


def test_retry_after_can_be_a_moment(client: httpx.Client) -> None:
    """The header's other form names the moment when the seconds are over."""
    turn(client, statuses=[{"path": "^/api/", "status": 429, "retry_after": 30, "retry_after_date": True}])
    moment = parsedate_to_datetime(client.get(MAIN).headers["Retry-After"])
    assert 28 < moment.timestamp() - time.time() <= 30


def test_a_body_can_be_corrupt_or_cut(client: httpx.Client) -> None:
    turn(client, bodies=[{"path": "safetensors", "corrupt": True}])
    spoiled = client.get(FILE).content
    assert len(WEIGHTS) == len(spoiled)
    assert (WEIGHTS[0] ^ 0xFF, WEIGHTS[1:]) == (spoiled[0], spoiled[1:])
    turn(client, bodies=[{"path": "safetensors", "drop_after": 100_000}])
    with pytest.raises(httpx.RemoteProtocolError, match="received 100000 bytes, expected 262144"):
        client.get(FILE)


def test_a_body_can_be_slow(client: httpx.Client) -> None:
    turn(client, bodies=[{"path": "safetensors", "bytes_per_second": 1_000_000}])
    start = time.monotonic()
    assert WEIGHTS == client.get(FILE).content
    assert 0.15 < time.monotonic() - start < 5  # 256 KiB at 1 MB/s, the last chunk unpaced


@pytest.mark.parametrize("length", [100_000, len(WEIGHTS) - 1, len(WEIGHTS) + 1, 600_000])
def test_a_file_can_have_another_length_than_the_tree_says(client: httpx.Client, length: int) -> None:
    """It is cut, or has zeros at its end; the promise of this one answer is kept, ranges included."""
    turn(client, bodies=[{"path": "safetensors", "length": length}])
    wanted = (WEIGHTS + bytes(600_000))[:length]
    answer = client.get(FILE)
    assert (wanted, str(length)) == (answer.content, answer.headers["Content-Length"])
    part = client.get(FILE, headers={"Range": "bytes=90000-"})
    assert (wanted[90_000:], f"bytes 90000-{length - 1}/{length}") == (part.content, part.headers["Content-Range"])
    sizes = {entry["path"]: entry["size"] for entry in client.get(TREE).json()}
    assert len(WEIGHTS) == sizes["model.safetensors"]


def test_a_body_can_lack_what_was_promised(client: httpx.Client) -> None:
    turn(client, bodies=[{"path": "safetensors", "missing": 1000}])
    with client.stream("GET", FILE) as answer:
        assert str(len(WEIGHTS)) == answer.headers["Content-Length"]
        with pytest.raises(httpx.RemoteProtocolError, match=f"received {len(WEIGHTS) - 1000} bytes"):
            answer.read()


@pytest.mark.parametrize("after", [0, 100_000])
def test_a_body_can_stall(client: httpx.Client, after: int) -> None:
    """So many bytes, then none while the connection stays; when the knob is off, the rest, whole and right."""
    turn(client, bodies=[{"path": "safetensors", "stall_after": after}])
    with client.stream("GET", FILE, timeout=0.5) as answer:
        got = b""
        with pytest.raises(httpx.ReadTimeout):
            for chunk in answer.iter_raw():
                got += chunk
    assert WEIGHTS[:after] == got

    def end() -> None:
        time.sleep(0.3)
        httpx.delete(f"{client.base_url}/_lab/knobs", trust_env=False)

    ending = threading.Thread(target=end)
    ending.start()
    start = time.monotonic()
    assert WEIGHTS == client.get(FILE).content
    assert time.monotonic() - start > 0.25
    ending.join()


def test_a_stall_ends_when_the_client_leaves(client: httpx.Client) -> None:
    """No thread of the server is left behind."""
    before = threading.active_count()
    turn(client, bodies=[{"path": "safetensors", "stall_after": 10}])
    with httpx.Client(trust_env=False, timeout=0.2) as other, pytest.raises(httpx.ReadTimeout):
        other.get(f"{client.base_url}{FILE}")
    deadline = time.monotonic() + 5
    while threading.active_count() > before + 1 and time.monotonic() < deadline:  # one is the first client's
        time.sleep(0.02)
    assert threading.active_count() <= before + 1


def test_bodies_can_share_an_uplink(client: httpx.Client) -> None:
    """Two files at once take twice as long as one."""
    turn(client, bytes_per_second_total=1_000_000)

    def seconds(count: int) -> float:
        start = time.monotonic()
        getting = [
            threading.Thread(target=httpx.get, args=(f"{client.base_url}{FILE}",), kwargs={"trust_env": False})
            for _ in range(count)
        ]
        for one in getting:
            one.start()
        for one in getting:
            one.join()
        return time.monotonic() - start

    assert seconds(1) > 0.15
    assert seconds(2) > 0.4  # half a megabyte; the last chunk unpaced


def test_a_rate_makes_chunks_small() -> None:
    """A twentieth of a second each: a slow body drips, and does not come in gulps."""
    assert (256 * 1024, 50_000, 4096) == (chunk_for(None, None), chunk_for(1_000_000, None), chunk_for(10**6, 1000))


def test_a_repository_can_be_gated(client: httpx.Client) -> None:
    """401 without a token, 403 with another, 200 with the right one; the server has no token to tell."""
    turn(client, tokens=[{"path": f"/{REPO}/resolve/", "sha256": hashlib.sha256(b"hf_right").hexdigest()}])
    answers = [
        client.get(FILE, headers={"Authorization": f"Bearer {token}"} if token else {})
        for token in (None, "hf_wrong", "hf_right")
    ]
    assert [401, 403, 200] == [answer.status_code for answer in answers]
    assert ["GatedRepo", "GatedRepo"] == [answer.headers["X-Error-Code"] for answer in answers[:2]]
    assert 200 == client.get(MAIN).status_code
    for path in ("/_lab/requests", "/_lab/knobs", "/_lab/traffic"):
        said = client.get(path)
        assert 200 == said.status_code
        assert not {word for word in ("hf_right", "hf_wrong") if word in said.text}


def test_main_can_move(client: httpx.Client, tmp_path: Path) -> None:
    """The newest revision is main, or the one that the knob names; both can be read by their commits."""
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "config.json").write_bytes(b"{}")
    newer = {"repo": REPO, "revision": "f" * 40, "path": str(tmp_path / "newer")}
    write_served(tmp_path, models=[newer, {"repo": REPO, "revision": REVISION, "path": str(tmp_path / "model")}])
    assert "f" * 40 == client.get(MAIN).json()["sha"]
    turn(client, branches={REPO: REVISION})
    assert REVISION == client.get(MAIN).json()["sha"]
    assert 404 == client.get(f"/{REPO}/resolve/{'f' * 40}/model.safetensors").status_code
    assert 200 == client.get(FILE).status_code
    turn(client, branches={REPO: "e" * 40})
    assert 404 == client.get(MAIN).status_code


def test_a_tree_can_come_in_pages(client: httpx.Client) -> None:
    """Each page names the next one, with the question's own words in it; together they are the whole."""
    whole = client.get(TREE).json()
    turn(client, page_size=1)
    first = client.get(TREE)
    following = httpx.URL(first.links["next"]["url"])
    assert {"recursive": "true", "expand": "false", "cursor": "1"} == dict(following.params)
    second = client.get(following)
    assert "next" not in second.links
    assert whole == first.json() + second.json()


def test_what_is_on_can_be_asked(client: httpx.Client) -> None:
    turn(client, statuses=[{"path": "x", "status": 500, "times": 2}], page_size=7)
    client.get("/x")
    told = client.get("/_lab/knobs").json()
    assert (1, 7, []) == (told["statuses"][0]["times"], told["page_size"], told["bodies"])


@pytest.mark.parametrize(
    "knobs",
    [
        {"nothing": []},
        {"statuses": [{"path": "("}]},
        {"bodies": [{"wrong": 1}]},
        {"tokens": [{"path": "x"}]},
        {"redirects": [{"path": "["}]},
        {"page_size": 0},
        {"page_size": "2"},
        {"branches": ["main"]},
    ],
)
def test_a_wrong_knob_is_refused(client: httpx.Client, knobs: dict[str, Any]) -> None:
    """And nothing of it is on."""
    before = client.get("/_lab/knobs").json()
    assert 400 == client.post("/_lab/knobs", json=knobs).status_code
    assert before == client.get("/_lab/knobs").json()
