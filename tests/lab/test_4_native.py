"""vLLM and llama.cpp natively under systemd, on a Debian 12 host that has no Docker and gets none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import Lab, hermeion, standing
from tests.lab.conversation import Talk, see_what_it_can

HOST = "gpu-1"
NAME = "test-native"


def services(lab: Lab, **small: Any) -> list[dict[str, Any]]:
    """A service of each engine, a GPU each."""
    (hermes,) = lab.service(port=8001, gpus=1, runtime="systemd", environment=lab.data["environment"]["vllm"])
    del hermes["image"]
    hermes["requirements"] = lab.data["requirements"]["vllm"]
    archive = lab.data["archives"]["llamacpp"]
    return [hermes, lab.gguf_service(port=8002, gpus=1, runtime="systemd", archive=archive, **small)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A Debian 12 host: the CPU build of PyTorch is for its Python."""
    with standing(NAME, "--native", "--host", f"{HOST}=2xRTX4090@bookworm") as raised:
        yield raised


@pytest.fixture(scope="module")
def native(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inventory of a host with both services, deployed."""
    path = lab.inventory(tmp_path_factory.mktemp("native"), HOST, hermes_services=services(lab))
    run = lab.pyinfra(path, "-y")
    assert run.code == 0, run.text
    return path


def test_verify_finds_everything_as_planned(lab: Lab, native: Path) -> None:
    """Every claim about both services is true, and no Docker was installed for them."""
    run = hermeion("verify", str(native), HOST, lab=NAME)
    assert run.code == 0, run.text
    assert "" == lab.ssh(HOST, "command -v docker || true")


@pytest.mark.parametrize(("service", "port"), [("hermes", 8001), ("small", 8002)])
def test_the_model_answers(lab: Lab, native: Path, service: str, port: int) -> None:
    """The engine chats, streams, splits the thought off and parses the tool call."""
    see_what_it_can(Talk(lab, HOST, service, port))


def test_twice_is_once(lab: Lab, native: Path) -> None:
    """A second run has nothing to do, and touches no process."""
    pids = "systemctl show -p MainPID --value hermeion-hermes hermeion-small"
    before = lab.ssh(HOST, pids)
    run = lab.pyinfra(native, "-y")
    assert "nothing to do: hermes serves" in run.text
    assert before == lab.ssh(HOST, pids)


def test_killed_engines_are_started_again(lab: Lab, native: Path) -> None:
    """The core of vLLM and llama-server itself are killed: systemd starts both again, and they answer."""
    lab.ssh(HOST, "pkill -9 -f '[V]LLM::EngineCore'; systemctl kill -s KILL hermeion-small")
    lab.wait(HOST, "systemctl show -p NRestarts --value hermeion-small", "1")
    lab.wait(HOST, "systemctl show -p NRestarts --value hermeion-hermes", "1")
    for port in (8001, 8002):
        lab.wait(HOST, lab.health(port), "200")


def test_start_limit_is_reached_and_reported(lab: Lab, native: Path) -> None:
    """An engine that dies again and again is left down after five starts; the next run says so and starts it."""
    unit = "hermeion-small.service"
    lab.kill_until_given_up(HOST, unit, f"systemctl kill -s KILL {unit}")
    run = lab.pyinfra(native, "-y")
    assert (
        f"[{HOST}] service: small: the unit is failed (systemd gave up: its engine died at 5 starts within an hour)"
        in run.text
    )
    assert run.code == 0, run.text
    assert "0" == lab.ssh(HOST, f"systemctl show -p NRestarts --value {unit}").strip()


def test_a_release_that_does_not_start_is_taken_back(lab: Lab, native: Path, tmp_path: Path) -> None:
    """A native engine that does not start: its last lines are shown, and the previous release serves again."""
    link = "readlink /opt/hermeion/small/current"
    before = lab.ssh(HOST, link)
    broken = services(lab, extra_args={"chat-template-file": "/no/such.jinja"})
    run = lab.pyinfra(lab.inventory(tmp_path, HOST, hermes_services=broken), "-y")
    assert run.code == 1, run.text
    assert "does not answer; its last lines:" in run.text
    assert "/no/such.jinja" in run.text
    assert f"the previous release {before.strip().removeprefix('releases/')} serves again" in run.text
    assert before == lab.ssh(HOST, link)


def test_a_reboot_brings_both_back(lab: Lab, native: Path) -> None:
    """After a reboot of the host both services come back by themselves, and the next run has nothing to do."""
    lab.reboot(HOST)
    for port in (8001, 8002):
        lab.wait(HOST, lab.health(port), "200")
    run = lab.pyinfra(native, "-y")
    assert "nothing to do" in run.text, run.text
