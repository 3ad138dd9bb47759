"""Real drivers out of Debian's and Ubuntu's archives: modules compiled, signed, installed and loaded; only the silicon
and the kernel's name are the lab's. The hosts stand in a lab of their own; its tests build on each other.

One module is compiled in full: 550 on Debian 13, which takes most of the time. By hand only, since each takes minutes
more: the same on a bare Debian 13, Debian 12's 535, and the open module's build on Debian 13 until it fails in
nvidia/nv-pci.c at ``pci_resize_resource``. Here that build is stopped at its beginning; what it leaves is the same.
"""

from __future__ import annotations

import lzma
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab.conftest import ROOT, Lab, Run, standing

NAME = "test-real"
HOSTS = {"debian": "1xL40S@trixie", "blackwell": "1xRTX5090@trixie", "ubuntu": "1xL40S@noble"}
UBUNTU = "http://archive.ubuntu.com/ubuntu"
SIGNED = "linux-modules-nvidia-580-server-open-"

SOURCES = "".join(
    f"Types: deb\\nURIs: http://deb.debian.org/{archive}\\nSuites: {suites}\\nComponents: main\\n"
    "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\\n\\n"
    for archive, suites in (("debian", "trixie trixie-updates"), ("debian-security", "trixie-security"))
)
DEBIAN = f"""set -eu
mkdir -p /etc/hermeion-lab
rm -f /etc/apt/sources.list
printf '{SOURCES}' > /etc/apt/sources.list.d/debian.sources
apt-get -q update > /dev/null
apt-cache show linux-headers-amd64 | sed -n 's/^Depends: linux-headers-\\([^ ]*\\) .*/\\1/p' | head -n 1 \\
  > /etc/hermeion-lab/kernel
"""
"""A Debian 13 as its installer leaves it, which runs the newest kernel that the archive has."""

OPEN = """set -u
mkdir -p /etc/dkms
echo 'MAKE[0]=false' > /etc/dkms/nvidia-current-open.conf
cd /etc/apt/sources.list.d
sed 's/main/main contrib non-free non-free-firmware/' debian.sources > site.sources
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends linux-headers-$(uname -r) nvidia-open-kernel-dkms
rm site.sources
apt-get -q update
"""
"""Somebody installs Debian's open module, which fails; the components that it came from are taken away again."""


def signed_kernel() -> str:
    """The newest 6.8 kernel for which Ubuntu's archive not only names a signed module but has it."""
    packed = httpx.get(f"{UBUNTU}/dists/noble-updates/restricted/binary-amd64/Packages.xz", timeout=60)
    index = lzma.decompress(packed.raise_for_status().content).decode()
    pattern = rf"^Package: {SIGNED}(6\.8\.0-(\d+)-generic)\n(?:.+\n)*?Filename: (.+)$"
    found = sorted(re.findall(pattern, index, re.MULTILINE), key=lambda row: int(row[1]), reverse=True)
    for kernel, _, path in found:
        if httpx.head(f"{UBUNTU}/{path}", timeout=60).status_code == 200:
            return str(kernel)
    pytest.fail("Ubuntu's archive has no signed module for any 6.8 kernel")


def prepare(lab: Lab, name: str) -> None:
    """Give a host its kernel; on one, the failing build begins."""
    if name == "ubuntu":
        knobs = {"kernel": signed_kernel(), "secure-boot": "1"}
        rows = [f"echo {value} > /etc/hermeion-lab/{knob}" for knob, value in knobs.items()]
        lab.ssh(name, "; ".join(["mkdir -p /etc/hermeion-lab", *rows]))
    else:
        lab.ssh(name, DEBIAN)
    lab.reboot(name)
    if name == "debian":
        lab.ssh(
            name, f"cat > /root/open.sh <<'END'\n{OPEN}\nEND\nsystemd-run --quiet --unit=site-open sh /root/open.sh"
        )


@pytest.fixture(scope="module")
def real() -> Iterator[Lab]:
    """Bare hosts that read public archives only, on kernels that these archives have modules or headers for."""
    wanted = [part for name, gpus in HOSTS.items() for part in ("--host", f"{name}={gpus}")]
    with standing(NAME, "--no-engine", *wanted) as lab:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: prepare(lab, name), HOSTS))
        yield lab


def apply(lab: Lab, folder: Path, name: str, **driver: Any) -> Run:
    """Apply an inventory that wants a driver and nothing else, from the archives that the host reads."""
    host = lab.host(name)
    data = {
        "ssh_hostname": host["address"],
        "ssh_user": lab.data["user"],
        "ssh_key": lab.data["key"],
        "ssh_known_hosts_file": lab.data["known_hosts"],
        "hermes_services": [],
        "hermes_driver": driver,
    }
    path = folder / "inventory.py"
    path.write_text(f"lab = [({name!r}, {data!r})]\n")
    # Not Lab.pyinfra: two of these run side by side.
    command = [str(Path(sys.executable).with_name("pyinfra")), str(path), "deploys/hermes.py", "-y"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600,
        check=False,
    )
    return Run(done.returncode, done.stdout)


