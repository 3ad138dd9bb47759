"""The NVIDIA driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def test_driver_answers(host: Any, plan: Mapping[str, Any]) -> None:
    """The driver answers and sees every planned GPU, by UUID and PCI address."""
    done = host.run("nvidia-smi --query-gpu=uuid,pci.bus_id --format=csv,noheader")
    assert 0 == done.rc, done.stdout
    seen = {}
    for row in done.stdout.splitlines():
        uuid, address = row.split(", ")
        seen[uuid] = address[4:].lower()  # eight digits of domain there, four in the plan
    assert {gpu["uuid"]: gpu["pci_address"] for gpu in plan["gpus"]}.items() <= seen.items()
