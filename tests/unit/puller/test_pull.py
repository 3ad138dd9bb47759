"""A whole pull from the lab's Hub, in this process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from tests.unit.puller.conftest import facts, notes, run
from tests.unit.puller.origin import REPO, REVISION, Origin


def found_by(tool: Path) -> str:
    """What the probe's find prints of a snapshot, sorted bytewise."""
    script = "find -L . -type f -printf '%i %T@ %s %P\\n' | LC_ALL=C sort"
    return subprocess.run(["sh", "-c", script], cwd=tool, check=True, capture_output=True, text=True).stdout


def test_pull(tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A pull ends in the client's own layout, with a manifest as ``find`` prints it, a record, and a ref."""
    cache = tmp_path / "cache"
    run(origin.job(cache))

    folder = cache / "hub/models--me--model"
    snapshot = folder / "snapshots" / REVISION
    total = sum(len(data) for data in origin.content.values())
    assert origin.content == {path: (snapshot / path).read_bytes() for path in origin.content}
    assert all((snapshot / path).is_symlink() for path in origin.content)
    assert found_by(snapshot) == (cache / f"hermeion/models--me--model@{REVISION}.manifest").read_text()
    assert REVISION == (folder / "refs/main").read_text()
    assert set(origin.content) == set(json.loads((folder / f"trees/{REVISION}.json").read_text())["files"])
    assert "644" == f"{(folder / f'trees/{REVISION}.json').stat().st_mode & 0o777:o}"
    found = snapshot_download(REPO, revision=REVISION, cache_dir=cache / "hub", local_files_only=True)
    assert str(snapshot) == found
    record = json.loads((cache / f"hermeion/models--me--model@{REVISION}.json").read_text())
    assert (REPO, REVISION, f"the Hub {origin.url}", total) == tuple(
        record[key] for key in ("repo", "revision", "source", "bytes")
    )
    assert [] == list((cache / "hermeion/parts").iterdir())
    assert {"hub", "hermeion"} == {path.name for path in cache.iterdir()}
    assert {"parts", f"models--me--model@{REVISION}.json", f"models--me--model@{REVISION}.manifest"} == {
        path.name for path in (cache / "hermeion").iterdir()
    }
    out = capsys.readouterr().out
    assert {"fetched": str(total), "reused": "0", "hashed": str(total), "source": f"the Hub {origin.url}"} == {
        key: value for key, value in facts(out).items() if key != "seconds"
    }
    assert [f"##total {total}", f"##progress 0 {total}", "##files 0 4"] == out.splitlines()[:3]
    assert [f"##progress {total} {total}", "##files 4 4"] == out.splitlines()[-7:-5]


@pytest.mark.parametrize(("times", "listed"), [(1, True), (None, False)])
def test_busy_at_the_end(
    tmp_path: Path, origin: Origin, capsys: pytest.CaptureFixture[str], times: int | None, listed: bool
) -> None:
    """The client asks again for its listing; without one the fetched files are listed, and that is said."""
    job = origin.job(tmp_path / "cache")
    job["files"] = [file for file in job["files"] if file["path"] != "config.json"]
    origin.turn(statuses=[{"path": "/tree/", "status": 503, "times": times}])
    run(job | {"stall_seconds": 20.0 if listed else 0.5})

    tree = json.loads((tmp_path / f"cache/hub/models--me--model/trees/{REVISION}.json").read_text())
    assert set(origin.content) - (set() if listed else {"config.json"}) == set(tree["files"])
    said = f"the Hub at {origin.url} does not list me/model (nothing came for 0.5 s); "
    said += "the listing has the fetched files alone"
    assert ([] if listed else [said]) == [text for text in notes(capsys.readouterr().out) if "list" in text]
