"""Docker's configuration and packages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hermeion.container_runtime import check_docker, merged_daemon_json, registry_ca_path
from hermeion.errors import PlacementError
from hermeion.inventory import Mirrors
from tests.unit.builders import make_probe


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        (None, {"features": {"cdi": True}}),
        ("", {"features": {"cdi": True}}),
        (" \n", {"features": {"cdi": True}}),
        ("{}", {"features": {"cdi": True}}),
        ('{"features": {"cdi": false}}', {"features": {"cdi": True}}),
        (
            '{"log-driver": "local", "features": {"buildkit": true}, "runtimes": {"nvidia": {"path": "x"}}}',
            {"log-driver": "local", "features": {"buildkit": True, "cdi": True}, "runtimes": {"nvidia": {"path": "x"}}},
        ),
    ],
)
def test_merge(text: str | None, merged: dict[str, Any]) -> None:
    """CDI is switched on and every other key stays."""
    assert merged == json.loads(merged_daemon_json("gpu-1", text) or "null")


@pytest.mark.parametrize("text", ['{"features": {"cdi": true}}', '{"features":{"cdi":true},"live-restore":true}'])
def test_nothing_to_merge(text: str) -> None:
    """A configuration that says it already is not written again."""
    assert None is merged_daemon_json("gpu-1", text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "not a JSON object"),
        ('{"features": []}', "not a JSON object"),
        ('{"features": null}', "not a JSON object"),
    ],
)
def test_refused_configuration(text: str, reason: str) -> None:
    """A file that Docker would refuse is not touched."""
    with pytest.raises(PlacementError) as caught:
        merged_daemon_json("gpu-1", text)

    assert f"gpu-1: /etc/docker/daemon.json cannot be read ({reason}). Repair it or move it away, run again." == str(
        caught.value
    )


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"docker": "20.10.24+dfsg1"},
            "gpu-1: Docker 20.10.24+dfsg1 knows no CDI, which needs 25 or newer. Upgrade it (Debian 13, or Docker's "
            "own repository), then run again.",
        ),
        (
            {"docker": None, "os": ("ID=debian", 'VERSION_ID="12"')},
            "gpu-1: Docker is missing, and Hermeion installs it on Debian 13; this is debian 12. "
            "Install Docker 25 or newer with Compose by hand, then run again.",
        ),
        (
            {"compose": None},
            "gpu-1: Docker 26.1.5+dfsg1 is here without Compose (`docker compose version` fails). "
            "Install docker-compose-plugin (Docker's repository) or docker-compose (Debian), then run again.",
        ),
    ],
)
def test_refused_docker(answers: dict[str, Any], message: str) -> None:
    """A Docker that cannot hand out GPUs is refused, with the next step."""
    with pytest.raises(PlacementError) as caught:
        check_docker("gpu-1", make_probe(**answers))

    assert message == str(caught.value)


@pytest.mark.parametrize("answers", [{}, {"docker": "25.0.0"}, {"docker": None, "compose": None}])
def test_docker_that_will_do(answers: dict[str, Any]) -> None:
    """Docker 25 and newer with Compose will do, and on Debian 13 a missing one is installed."""
    check_docker("gpu-1", make_probe(**answers))


@pytest.mark.parametrize(
    ("mirrors", "path"),
    [
        ({}, None),
        ({"registry": "mirror:5000"}, None),
        ({"ca": "/ca.pem"}, None),
        ({"registry": "mirror:5000", "ca": "/ca.pem"}, "/etc/docker/certs.d/mirror:5000/ca.crt"),
    ],
)
def test_registry_certificates(mirrors: dict[str, str], path: str | None) -> None:
    """Docker gets certificates for a mirror that has some of its own."""
    assert path == registry_ca_path(Mirrors.model_validate(mirrors))
