"""The weights."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from typing import Any

import pytest


class Weights:
    """Where a service's weights are on its host; every path is quoted for a shell."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        repo = f"models--{plan['repo'].replace('/', '--')}"
        files = "\n".join(plan["files"]).encode()
        mark = f"+{hashlib.sha256(files).hexdigest()[:8]}" if files else ""
        self.folder = shlex.quote(f"{plan['cache']}/hub/{repo}")
        self.snapshot = shlex.quote(f"{plan['cache']}/hub/{repo}/snapshots/{plan['revision']}")
        self.records = shlex.quote(f"{plan['cache']}/hermeion")
        self.manifest = shlex.quote(f"{plan['cache']}/hermeion/{repo}@{plan['revision']}{mark}.manifest")
        self.repo = shlex.quote(repo)


def recorded(host: Any, weights: Weights) -> dict[str, str]:
    """Time and size by path, as they were when every byte was checked."""
    rows = (line.split(" ", 3) for line in host.check_output(f"cat {weights.manifest}").splitlines())
    return {path: f"{time} {size}" for _, time, size, path in rows}


def test_weights_are_complete(host: Any, plan: Mapping[str, Any]) -> None:
    """Every file of the planned commit is there, with the size and time that it had when it was checked."""
    if plan.get("path"):
        names = plan["files"] or ["config.json"]
        assert [0] * len(names) == [host.run(f"test -s {plan['path']}/{name}").rc for name in names]
        return
    weights = Weights(plan)
    rows = host.check_output(f"find -L {weights.snapshot} -type f -printf '%T@ %s %P\\n'").splitlines()
    there = {path: f"{time} {size}" for time, size, path in (row.split(" ", 2) for row in rows)}
    wanted = recorded(host, weights)
    assert wanted == {path: stamp for path, stamp in there.items() if path in wanted}
    assert wanted
    assert set(plan["files"]) <= set(wanted)


@pytest.mark.only(path=(None,))
def test_a_ref_names_the_commit(host: Any, plan: Mapping[str, Any]) -> None:
    """A branch in the cache stands at the planned commit, or the Hub's client would prune it."""
    weights = Weights(plan)
    found = host.run(f"grep -rlxF {plan['revision']} {weights.folder}/refs")
    assert (0, True) == (found.rc, bool(found.stdout.strip()))


@pytest.mark.only(path=(None,))
def test_nothing_is_left_of_a_pull(host: Any, plan: Mapping[str, Any]) -> None:
    """No half-fetched file lies in the cache, unless a pull of the repository is running."""
    weights = Weights(plan)
    # Who pulls, on whichever host that has this cache, touches its mark every few seconds.
    if host.check_output(f"find {weights.records} -maxdepth 1 -name {weights.repo}'@*.lock' -mmin -1"):
        return
    left = (
        f"find {weights.folder} -name '*.incomplete'; find {weights.records} -maxdepth 1 -name {weights.repo}'@*.lock'"
    )
    assert not host.check_output(left)


@pytest.mark.only(path=(None,))
def test_nobody_else_can_write_the_weights(host: Any, plan: Mapping[str, Any]) -> None:
    """No file or folder of the weights, nor of what is recorded about them, can be written by everybody."""
    weights = Weights(plan)
    assert not host.check_output(f"find {weights.folder} {weights.records} ! -type l -perm -o+w")


@pytest.mark.only(path=(None,))
def test_engine_can_read_the_weights(host: Any, process: Any, plan: Mapping[str, Any]) -> None:
    """The engine's user can read every file of the planned commit."""
    weights = Weights(plan)
    hub = "/models/hub" if process.contained else f"{plan['cache']}/hub"
    folder = f"{hub}/models--{plan['repo'].replace('/', '--')}/snapshots/{plan['revision']}"
    names = " ".join(shlex.quote(f"{folder}/{path}") for path in recorded(host, weights))
    read = f'for file in {names}; do head -c 1 "$file" > /dev/null || echo "$file"; done'
    user = ""
    if not process.contained:  # what enters the engine's view of the files would be root there
        ids = host.check_output(
            f"sed -n 's/^[UG]id:[[:blank:]]*\\([0-9]*\\).*/\\1/p' /proc/{process.pid}/status"
        ).split()
        user = f"setpriv --reuid={ids[0]} --regid={ids[1]} --clear-groups "
    done = process.run(f"{user}sh -c {shlex.quote(read)}")
    assert (0, "") == (done.rc, done.stdout)


def test_engine_cannot_write_the_weights(process: Any, plan: Mapping[str, Any]) -> None:
    """The engine cannot write to the weights."""
    inside = "/models/local" if plan.get("path") else "/models/hub"
    outside = plan.get("path") or f"{plan['cache']}/hub"
    folder = inside if process.contained else outside
    done = process.run(f"touch {folder}/x")
    assert done.rc != 0
    assert "ead-only file system" in done.stderr
