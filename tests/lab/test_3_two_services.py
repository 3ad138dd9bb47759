"""Two services, vLLM and llama.cpp, on two GPUs of one host, deployed by a user with sudo; a change of one leaves the
other alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.lab.conftest import LAB, Lab, hermeion
from tests.lab.conversation import Talk, see_what_it_can

HOST = "gpu-3"
SUDO = {"ssh_user": "admin", "_sudo": True}


def services(lab: Lab, **second: Any) -> dict[str, Any]:
    """Data of a host with two services."""
    (first,) = lab.service(name="one", port=8001)
    other = lab.gguf_service(name="two", port=8002, gpus=1, image=lab.data["images"]["llamacpp"], **second)
    return SUDO | {"hermes_services": [first, other]}


class Deployed(NamedTuple):
    """The inventory that was deployed, what the run said, and the one before it, which might not replace the driver."""

    inventory: Path
    refused: str
    said: str


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """A host with somebody's driver 550, deployed on with the right to upgrade it."""
    assert hermeion("lab", "enter", HOST, "driver-old", "--name", LAB).code == 0
    folder = tmp_path_factory.mktemp("two")
    own = '{"log-level": "warn", "features": {"buildkit": true}}'
    lab.ssh(HOST, f"mkdir -p /etc/docker && echo '{own}' > /etc/docker/daemon.json")
    refused = lab.pyinfra(lab.inventory(folder, HOST, **services(lab)), "-y")
    path = lab.inventory(folder, HOST, **services(lab), hermes_driver={"upgrade": True})
    run = lab.pyinfra(path, "-y")
    assert run.code == 0, run.text
    return Deployed(path, refused.text, run.text)


def test_a_driver_that_is_too_old_is_replaced_on_request(lab: Lab, deployed: Deployed) -> None:
    """A healthy driver that is too old for the image is refused with the key that allows its upgrade, and upgraded."""
    assert (
        f"[{HOST}] refused: driver 550.163.01 is healthy, but vllm/vllm-openai:v0.32.0 needs CUDA 13.0 (driver 580 or "
        "newer). Set hermes_driver/upgrade to True to move to 580 (the host reboots), or choose an older image."
        in deployed.refused
    )
    assert f"[{HOST}] driver: driver 550.163.01 is healthy, but vllm/vllm-openai:v0.32.0 needs CUDA 13" in deployed.said
    assert "580.178.04" == lab.ssh(HOST, "cat /sys/module/nvidia/version").strip()


def test_each_container_has_its_own_gpu(lab: Lab, deployed: Deployed) -> None:
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


def test_daemon_json_is_merged(lab: Lab, deployed: Deployed) -> None:
    """What was in daemon.json before is still there beside CDI."""
    merged = json.loads(lab.ssh(HOST, "cat /etc/docker/daemon.json"))
    assert merged == {"log-level": "warn", "features": {"buildkit": True, "cdi": True}}


def test_llamacpp_does_all_that_vllm_does(lab: Lab, deployed: Deployed) -> None:
    """Real llama-server in a container chats, streams, splits the thought off and parses the tool call."""
    see_what_it_can(Talk(lab, HOST, "two", 8002))


def test_verify_with_sudo(deployed: Deployed) -> None:
    """hermeion verify finds both services as planned, through sudo."""
    run = hermeion("verify", str(deployed.inventory), HOST)
    assert run.code == 0, run.text


def test_a_killed_llama_server_is_started_again(lab: Lab, deployed: Deployed) -> None:
    """llama-server is killed in its container: systemd starts it again, and it answers."""
    lab.ssh(HOST, "docker kill -s KILL hermeion-two")
    lab.wait(HOST, "systemctl show -p NRestarts --value hermeion-two", "1")
    lab.wait(HOST, lab.health(8002), "200")


def test_start_limit_of_a_container_is_reached_and_reported(lab: Lab, deployed: Deployed) -> None:
    """A container that dies again and again is left down after five starts; the next run says so and starts it."""
    lab.kill_until_given_up(HOST, "hermeion-two.service", "docker kill -s KILL hermeion-two")
    run = lab.pyinfra(deployed.inventory, "-y")
    assert (
        f"[{HOST}] service: two: the unit is failed (systemd gave up: its engine died at 5 starts within an hour)"
        in run.text
    )
    assert run.code == 0, run.text


def test_a_reboot_brings_both_engines_back(lab: Lab, deployed: Deployed) -> None:
    """After a reboot of the host both containers come back by themselves."""
    lab.reboot(HOST)
    for port in (8001, 8002):
        lab.wait(HOST, lab.health(port), "200")
    assert "nothing to do" in lab.pyinfra(deployed.inventory, "-y").text


def test_a_change_of_one_service_leaves_the_other_alone(lab: Lab, deployed: Deployed, tmp_path: Path) -> None:
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
