"""Who can reach and read what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def test_port_is_on_loopback_only(host: Any, plan: Mapping[str, Any]) -> None:
    """The port listens on 127.0.0.1 and nowhere else."""
    rows = host.check_output(f"ss -Hltn 'sport = :{plan['port']}'").splitlines()
    assert {f"127.0.0.1:{plan['port']}"} == {row.split()[3] for row in rows}


def test_models_refuses_without_the_key(api: Any) -> None:
    """/v1/models refuses who has no key."""
    status, _ = api.ask("/v1/models", key=False)
    assert 401 == status


def test_chat_refuses_without_the_key(api: Any, plan: Mapping[str, Any]) -> None:
    """A chat completion is refused to who has no key."""
    body = {"model": plan["served_names"][0], "messages": [{"role": "user", "content": "hello"}]}
    status, _ = api.ask("/v1/chat/completions", body, key=False)
    assert 401 == status


def test_keys_are_private(host: Any, plan: Mapping[str, Any]) -> None:
    """Only root reads the keys; only the engine's user reads its assembled configuration."""
    keys = host.file(f"/etc/hermeion/{plan['name']}/api-keys")
    config = host.file(f"/run/hermeion/{plan['name']}/engine.yaml")
    assert (0o600, 0, 0o400, 2000) == (keys.mode, keys.uid, config.mode, config.uid)


def test_key_is_not_in_argv_inspect_or_log(host: Any, plan: Mapping[str, Any]) -> None:
    """The key is in no command line, in nothing that `docker inspect` shows, and in no log."""
    name = f"hermeion-{plan['name']}"
    places = f"ps -eo args; docker inspect {name}; docker logs {name} 2>&1; journalctl -q -u {name}"
    assert "0" == host.run(f"{{ {places}; }} | grep -cFf /etc/hermeion/{plan['name']}/api-keys").stdout.strip()


def test_container_is_confined(host: Any, plan: Mapping[str, Any]) -> None:
    """The container runs as its own user, without capabilities, and cannot gain any."""
    form = "{{.Config.User}} {{.HostConfig.CapDrop}} {{.HostConfig.Privileged}} {{json .HostConfig.SecurityOpt}}"
    user, dropped, privileged, options = host.check_output(f"docker inspect -f '{form}' hermeion-{plan['name']}").split(
        " ", 3
    )
    assert ("2000:0", "[ALL]", "false") == (user, dropped, privileged)
    assert "no-new-privileges:true" in json.loads(options)
