"""Two services on two GPUs of one host, deployed by a user with sudo; a change of one leaves the other alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import Lab, hermeion

HOST = "gpu-3"
SUDO = {"ssh_user": "admin", "_sudo": True}


def services(lab: Lab, **second: Any) -> dict[str, Any]:
    """Data of a host with two services."""
    (first,) = lab.service(name="one", port=8001)
    (other,) = lab.service(name="two", port=8002, **second)
    return SUDO | {"hermes_services": [first, other]}


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inventory of the host that has been deployed."""
    path = lab.inventory(tmp_path_factory.mktemp("two"), HOST, **services(lab))
    own = '{"log-level": "warn", "features": {"buildkit": true}}'
    lab.ssh(HOST, f"mkdir -p /etc/docker && echo '{own}' > /etc/docker/daemon.json")
    run = lab.pyinfra(path, "-y")
    assert run.code == 0, run.text
    return path


def test_each_container_has_its_own_gpu(lab: Lab, deployed: Path) -> None:
    """Each service has one GPU, and its container sees that one and not the other's."""
    seen = [
        lab.ssh(HOST, f"docker exec hermeion-{name} nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
        for name in ("one", "two")
    ]
    planned = [
        [gpu["uuid"] for gpu in json.loads(lab.ssh(HOST, f"cat /opt/hermeion/{name}/current/plan.json"))["gpus"]]
        for name in ("one", "two")
    ]
    assert planned == seen
    assert [len(gpus) for gpus in seen] == [1, 1]
    assert seen[0] != seen[1]


def test_daemon_json_is_merged(lab: Lab, deployed: Path) -> None:
    """What was in daemon.json before is still there beside CDI."""
    merged = json.loads(lab.ssh(HOST, "cat /etc/docker/daemon.json"))
    assert merged == {"log-level": "warn", "features": {"buildkit": True, "cdi": True}}


def test_verify_with_sudo(deployed: Path) -> None:
    """hermeion verify finds both services as planned, through sudo."""
    run = hermeion("verify", str(deployed), HOST)
    assert run.code == 0, run.text


def test_a_change_of_one_service_leaves_the_other_alone(lab: Lab, deployed: Path, tmp_path: Path) -> None:
    """A shorter context of one service restarts that one; the other keeps its container."""
    started = "docker inspect -f '{{.State.StartedAt}}' hermeion-"
    before = lab.ssh(HOST, started + "one"), lab.ssh(HOST, started + "two")
    run = lab.pyinfra(lab.inventory(tmp_path, HOST, **services(lab, context=2048)), "-y")
    assert run.code == 0, run.text
    assert set(run.report["seconds"]) == {"Service"}
    after = lab.ssh(HOST, started + "one"), lab.ssh(HOST, started + "two")
    assert before[0] == after[0]
    assert before[1] != after[1]
    plan = json.loads(lab.ssh(HOST, "cat /opt/hermeion/two/current/plan.json"))
    assert plan["context"] == 2048
