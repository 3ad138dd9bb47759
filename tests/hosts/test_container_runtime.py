"""Docker and CDI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


@pytest.mark.only(runtime="compose")
def test_cdi_lists_each_planned_gpu(host: Any, plan: Mapping[str, Any]) -> None:
    """CDI lists each planned GPU by UUID."""
    listed = host.run("nvidia-ctk cdi list").stdout.split()
    assert {f"nvidia.com/gpu={gpu['uuid']}" for gpu in plan["gpus"]} <= set(listed)


@pytest.mark.only(runtime="compose")
def test_cdi_lists_nothing_stale(host: Any, plan: Mapping[str, Any]) -> None:
    """Every GPU that CDI lists by UUID is one that the driver sees, and no file of a specification is missing."""
    assert plan["gpus"]
    listed = {name for name in host.run("nvidia-ctk cdi list").stdout.split() if "=GPU-" in name}
    seen = host.check_output("nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
    assert {f"nvidia.com/gpu={uuid}" for uuid in seen} == listed
    specifications = "cat /etc/cdi/*.yaml /var/run/cdi/*.yaml 2>/dev/null"
    paths = host.check_output(f"{specifications} | grep -o 'hostPath: *[^ ,}}]*' || true")
    for path in {line.split()[-1] for line in paths.splitlines()}:
        assert host.file(path).exists, path


@pytest.mark.only(runtime="compose")
def test_container_has_exactly_its_gpus(host: Any, plan: Mapping[str, Any]) -> None:
    """The container sees its planned GPUs and no other."""
    command = f"docker exec hermeion-{plan['name']} nvidia-smi --query-gpu=uuid --format=csv,noheader"
    assert {gpu["uuid"] for gpu in plan["gpus"]} == set(host.check_output(command).split())


@pytest.mark.only(runtime="compose")
def test_container_runs_the_planned_image(host: Any, plan: Mapping[str, Any]) -> None:
    """The container runs the planned image, by digest."""
    name = f"hermeion-{plan['name']}"
    image = host.check_output(f"docker inspect -f '{{{{.Image}}}}' {name}")
    digests = host.check_output(f"docker image inspect -f '{{{{join .RepoDigests \" \"}}}}' {image}")
    assert plan["image"]["digest"] in {digest.partition("@")[2] for digest in digests.split()}
