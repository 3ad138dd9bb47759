"""Who can reach and read what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

WITH_KEYS = ("vllm", "sglang", "llamacpp")
USERS = {"vllm": "2000:0", "llamacpp": "2000:0", "ollama": "2000:0", "sglang": "0:0"}
"""Who an engine's container runs as: SGLang's image is made for root."""


def test_port_is_on_loopback_only(host: Any, plan: Mapping[str, Any]) -> None:
    """The port listens on 127.0.0.1 and nowhere else."""
    rows = host.check_output(f"ss -Hltn 'sport = :{plan['port']}'").splitlines()
    assert {f"127.0.0.1:{plan['port']}"} == {row.split()[3] for row in rows}


@pytest.mark.only(engine=WITH_KEYS)
def test_models_refuses_without_the_key(api: Any) -> None:
    """/v1/models refuses who has no key."""
    status, _ = api.ask("/v1/models", key=False)
    assert 401 == status


@pytest.mark.only(engine=WITH_KEYS)
def test_chat_refuses_without_the_key(api: Any, plan: Mapping[str, Any]) -> None:
    """A chat completion is refused to who has no key."""
    body = {"model": plan["served_names"][0], "messages": [{"role": "user", "content": "hello"}]}
    status, _ = api.ask("/v1/chat/completions", body, key=False)
    assert 401 == status


def test_keys_are_private(host: Any, plan: Mapping[str, Any]) -> None:
    """Only root reads the keys."""
    keys = host.file(f"/etc/hermeion/{plan['name']}/api-keys")
    assert (0o600, 0) == (keys.mode, keys.uid)


@pytest.mark.only(runtime="compose", engine=WITH_KEYS)
def test_what_the_container_reads_is_private(host: Any, plan: Mapping[str, Any]) -> None:
    """What the container reads with keys in it is the engine's alone."""
    name = "api-keys" if plan["engine"] == "llamacpp" else "engine.yaml"
    file = host.file(f"/run/hermeion/{plan['name']}/{name}")
    assert (0o400, int(USERS[plan["engine"]].split(":")[0])) == (file.mode, file.uid)


@pytest.mark.only(runtime="systemd", engine=WITH_KEYS)
def test_what_the_process_reads_is_private(host: Any, process: Any, plan: Mapping[str, Any]) -> None:
    """What the process reads with keys in it lies where nobody else reaches."""
    name = f"hermeion-{plan['name']}"
    folders = [f"/run/credentials/{name}.service", f"/run/private/{name}"]
    uid = host.check_output(f"stat -c %u /proc/{process.pid}")
    for folder in folders:
        if host.file(folder).exists:
            done = host.run(f"setpriv --reuid 65533 --clear-groups ls {folder}")
            assert done.rc != 0, f"{folder} is open to others"
    assert "0" != uid


@pytest.mark.only(engine=WITH_KEYS)
def test_key_is_not_in_argv_inspect_or_log(host: Any, plan: Mapping[str, Any]) -> None:
    """The key is in no command line, in nothing that `docker inspect` shows, and in no log."""
    name = f"hermeion-{plan['name']}"
    places = f"ps -eo args; journalctl -q -u {name}; systemctl show {name}"
    if plan.get("runtime", "compose") == "compose":
        places += f"; docker inspect {name}; docker logs {name} 2>&1"
    assert "0" == host.run(f"{{ {places}; }} | grep -cFf /etc/hermeion/{plan['name']}/api-keys").stdout.strip()


@pytest.mark.only(runtime="compose")
def test_container_is_confined(host: Any, plan: Mapping[str, Any]) -> None:
    """The container runs as its own user, without capabilities, and cannot gain any."""
    form = "{{.Config.User}} {{.HostConfig.CapDrop}} {{.HostConfig.Privileged}} {{json .HostConfig.SecurityOpt}}"
    user, dropped, privileged, options = host.check_output(f"docker inspect -f '{form}' hermeion-{plan['name']}").split(
        " ", 3
    )
    assert (USERS[plan["engine"]], "[ALL]", "false") == (user, dropped, privileged)
    assert "no-new-privileges:true" in json.loads(options)


@pytest.mark.only(runtime="systemd")
def test_process_is_confined(host: Any, process: Any) -> None:
    """The process runs as a user of its own, without capabilities, and cannot gain any."""
    rows = host.check_output(f"cat /proc/{process.pid}/status").splitlines()
    status = {name: value.split() for name, _, value in (row.partition(":") for row in rows)}
    assert "0" not in status["Uid"]
    assert (["0" * 16], ["0" * 16], ["1"], ["2"]) == (
        status["CapEff"],
        status["CapBnd"],
        status["NoNewPrivs"],
        status["Seccomp"],
    )
