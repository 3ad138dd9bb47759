"""What lies on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def test_every_wanted_service_has_a_release(host: Any, data: Mapping[str, Any]) -> None:
    """Every service that the inventory wants has a current release with a plan."""
    wanted = {service["name"] for service in data.get("hermes_services", ())}
    found = {name for name in wanted if host.file(f"/opt/hermeion/{name}/current/plan.json").is_file}
    assert wanted == found
