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


def test_module_and_libraries_agree(host: Any) -> None:
    """The loaded module and the libraries on disk are of one version: new containers find what they need."""
    library = host.check_output("readlink -f \"$(ldconfig -p | sed -n 's/.*libnvidia-ml.so.1.*=> //p' | head -n 1)\"")
    assert host.file("/sys/module/nvidia/version").content_string.strip() == library.rpartition(".so.")[2]


def test_next_boot_has_the_module(host: Any) -> None:
    """The kernel that the next boot takes has a module of NVIDIA's."""
    kernels = host.check_output(
        'for k in /lib/modules/*; do k=${k##*/}; [ "$k" = "$(uname -r)" ] || [ -e /boot/vmlinuz-$k ] || '
        "[ -e /lib/modules/$k/vmlinuz ] || continue; echo $k; done | sort -V"
    ).split()
    assert host.check_output(f"find /lib/modules/{kernels[-1]} -name 'nvidia*.ko*'"), f"none for {kernels[-1]}"


def test_packages_are_whole(host: Any) -> None:
    """No package is left half-configured, so that every other installation works."""
    assert "" == host.check_output("if command -v dpkg >/dev/null; then dpkg --audit; fi")


def test_gpus_stay_initialised(host: Any) -> None:
    """The persistence daemon runs and starts at boot."""
    daemon = host.service("nvidia-persistenced")
    assert (True, True) == (daemon.is_running, daemon.is_enabled)


def test_fabric_is_complete(host: Any) -> None:
    """Where NVSwitches are, the fabric manager has joined every GPU to its fabric."""
    switches = host.check_output("grep -l '^0x0680' /sys/bus/pci/devices/*/class 2>/dev/null | wc -l")
    if switches == "0":
        return  # nothing to join
    states = host.check_output("nvidia-smi --query-gpu=fabric.state --format=csv,noheader").splitlines()
    assert {"Completed"} == set(states)
