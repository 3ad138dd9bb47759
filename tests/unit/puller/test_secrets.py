"""A token, and the private folder of a pull."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.unit.puller.conftest import MIB
from tests.unit.puller.origin import Origin
from tests.unit.puller.program import error_of, said, spawn

SHARD = "model-1.safetensors"


def test_token_stays_private(tmp_path: Path, origin: Origin) -> None:
    """A token reaches the Hub and nothing else: no argument, environment, file of the cache, or line of the log."""
    canary = "hf_canary0123456789"
    (tmp_path / "token").write_text(f"{canary}\n")
    cache = tmp_path / "cache"
    entry = {"kind": "hub", "endpoint": origin.url, "token_file": str(tmp_path / "token"), "ca": None}
    origin.turn(bodies=[{"path": SHARD, "bytes_per_second": 2 * MIB}])
    process = spawn(tmp_path, origin.job(cache, sources=[entry]))
    while not origin.asked(SHARD) and process.poll() is None:
        time.sleep(0.01)
    proc = Path(f"/proc/{process.pid}")
    (tmp_path / "token").unlink()  # it is in memory by now
    for place in (proc / "cmdline", proc / "environ"):
        assert canary.encode() not in place.read_bytes()
    private = [path for path in tmp_path.glob("hermeion-pull-*/**/*") if path.is_file()]
    assert [] == [path for path in private if canary.encode() in path.read_bytes()]
    status, out = said(process)

    assert 0 == status, out
    assert canary not in out
    assert all(entry["authorized"] for entry in origin.log)
    assert [] == [path for path in cache.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]


def test_missing_secret(tmp_path: Path, origin: Origin) -> None:
    """A missing secret file is told by its path, before anything is fetched."""
    entry = {"kind": "hub", "endpoint": origin.url, "token_file": str(tmp_path / "missing"), "ca": None}
    status, out = said(spawn(tmp_path, origin.job(tmp_path / "cache", sources=[entry])))

    assert (1, f"{tmp_path}/missing: No such file or directory.") == (status, error_of(out))
    assert [] == list(tmp_path.glob("hermeion-pull-*"))


def test_leftovers_of_killed_pulls(tmp_path: Path, origin: Origin) -> None:
    """The private folder of a pull that was killed goes with the next one."""
    origin.turn(bodies=[{"path": SHARD, "bytes_per_second": MIB}])
    process = spawn(tmp_path, origin.job(tmp_path / "cache"))
    while not origin.asked(SHARD) and process.poll() is None:
        time.sleep(0.01)
    left = list(tmp_path.glob("hermeion-pull-*"))
    assert 1 == len(left)
    assert "700" == f"{left[0].stat().st_mode & 0o777:o}"
    process.send_signal(signal.SIGKILL)
    said(process)
    assert left == list(tmp_path.glob("hermeion-pull-*"))
    origin.turn()
    assert 0 == said(spawn(tmp_path, origin.job(tmp_path / "cache")))[0]
    assert [] == list(tmp_path.glob("hermeion-pull-*"))
