"""The weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def test_weights_are_complete(host: Any, plan: Mapping[str, Any]) -> None:
    """Every file of the planned commit is there with the size that the finished pull recorded."""
    if plan.get("path"):
        names = plan["files"] or ["config.json"]
        assert [0] * len(names) == [host.run(f"test -s {plan['path']}/{name}").rc for name in names]
        return
    repo = f"models--{plan['repo'].replace('/', '--')}"
    snapshot = f"{plan['cache']}/hub/{repo}/snapshots/{plan['revision']}"
    there = set(host.check_output(f"find -L {snapshot} -type f -printf '%s %P\\n'").splitlines())
    manifests = host.check_output(f"cat {plan['cache']}/hermeion/{repo}@{plan['revision']}*.manifest").splitlines()
    assert set(manifests) <= there
    assert set(plan["files"]) <= {line.partition(" ")[2] for line in manifests}


def test_engine_cannot_write_the_weights(process: Any, plan: Mapping[str, Any]) -> None:
    """The engine cannot write to the weights."""
    inside = "/models/local" if plan.get("path") else "/models/hub"
    outside = plan.get("path") or f"{plan['cache']}/hub"
    folder = inside if process.contained else outside
    done = process.run(f"touch {folder}/x")
    assert done.rc != 0
    assert "ead-only file system" in done.stderr
