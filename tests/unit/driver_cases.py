"""Hosts whose driver is decided on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hermeion.drivers import Need, decide_driver
from hermeion.hosts import reconcile
from hermeion.inventory import parse_host_spec
from hermeion.plans import DriverPlan
from hermeion.probe import Probe, parse_probe
from tests.unit.builders import NAME, probe_text

KERNEL = "6.12.48+deb13-amd64"
UBUNTU = ("ID=ubuntu", "ID_LIKE=debian", 'VERSION_ID="24.04"', "VERSION_CODENAME=noble")
UBUNTU_KERNEL = "6.8.0-51-generic"
BARE: dict[str, Any] = {"driver": None, "packages": {}}
DEBIAN_PACKAGES = (
    "nvidia-driver-pinning-580",
    f"linux-headers-{KERNEL}",
    "nvidia-kernel-open-dkms",
    "nvidia-driver-cuda",
    "nvidia-persistenced",
)
DEBIAN_UNITS = ("nvidia-persistenced",)
NVIDIA_DRIVER = {"nvidia-driver-cuda": "580.178.04-1", "nvidia-kernel-open-dkms": "580.178.04-1"}
UBUNTU_DRIVER = {
    "nvidia-utils-580-server": "580.178.04-0ubuntu0.24.04.1",
    "linux-modules-nvidia-580-server-open-generic": "6.8.0-51.52",
}
GUARDED = ["644 0:0 ab /etc/apt/apt.conf.d/51hermeion-nvidia"]
SWITCHES = [f"0000:8{index}:00.0 0x22a3 0x068000" for index in range(4)]
CUDA_13 = Need(
    service="hermes",
    image="vllm/vllm-openai:v0.33.0",
    cuda=(13, 0),
    branch=580,
    reason="needs CUDA 13.0 (driver 580 or newer)",
)


def host_probe(*, nouveau: bool = False, mok: bool = False, reboot_required: bool = False, **answers: Any) -> Probe:
    """A probe with what ``probe_text`` has no keyword for."""
    text = probe_text(**answers)
    if nouveau:
        text = text.replace(" 0x030200 - ", " 0x030200 nouveau ")
    more = ("mok=enrolled\n" if mok else "") + ("reboot_required=yes\n" if reboot_required else "")
    return parse_probe(text.replace("guest=", f"{more}guest=", 1).splitlines())


def decide(
    driver_spec: Mapping[str, Any] | None = None,
    keys: Mapping[str, Any] | None = None,
    *,
    needs: Sequence[Need] = (CUDA_13,),
    **answers: Any,
) -> DriverPlan:
    """The decision for a host with these answers.

    Args:
        driver_spec: ``hermes_driver`` of the inventory.
        keys: Other keys of the inventory.
    """
    spec = parse_host_spec(NAME, {"hermes_driver": dict(driver_spec or {}), **(keys or {})})
    probe = host_probe(**answers)
    return decide_driver(spec, reconcile(NAME, probe), probe, needs)


def ours(
    *, rows: Sequence[str] | None = None, packages: Mapping[str, str] | None = None, **answers: Any
) -> dict[str, Any]:
    """Answers of a host with a driver from NVIDIA's repository, in whatever state."""
    version = answers.get("driver", "580.95.05")
    given = {"packages": packages or {"nvidia-driver-cuda": f"{version}-1"}, **answers}
    return given if rows is None else {**given, "driver_rows": rows}
