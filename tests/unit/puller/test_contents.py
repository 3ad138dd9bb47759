"""Wrong bytes, wrong sizes, and connections that are cut."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hermeion.puller.sources import Refused
from tests.unit.puller.conftest import MIB, facts, notes, run, served
from tests.unit.puller.origin import Origin

SHARD = "model-1.safetensors"


def test_wrong_bytes_once(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """The right size and other bytes are noticed, and the file comes again from its start."""
    origin.turn(bodies=[{"path": SHARD, "corrupt": True, "times": 1}])
    run(origin.job(tmp_path / "cache"))

    assert origin.content == served(tmp_path / "cache")
    assert [None, None] == origin.asked(SHARD)
    bad = hashlib.sha256(bytes([origin.content[SHARD][0] ^ 0xFF]) + origin.content[SHARD][1:]).hexdigest()
    good = hashlib.sha256(origin.content[SHARD]).hexdigest()
    assert (
        f"{SHARD} has the right size and other bytes: promised was {good}, found {bad}; fetched again from the start"
    ) in notes(capsys.readouterr().out)


def test_wrong_bytes_always(tmp_path: Path, origin: Origin) -> None:
    """Wrong twice is an error with file, promised and found hash; nothing of it is served or kept."""
    origin.turn(bodies=[{"path": SHARD, "corrupt": True}])
    with pytest.raises(Refused) as caught:
        run(origin.job(tmp_path / "cache"))

    bad = hashlib.sha256(bytes([origin.content[SHARD][0] ^ 0xFF]) + origin.content[SHARD][1:]).hexdigest()
    good = hashlib.sha256(origin.content[SHARD]).hexdigest()
    assert (
        f"me/model: {SHARD} has the right size and other bytes: promised was {good}, found {bad}, twice. "
        "Nothing of it was "
        "kept: look whether a proxy or a mirror changes files, and run again."
    ) == str(caught.value)
    assert SHARD not in served(tmp_path / "cache")
    assert [] == list((tmp_path / "cache/hub/models--me--model/blobs").glob(f"{good}*"))


@pytest.mark.parametrize("size", [3 * MIB, 3 * MIB + 18])
def test_wrong_size(tmp_path: Path, origin: Origin, size: int) -> None:
    """A file that the Hub now says is shorter or longer is not fetched to its end, and the message has both sizes."""
    origin.hook(
        lambda handler: (
            handler.path.endswith(SHARD) and handler.answer(200, {"Content-Length": str(size)}, bytes(size)[:100])
        )
    )
    with pytest.raises(Refused) as caught:
        run(origin.job(tmp_path / "cache"))

    assert (
        f"me/model: {SHARD} has {size} bytes, promised were {3 * MIB + 17}, twice. Nothing of it was kept: "
        "look whether a "
        "proxy or a mirror changes files, and run again."
    ) == str(caught.value)


def test_cut(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A connection that is cut again and again costs what was on the line; each byte on disk stays."""
    origin.turn(bodies=[{"path": SHARD, "drop_after": MIB // 2, "times": 4}])
    run(origin.job(tmp_path / "cache"))

    assert origin.content == served(tmp_path / "cache")
    half = MIB // 2
    assert [None, *(f"bytes={half * n}-" for n in range(1, 5))] == origin.asked(SHARD)
    assert facts(capsys.readouterr().out)["fetched"] == str(sum(map(len, origin.content.values())))


def test_cut_often(tmp_path: Path, origin: Origin) -> None:
    """Progress resets the count: more cuts than tries are no reason to give up."""
    origin.turn(bodies=[{"path": SHARD, "drop_after": 1 << 18}])
    run(origin.job(tmp_path / "cache"))

    assert 13 == len(origin.asked(SHARD))
    assert origin.content == served(tmp_path / "cache")