def fingerprint(lab: Lab, name: str) -> str:
    """Everything on a host that a deploy would change."""
    commands = (
        "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'",
        "ls -laR /etc /opt | grep -v ' \\.\\.$'",
        "systemctl list-unit-files",
    )
    return lab.ssh(name, "; ".join(f"{command} | sha256sum" for command in commands))


def check_answers(lab: Lab, name: str, version: str, flavour: str) -> None:
    """A module of this version and flavour is loaded, nvidia-smi answers, and dpkg has nothing to complain of."""
    said = lab.ssh(
        name, "cat /proc/driver/nvidia/version; nvidia-smi --query-gpu=name,driver_version --format=csv,noheader"
    )
    assert f"NVRM version: NVIDIA UNIX {flavour}  {version}  " in said
    assert said.splitlines()[-1] == f"NVIDIA L40S, {version}"
    assert lab.ssh(name, "dpkg --audit; apt-get -q check >/dev/null") == ""


def check_nothing_to_do(lab: Lab, folder: Path, name: str, version: str, **driver: Any) -> None:
    """Another run leaves the driver alone, says so, and starts nothing."""
    before = lab.booted(name)
    run = apply(lab, folder, name, **driver)
    assert run.code == 0, run.text
    assert f"nothing to do: driver {version} answers and is new enough" in run.text
    assert "Starting operation" not in run.text
    assert before == lab.booted(name)


def test_debian_has_nothing_for_blackwell(real: Lab, tmp_path: Path) -> None:
    """Debian's driver is older than the GPU, which needs the open module, too: refused before anything is changed."""
    before = fingerprint(real, "blackwell")
    run = apply(real, tmp_path, "blackwell", source="distribution")
    assert run.code == 1, run.text
    assert "[blackwell] refused: Debian's own driver is 550.163.01, and NVIDIA GeForce RTX 5090 (10de:2b85)" in run.text
    assert before == fingerprint(real, "blackwell")


def test_a_failed_build_is_refused(real: Lab, tmp_path: Path) -> None:
    """A build of Debian's open module has failed; a run that may not repair that names it, and changes nothing."""
    deadline = time.monotonic() + 600
    while real.ssh("debian", "systemctl is-active site-open", check=False).strip() == "active":
        assert time.monotonic() < deadline, real.ssh("debian", "journalctl -u site-open -o cat | tail -n 20")
        time.sleep(1)
    assert "Bad return status for module build" in real.ssh("debian", "journalctl -u site-open -o cat")
    before = fingerprint(real, "debian")
    run = apply(real, tmp_path, "debian", source="distribution")
    assert run.code == 1, run.text
    assert "[debian] refused: dpkg left nvidia-open-kernel-dkms iF half-configured" in run.text
    assert "Set hermes_driver/repair to True" in run.text
    assert before == fingerprint(real, "debian")


@pytest.fixture(scope="module")
def repair(real: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Run]]:
    """The run that compiles, which leaves time for another."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(apply, real, tmp_path_factory.mktemp("repair"), "debian", source="distribution", repair=True)


@pytest.mark.usefixtures("repair")
def test_ubuntus_signed_module(real: Lab, tmp_path: Path) -> None:
    """Ubuntu's own driver comes with the module that Canonical signed, for the kernel that runs: no compiler, Secure
    Boot on, and the persistence daemon enabled although Ubuntu's unit cannot be."""
    run = apply(real, tmp_path, "ubuntu", source="auto")
    assert run.code == 0, run.text
    kernel = real.ssh("ubuntu", "uname -r").strip()
    packages = real.ssh("ubuntu", "dpkg-query -W -f '${db:Status-Abbrev}${Package} ${Version}\\n'")
    assert f"ii {SIGNED}{kernel} " in packages
    (version,) = re.findall(r"^ii nvidia-utils-580-server ([\d.]+)-", packages, re.MULTILINE)
    check_answers(real, "ubuntu", version, "Open Kernel Module for x86_64")
    assert not re.search(r"^ii (gcc|make|dkms) ", packages, re.MULTILINE)
    assert real.ssh("ubuntu", "modinfo -F signer nvidia").strip() == "Canonical Ltd. Kernel Module Signing"
    daemon = real.ssh(
        "ubuntu", "systemctl is-enabled nvidia-persistenced; systemctl show -p ExecStart nvidia-persistenced"
    )
    assert daemon.startswith("enabled\n")
    assert "--no-persistence-mode" not in daemon
    check_nothing_to_do(real, tmp_path, "ubuntu", version)


def test_a_failed_build_is_repaired(real: Lab, repair: Future[Run], tmp_path: Path) -> None:
    """With leave to repair it, the open package is purged, Debian's contrib and non-free are added to what the host
    reads, the proprietary module 550.163.01 is compiled for the running kernel, and the host converges."""
    run = repair.result()
    assert run.code == 0, run.text
    check_answers(real, "debian", "550.163.01", "x86_64 Kernel Module")
    kernel = real.ssh("debian", "uname -r").strip()
    assert f"nvidia-current/550.163.01, {kernel}, x86_64: installed" in real.ssh("debian", "dkms status")
    assert "nvidia-open-kernel-dkms" not in real.ssh("debian", "dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n'")
    check_nothing_to_do(real, tmp_path, "debian", "550.163.01", source="distribution", repair=True)
