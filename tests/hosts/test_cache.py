"""The weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def test_weights_are_complete(host: Any, plan: Mapping[str, Any]) -> None:
    """Every file of the planned commit is there with the size that the finished pull recorded."""
    if plan.get("path"):
        assert host.run(f"test -s {plan['path']}/config.json").rc == 0
        return
    repo = f"models--{plan['repo'].replace('/', '--')}"
    snapshot = f"{plan['cache']}/hub/{repo}/snapshots/{plan['revision']}"
    manifest = f"{plan['cache']}/hermeion/{repo}@{plan['revision']}.manifest"
    there = host.check_output(f"find -L {snapshot} -type f -printf '%s %P\\n' | LC_ALL=C sort")
    assert host.file(manifest).content_string.strip() == there


def test_container_cannot_write_the_weights(host: Any, plan: Mapping[str, Any]) -> None:
    """The container cannot write to the weights."""
    folder = "/models/local" if plan.get("path") else "/models/hub"
    assert host.run(f"docker exec hermeion-{plan['name']} touch {folder}/x").rc != 0
