"""Docker's configuration and packages, as pure decisions."""

from __future__ import annotations

import json

from hermeion.errors import PlacementError
from hermeion.inventory import Mirrors
from hermeion.probe import Probe

PACKAGES = ("docker.io", "docker-cli", "docker-compose", "curl", "ca-certificates")
"""Debian 13's own Docker 26.1 and Compose 2.26."""

TOOLKIT_PACKAGES = ("nvidia-container-toolkit-base",)

CA_PATH = "/etc/hermeion/ca.pem"


def merged_daemon_json(name: str, text: str | None) -> str | None:
    """``daemon.json`` with CDI switched on, or ``None`` when it says so already. Other keys stay as they are.

    Raises:
        PlacementError: The file is not a JSON object, or ``features`` is not one: Docker would refuse it.
    """
    try:
        config = json.loads(text) if text and text.strip() else {}
        if not isinstance(config, dict) or not isinstance(config.get("features", {}), dict):
            raise TypeError("not a JSON object")
    except (ValueError, TypeError) as error:
        raise PlacementError(
            f"{name}: /etc/docker/daemon.json cannot be read ({error}). Repair it or move it away, run again."
        ) from error
    if config.get("features", {}).get("cdi") is True:
        return None
    config["features"] = {**config.get("features", {}), "cdi": True}
    return json.dumps(config, indent=2) + "\n"


def check_docker(name: str, probe: Probe) -> None:
    """Refuse a Docker that cannot hand out GPUs by CDI.

    Raises:
        PlacementError: Docker is older than 25, or would be: Debian 12's own is 20.10.
    """
    if probe.docker and int(probe.docker.split(".")[0]) < 25:
        raise PlacementError(
            f"{name}: Docker {probe.docker} knows no CDI, which needs 25 or newer. Upgrade it (Debian 13, or "
            "Docker's own repository), then run again."
        )
    if not probe.docker and (probe.os_id, probe.os_version) != ("debian", "13"):
        raise PlacementError(
            f"{name}: Docker is missing, and Hermeion installs it on Debian 13; this is {probe.os_id} "
            f"{probe.os_version}. Install Docker 25 or newer with Compose by hand, then run again."
        )
    if probe.docker and not probe.compose:
        raise PlacementError(
            f"{name}: Docker {probe.docker} is here without Compose (`docker compose version` fails). "
            "Install docker-compose-plugin (Docker's repository) or docker-compose (Debian), then run again."
        )


def registry_ca_path(mirrors: Mirrors) -> str | None:
    """Where Docker looks for the certificates of the mirror's registry."""
    return f"/etc/docker/certs.d/{mirrors.registry}/ca.crt" if mirrors.registry and mirrors.ca else None
