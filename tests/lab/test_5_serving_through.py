"""A host that serves goes through what can happen to its driver and its Docker: it answers all the time.

Each state is made on the living host, the deploy is run on it, and the host is left as it was. Meanwhile a unit on the
host asks the engine five times a second and writes down each question that was not answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab.conftest import INVENTORY, Lab

HOST = "gpu-1"
LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so"
MODULE = "/sys/module/nvidia/version"
ASK = (
    "while :; do curl -fsS -m 5 -o /dev/null http://127.0.0.1:8000/health || date +%T.%N >> /run/unanswered; "
    "echo >> /run/asked; sleep 0.2; done"
)


class Mishap(NamedTuple):
    """What happens to the host, what the deploy says of it, and how it is undone where the deploy does not do that."""

    happens: str
    said: str
    undone: str = "true"
    code: int = 0


MISHAPS = {
    "an upgrade without a reboot": Mishap(
        f"echo 580.126.09 > {MODULE}",
        "mind: a reboot is due: kernel module 580.126.09, libraries 580.178.04: an upgrade ran without a reboot; what "
        "runs goes on, and new containers get no GPU until then",
        f"echo 580.178.04 > {MODULE}",
    ),
    "NVML's library gone": Mishap(
        f"rm {LIBRARY}.1 {LIBRARY}.580.178.04; ldconfig",
        "driver: module 580.178.04 is loaded and libnvidia-ml.so is missing",
    ),
    "no GPU answers": Mishap(
        "mkdir -p /etc/hermeion-lab; touch /etc/hermeion-lab/no-devices",
        "refused: the driver answers and sees no GPU. Look into `dmesg | grep -i nvrm`.",
        "rm /etc/hermeion-lab/no-devices",
        code=1,
    ),
    "a package of somebody's half-configured": Mishap(
        "mkdir -p /root/p/DEBIAN; cd /root; printf '#!/bin/sh\\nexit 1\\n' > p/DEBIAN/postinst; "
        "printf 'Package: site-agent\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@y.z>\\nDescription: x\\n' "
        "> p/DEBIAN/control; chmod 755 p/DEBIAN p/DEBIAN/postinst; dpkg-deb -b p p.deb && ! dpkg -i p.deb",
        "refused: dpkg left site-agent iF half-configured, and every apt call fails until that is repaired",
        "dpkg --purge --force-all site-agent; rm -r /root/p /root/p.deb",
        code=1,
    ),
    "a stale specification of CDI": Mishap(
        "mkdir -p /etc/cdi && sed 's/580\\.178\\.04/550.163.01/g' /var/run/cdi/nvidia.yaml > /etc/cdi/nvidia.yaml",
        "runtime: /etc/cdi/nvidia.yaml, made by hand, names the same GPUs as /var/run/cdi/nvidia.yaml: it is moved",
        "rm /etc/cdi/nvidia.yaml.before-hermeion",
    ),
    "no specification of CDI": Mishap(
        "rm /var/run/cdi/nvidia.yaml", "runtime: There is no CDI specification of the GPUs"
    ),
    "a broken daemon.json": Mishap(
        "cp /etc/docker/daemon.json /root/; echo '{' > /etc/docker/daemon.json",
        "refused: /etc/docker/daemon.json cannot be used: line 1, column 2: Expecting property name",
        "mv /root/daemon.json /etc/docker/daemon.json",
        code=1,
    ),
    "somebody's keys in daemon.json": Mishap(
        'cp /etc/docker/daemon.json /root/; sed -i \'s/{/{"log-level": "warn", /\' /etc/docker/daemon.json',
        "nothing to do: hermes serves tiny-llama",
        "mv /root/daemon.json /etc/docker/daemon.json",
    ),
    "Docker's unit disabled": Mishap("systemctl disable -q docker", "runtime: Docker does not start at boot"),
    "the persistence daemon stopped": Mishap(
        "systemctl stop nvidia-persistenced",
        "mind: the persistence daemon does not run",
        "systemctl start nvidia-persistenced",
    ),
    "the system asks for a reboot": Mishap(
        "touch /run/reboot-required", "mind: the system asks for a reboot", "rm /run/reboot-required"
    ),
    "held packages": Mishap(
        "apt-mark hold nvidia-driver-cuda",
        "nothing to do: hermes serves tiny-llama",
        "apt-mark unhold nvidia-driver-cuda",
    ),
    "a newer kernel without a module": Mishap(
        "apt-get update -q && apt-get install -qy --no-install-recommends -o Dpkg::Use-Pty=0 "
        "$(apt-cache search --names-only '^linux-image-.*-next$' | cut -d' ' -f1) && "
        "! ls /lib/modules/*-next/updates/dkms/nvidia.ko* 2>/dev/null",
        "-next: after the next reboot no driver would answer",
    ),
}


@pytest.fixture(scope="module")
def serving(lab: Lab) -> Iterator[None]:
    """The host serves, and is asked from now on."""
    run = lab.pyinfra(INVENTORY, "-y", "--limit", HOST)
    assert run.code == 0, run.text
    lab.ssh(HOST, f"rm -f /run/asked /run/unanswered; systemd-run -q --unit=asking sh -c '{ASK}'")
    yield
    lab.ssh(HOST, "systemctl stop asking", check=False)


@pytest.mark.parametrize("name", MISHAPS)
def test_mishap(lab: Lab, serving: None, name: str) -> None:
    """The deploy says what is the matter, mends what it may, and the service is neither restarted nor interrupted."""
    mishap = MISHAPS[name]
    before = lab.ssh(HOST, "docker inspect -f '{{.Id}} {{.State.StartedAt}}' hermeion-hermes")
    lab.ssh(HOST, mishap.happens)
    try:
        run = lab.pyinfra(INVENTORY, "-y", "--limit", HOST)
    finally:
        lab.ssh(HOST, mishap.undone)

    assert mishap.said in run.text, run.text
    assert mishap.code == run.code, run.text
    assert before == lab.ssh(HOST, "docker inspect -f '{{.Id}} {{.State.StartedAt}}' hermeion-hermes")
    again = lab.pyinfra(INVENTORY, "-y", "--limit", HOST)
    assert "nothing to do: hermes serves tiny-llama" in again.text, again.text


def test_every_question_was_answered(lab: Lab, serving: None) -> None:
    """Through all of it the engine answered every time it was asked."""
    asked = int(lab.ssh(HOST, "wc -l < /run/asked"))
    assert asked > 10 * len(MISHAPS)
    assert "" == lab.ssh(HOST, "cat /run/unanswered 2>/dev/null || true")


def test_reboot_with_consent(lab: Lab, serving: None, tmp_path: Path) -> None:
    """A reboot that is due is made where the inventory lets services be interrupted; the run ends when they answer."""
    lab.ssh(HOST, f"systemctl stop asking; echo 580.126.09 > {MODULE}")
    run = lab.pyinfra(lab.inventory(tmp_path, HOST, hermes_disrupt=True), "-y")

    assert run.code == 0, run.text
    assert "rebooting: kernel module 580.126.09, libraries 580.178.04: an upgrade ran without a reboot" in run.text
    assert re.search(r"hermes answers again after \d", run.text), run.text
    assert "nothing to do: hermes serves tiny-llama" in lab.pyinfra(INVENTORY, "-y", "--limit", HOST).text
