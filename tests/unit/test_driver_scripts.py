"""The script of the driver stage, for every distribution: as a whole, and run where a stand-in can play the host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hermeion.inventory import HostSpec
from hermeion.plans import DriverPlan, Plan
from hermeion.probe import Probe
from hermeion.scripts.driver import driver_script
from tests.unit.builders import NAME, make_probe, make_spec
from tests.unit.conftest import Compare
from tests.unit.hosts import decoded

KEYS = {
    f"{kind}/{name}": f"key {kind}/{name}\n"
    for kind in ("apt", "rpm")
    for name in ("nvidia", "toolkit", "docker", "distribution", "epel")
}
CA = "certificate\n"
MIRRORS: dict[str, Any] = {
    "apt": {
        "nvidia": {"url": "https://apt.mirror/nvidia/", "key": "k"},
        "distribution": {"url": "https://apt.mirror/debian/", "suites": ["trixie", "trixie-security"]},
    },
    "rpm": {
        "nvidia": {"url": "https://rpm.mirror/cuda/", "key": "k"},
        "epel": {"url": "https://rpm.mirror/epel/", "key": "k"},
    },
    "ca": "ca.pem",
}


class System(NamedTuple):
    """A distribution, with the kernel that it runs."""

    id: str
    version: str
    codename: str
    kernel: str

    @property
    def answers(self) -> dict[str, Any]:
        """What its probe says."""
        return {
            "os": (f"ID={self.id}", f'VERSION_ID="{self.version}"', f"VERSION_CODENAME={self.codename}"),
            "kernel": self.kernel,
            "tools": ("curl", "systemctl", "dnf" if self.id in {"rhel", "rocky", "almalinux"} else "apt-get"),
        }


DEBIAN_12 = System("debian", "12", "bookworm", "6.1.0-40-amd64")
DEBIAN_13 = System("debian", "13", "trixie", "6.12.48+deb13-amd64")
UBUNTU_22 = System("ubuntu", "22.04", "jammy", "5.15.0-160-generic")
UBUNTU_24 = System("ubuntu", "24.04", "noble", "6.8.0-85-generic")
UBUNTU_26 = System("ubuntu", "26.04", "resolute", "7.0.0-14-generic")
RHEL_8 = System("rhel", "8.10", "", "4.18.0-553.el8_10.x86_64")
ROCKY_9 = System("rocky", "9.6", "", "5.14.0-570.el9_6.x86_64")
ALMA_10 = System("almalinux", "10.0", "", "6.12.0-55.el10_0.x86_64")


def nvidia_on_debian(system: System, *more: str) -> tuple[str, ...]:
    """Packages of NVIDIA's repository for Debian."""
    return (
        "nvidia-driver-pinning-580",
        f"linux-headers-{system.kernel}",
        "nvidia-kernel-open-dkms",
        "nvidia-driver-cuda",
        "nvidia-persistenced",
        *more,
    )


def nvidia_on_rhel(system: System, first: str) -> tuple[str, ...]:
    """Packages of NVIDIA's repository for RHEL and its kin."""
    matched = () if system.version.startswith("8") else ("kernel-devel-matched",)
    headers = (f"kernel-devel-{system.kernel}", *matched)
    return (first, *headers, "dkms", "kmod-nvidia-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced")


def signed_on_ubuntu(system: System) -> tuple[str, ...]:
    """Packages of Ubuntu's archive with the module that Canonical signed."""
    return (
        f"linux-modules-nvidia-580-server-open-{system.kernel.rpartition('-')[2]}",
        "nvidia-headless-no-dkms-580-server-open",
        "nvidia-utils-580-server",
    )


class Case(NamedTuple):
    """A host, its plan, its mirrors."""

    system: System
    packages: tuple[str, ...]
    changes: Mapping[str, Any] = {}
    mirrors: Mapping[str, Any] = {}


CASES = {
    "debian-12": Case(DEBIAN_12, nvidia_on_debian(DEBIAN_12)),
    "debian-13": Case(DEBIAN_13, nvidia_on_debian(DEBIAN_13)),
    "debian-13-mirrors": Case(DEBIAN_13, nvidia_on_debian(DEBIAN_13), mirrors=MIRRORS),
    "debian-13-fabric": Case(
        DEBIAN_13,
        nvidia_on_debian(DEBIAN_13, "nvidia-fabricmanager"),
        {"units": ("nvidia-persistenced", "nvidia-fabricmanager")},
    ),
    "debian-13-upgrade": Case(
        DEBIAN_13,
        nvidia_on_debian(DEBIAN_13),
        {"action": "upgrade", "reboot": "driver 550.163.01 is loaded, and another one is installed"},
    ),
    "debian-13-repair": Case(
        DEBIAN_13,
        nvidia_on_debian(DEBIAN_13),
        {"action": "repair", "purge": ("nvidia-open-kernel-dkms",), "finish": True},
    ),
    "debian-13-archive": Case(
        DEBIAN_13,
        (f"linux-headers-{DEBIAN_13.kernel}", "nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1"),
        {"source": "debian", "flavour": "proprietary", "branch": 550},
    ),
    "ubuntu-22.04": Case(UBUNTU_22, signed_on_ubuntu(UBUNTU_22), {"source": "ubuntu"}),
    "ubuntu-24.04": Case(UBUNTU_24, signed_on_ubuntu(UBUNTU_24), {"source": "ubuntu"}),
    "ubuntu-24.04-nvidia": Case(
        UBUNTU_24,
        (
            "nvidia-driver-pinning-580",
            f"linux-headers-{UBUNTU_24.kernel}",
            "nvidia-dkms-580-open",
            "libnvidia-compute-580",
            "nvidia-utils-580",
        ),
    ),
    "ubuntu-26.04": Case(UBUNTU_26, signed_on_ubuntu(UBUNTU_26), {"source": "ubuntu"}),
    "rhel-8": Case(RHEL_8, nvidia_on_rhel(RHEL_8, "module:nvidia-driver:580-open")),
    "rocky-9": Case(ROCKY_9, nvidia_on_rhel(ROCKY_9, "module:nvidia-driver:580-open")),
    "rocky-9-mirrors": Case(ROCKY_9, nvidia_on_rhel(ROCKY_9, "module:nvidia-driver:580-open"), mirrors=MIRRORS),
    "almalinux-10": Case(ALMA_10, nvidia_on_rhel(ALMA_10, "versionlock:580")),
}


def script_of(case: Case) -> str:
    """The driver's script of a case."""
    values: dict[str, Any] = {
        "action": "install",
        "reason": "no driver answers",
        "branch": 580,
        "flavour": "open",
        "source": "nvidia",
        "packages": case.packages,
        "units": ("nvidia-persistenced",),
    }
    plan = Plan(host=NAME, driver=DriverPlan(**values | dict(case.changes)), services=())
    spec: HostSpec = make_spec(hermes_mirrors=dict(case.mirrors))
    probe: Probe = make_probe(driver=None, **case.system.answers)
    return driver_script(spec, plan, probe, ca=CA if case.mirrors else None, keys=KEYS)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, golden: Compare) -> None:
    """The whole script of each distribution is as it was looked at, with the files that it writes as text."""
    golden(f"drivers/{name}.sh", decoded(script_of(CASES[name])))


@pytest.mark.parametrize("name", CASES)
def test_every_script_is_shell(name: str) -> None:
    """The shell reads every script, and stops at the first error and at an unset variable."""
    script = script_of(CASES[name])
    done = subprocess.run(["sh", "-n", "-s"], input=script, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert script.startswith("set -eu\n")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed on this machine")
@pytest.mark.parametrize("name", CASES)
def test_shellcheck_finds_nothing(name: str) -> None:
    """No script has a habit that shellcheck warns of."""
    command = [
        "shellcheck",
        "-s",
        "dash",
        "-S",
        "warning",
        "-e",
        "SC2174",
        "-",
    ]  # jobs.py: only the last folder is ours
    done = subprocess.run(command, input=script_of(CASES[name]), capture_output=True, text=True, check=False)

    assert "" == done.stdout


class Host:
    """A folder that plays a host: its programs are stand-ins, its paths begin at the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"
        self.tool("apt-cache", 'case "$*" in *search*) echo "linux-headers-6.12.99+deb13-amd64 - x" ;;'
                  ' *policy*) printf "x:\\n  Candidate: 580.178.04-1\\n" ;; esac')  # fmt: skip
        for name in (
            "apt-get",
            "dpkg",
            "curl",
            "systemctl",
            "sync",
            "chown",
            "dpkg-query",
            "modinfo",
            "dkms",
            "modprobe",
        ):
            self.tool(name)
        self.tool("dkms", 'echo "nvidia/580.178.04, $3, x86_64: installed"')
        self.tool("uname", "echo 6.12.48+deb13-amd64")
        self.tool("sha256sum")
        for path in ("etc/apt/sources.list.d", "lib/modules", "boot", "tmp", "run/hermeion"):
            (folder / path).mkdir(parents=True)

    def tool(self, name: str, text: str = "") -> None:
        """A stand-in that notes its call."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{text}\n')
        path.chmod(0o755)

    def run(self, script: str, *, until: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script here; ``until`` ends it, as if it were killed, before the first line with this beginning."""
        if until:
            at = re.search(rf"^{re.escape(until)}", script, re.MULTILINE)
            assert at, until
            script = f"{script[: at.start()]}kill -9 $$\n"
        for root in (
            "/etc/",
            "/var/",
            "/run/hermeion",
            "/lib/modules",
            "/boot/",
            "/sys/module",
            "/usr/lib/modprobe.d",
            "/lib/modprobe.d",
            "/usr/lib/systemd",
            "/lib/systemd",
        ):
            script = re.sub(rf"(?<![\w/]){re.escape(root)}", f"{self.folder}{root}", script)
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "TMPDIR": f"{self.folder}/tmp"}
        return subprocess.run(
            ["sh", "-s"], input=script, capture_output=True, text=True, check=False, env=environment, timeout=60
        )

    @property
    def marker(self) -> Path:
        """The note that a transaction runs."""
        return self.folder / "var/lib/hermeion/driver-transaction"

    def calls(self, beginning: str) -> list[str]:
        """What was called, of the calls that begin so."""
        rows = self.log.read_text().splitlines() if self.log.exists() else []
        return [row for row in rows if row.startswith(beginning)]

    def installs(self) -> list[list[str]]:
        """Packages of each installation that was not a simulation."""
        calls = [row for row in self.calls("apt-get") if " install " in row and " -s " not in row]
        return [[word for word in row.partition(" install ")[2].split() if not word.startswith("-")] for row in calls]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A bare Debian 13."""
    return Host(tmp_path)


def test_installation(host: Host) -> None:
    """The pin comes first, then everything else in one transaction; units, module, and a last line follow."""
    done = host.run(script_of(CASES["debian-13-mirrors"]))

    assert (0, "") == (done.returncode, done.stderr)
    packages = [
        "nvidia-kernel-open-dkms",
        "nvidia-driver-cuda",
        "nvidia-persistenced",
        "linux-headers-6.12.48+deb13-amd64",
    ]
    assert [["nvidia-driver-pinning-580"], packages] == host.installs()
    assert ["modprobe nvidia"] == host.calls("modprobe")
    assert "systemctl enable --quiet --no-reload nvidia-persistenced" in host.calls("systemctl")
    assert "no reboot is needed" == done.stdout.splitlines()[-1]
    assert not host.marker.exists()


def test_planned_reboot(host: Host) -> None:
    """Where a reboot follows for certain, the module is not touched, and the last line says why."""
    changes = {"reboot": "nouveau holds the GPUs"}
    done = host.run(script_of(CASES["debian-13-mirrors"]._replace(changes=changes)))

    assert [] == host.calls("modprobe")
    assert "a reboot is needed: nouveau holds the GPUs" == done.stdout.splitlines()[-1]


@pytest.mark.parametrize("until", ["apt update", "apt install -y --no-install-recommends nvidia-driver-pinning", "# shellcheck disable=SC2086 # words\nif ! said", "why=$(check_builds)", "systemctl enable"])  # fmt: skip  # noqa: E501
def test_killed_anywhere(host: Host, until: str) -> None:
    """A run that is killed leaves its marker with its plan; the next one, which finishes it first, ends as usual."""
    case = CASES["debian-13-mirrors"]
    host.run(script_of(case), until=until)

    assert '"branch": 580' in host.marker.read_text()

    done = host.run(script_of(case._replace(changes={"finish": True})))

    assert (0, "") == (done.returncode, done.stderr)
    assert "dpkg --configure -a" in host.calls("dpkg")
    assert not host.marker.exists()


def test_headers_that_are_gone(host: Host) -> None:
    """Without headers for the running kernel nothing is changed, and one sentence names the newest kernel."""
    host.tool("apt-cache", 'case "$*" in *search*) echo "linux-headers-6.12.99+deb13-amd64 - x" ;; esac')
    done = host.run(script_of(CASES["debian-13-mirrors"]))

    assert 1 == done.returncode
    assert (
        f"##error {NAME}: the running kernel 6.12.48+deb13-amd64 has no linux-headers-6.12.48+deb13-amd64 in the archive any more "  # noqa: E501
        "(newest: linux-headers-6.12.99+deb13-amd64). Reboot into the newest kernel (apt-get install linux-image-amd64), "  # noqa: E501
        "then run again. Nothing was installed."
    ) == done.stdout.splitlines()[-1]
    assert ([], [], []) == (
        host.installs(),
        host.calls("dpkg "),
        [c for c in host.calls("apt-get") if "purge" in c and "keyring" not in c],
    )
    assert not host.marker.exists()


def test_packages_that_nobody_has(host: Host) -> None:
    """A package without a candidate is named before anything is installed."""
    host.tool("apt-cache", 'case "$*" in *cuda*) ;; *policy*) echo "  Candidate: 1" ;; esac')
    done = host.run(script_of(CASES["debian-13-mirrors"]))

    assert (1, []) == (done.returncode, host.installs())
    assert (
        f"##error {NAME}: no source of packages on this host has nvidia-driver-cuda. Nothing was installed."
        == done.stdout.splitlines()[-1]
    )


def test_pin_that_does_not_hold(host: Host) -> None:
    """If apt would take another branch all the same, the driver is not installed."""
    host.tool("apt-cache", 'echo "  Candidate: 610.43.02-1"')
    done = host.run(script_of(CASES["debian-13-mirrors"]))

    assert [["nvidia-driver-pinning-580"]] == host.installs()
    assert "the pin to branch 580 does not hold: apt would install nvidia-kernel-open-dkms 610.43.02-1" in done.stdout


def broken_build(host: Host, *, ends: int) -> None:
    """DKMS fails; apt ends so, and leaves the package half-configured until it is purged."""
    log = host.folder / "var/lib/dkms/nvidia/580.178.04/build/make.log"
    log.parent.mkdir(parents=True)
    log.write_text("CC x.o\n  nv-pci.c:237:9: error: too few arguments\nnv-pci.c:240:1: error: second\n")
    host.tool("dkms", 'echo "nvidia/580.178.04, 6.12.48+deb13-amd64, x86_64: built"')
    status = "iF " if ends else "ii "
    host.tool(
        "dpkg-query",
        f"[ -e {host.folder}/purged ] || printf '{status}nvidia-kernel-open-dkms\\n'; printf 'ii curl\\niU foreign\\n' | head -n 1",  # noqa: E501
    )
    host.tool(
        "apt-get",
        f'case "$*" in *" -s "*) ;; *purge*dkms*) : > {host.folder}/purged ;; *nvidia-driver-cuda*) exit {ends} ;; esac',  # noqa: E501
    )


@pytest.mark.parametrize("ends", [100, 0])
def test_build_that_fails(host: Host, ends: int) -> None:
    """A module that cannot be built: its first error and the log in one sentence, and dpkg is usable again."""
    broken_build(host, ends=ends)
    done = host.run(script_of(CASES["debian-13-mirrors"]))
    kept = host.folder / "var/log/hermeion/make-6.12.48+deb13-amd64.log"

    assert 1 == done.returncode
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        f"##error {NAME}: the driver's module cannot be built for kernel 6.12.48+deb13-amd64: "
        f"nv-pci.c:237:9: error: too few arguments; the whole log is {kept}"
    )
    assert "second" in kept.read_text()
    assert [] != [call for call in host.calls("apt-get") if "purge -y nvidia-kernel-open-dkms" in call]
    assert ["modprobe"] != host.calls("modprobe")[:1]
    assert not host.marker.exists()


def test_only_our_packages_are_purged(host: Host) -> None:
    """A package of somebody else's that dpkg did not finish stays, is named, and the marker stays with it."""
    host.tool("dpkg-query", "printf 'iF foreign\\n'")
    host.tool("apt-get", 'case "$*" in *" -s "*) ;; *nvidia-driver-cuda*) exit 100 ;; esac')
    done = host.run(script_of(CASES["debian-13-mirrors"]))

    assert 1 == done.returncode
    assert [] == [call for call in host.calls("apt-get") if "purge" in call and "foreign" in call]
    assert f"{NAME}: dpkg could not be repaired: foreign ; see dpkg --audit" == done.stdout.splitlines()[-1]
    assert host.marker.exists()


def test_an_upgrade_is_tried_beside_the_driver(host: Host) -> None:
    """Before a driver that works is replaced, its successor's module is built elsewhere; a failure changes nothing."""
    host.tool("apt-get", 'case "$*" in *download*) : > package.deb ;; esac')
    host.tool(
        "dpkg-deb",
        'mkdir -p root/usr/src/nvidia-580.178.04; printf \'PACKAGE_NAME="nvidia"\\nPACKAGE_VERSION="580.178.04"\\n\' > root/usr/src/nvidia-580.178.04/dkms.conf',  # noqa: E501
    )
    host.tool(
        "dkms",
        'case $1 in build) mkdir -p "$3/nvidia/580.178.04/build"; echo "a.c:1: error: no" > "$3/nvidia/580.178.04/build/make.log"; exit 10 ;; esac',  # noqa: E501
    )
    done = host.run(script_of(CASES["debian-13-upgrade"]._replace(mirrors=MIRRORS)))

    assert 1 == done.returncode
    assert "error: no" in done.stdout.splitlines()[-1]
    assert done.stdout.endswith(" The driver that is here was not touched.\n")
    assert [["nvidia-driver-pinning-580"], ["dkms", "linux-headers-6.12.48+deb13-amd64"]] == host.installs()


def test_busy_lock(host: Host) -> None:
    """While another package manager has the lock, its process is named, and the script waits."""
    lock = host.folder / "var/lib/dpkg/lock-frontend"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with lock.open() as held:
        other = subprocess.Popen(["sleep", "3"], stdin=held)
    done = host.run(script_of(CASES["debian-13-mirrors"]))
    other.wait()

    assert 0 == done.returncode
    assert f"##note waiting for another package manager ({other.pid}, sleep)" in done.stdout


def test_newest_kernel_gets_its_headers(host: Host) -> None:
    """A newer kernel that the next boot takes gets its headers in the same transaction, and its own look at DKMS."""
    (host.folder / "lib/modules/6.12.99+deb13-amd64").mkdir()
    (host.folder / "boot/vmlinuz-6.12.99+deb13-amd64").touch()
    host.run(script_of(CASES["debian-13-mirrors"]))

    assert "linux-headers-6.12.99+deb13-amd64" in host.installs()[-1]


def test_guard() -> None:
    """Unattended upgrades stay away from everything that must have the driver's version."""
    text = decoded(script_of(CASES["ubuntu-24.04"]))
    names = ("^nvidia-", "^libnvidia-", "^linux-modules-nvidia-", "^cuda-", "^libnvsdm", "^nvlsm")

    assert [] == [name for name in names if f'"{name}";' not in text]


def play_dnf(host: Host, dkms: str) -> None:
    """Stand-ins for Rocky 9: every package can be had, module streams are off, ``dkms`` says so of its module."""
    host.tool("rpm")
    host.tool("uname", f"echo {ROCKY_9.kernel}")
    host.tool("dkms", f'echo "nvidia/580.178.04, {ROCKY_9.kernel}, x86_64: {dkms}"')
    ids = f"if [ -e {host.folder}/installed ]; then echo '  8 | install'; else echo '  7 | update'; fi"
    installs = f'echo "Installing: kmod"; : > {host.folder}/installed'
    host.tool("dnf", f'case "$*" in *history*list*) {ids} ;; *install*kmod*) {installs} ;; esac')


def test_dnf_installation(host: Host) -> None:
    """With dnf: the stream, one transaction, the locks; its progress as notes."""
    play_dnf(host, "installed")
    done = host.run(script_of(CASES["rocky-9-mirrors"]))
    calls = [call.partition("--setopt=install_weak_deps=False ")[2] for call in host.calls("dnf")]

    assert 0 == done.returncode
    (one,) = [call for call in calls if "kmod" in call]
    assert calls.index("module enable nvidia-driver:580-open") < calls.index(one)
    assert {"nvidia-driver-cuda", "nvidia-persistenced", f"kernel-devel-{ROCKY_9.kernel}"} <= set(one.split())
    assert "##note Installing: kmod" in done.stdout.splitlines()
    assert [] != host.calls("dnf -q versionlock add")
    assert "no reboot is needed" == done.stdout.splitlines()[-1]


def test_dnf_goes_back(host: Host) -> None:
    """With dnf, a module that was not built brings the packages back that were there before."""
    play_dnf(host, "added")
    done = host.run(script_of(CASES["rocky-9-mirrors"]))

    assert 1 == done.returncode
    assert [] != [call for call in host.calls("dnf") if call.endswith("history rollback 7")]
    assert done.stdout.splitlines()[-1].endswith(". The host's packages are those of before.")
    assert not host.marker.exists()


FOLLOWER = "linux-modules-nvidia-580-server-open-generic"
EXACT = f"linux-modules-nvidia-580-server-open-{UBUNTU_24.kernel}"
BESIDE = ["nvidia-headless-no-dkms-580-server-open", "nvidia-utils-580-server"]


def appears(host: Host) -> str:
    """What a stand-in of apt-get does so that the module is there once its package is installed."""
    module = host.folder / f"lib/modules/{UBUNTU_24.kernel}/kernel/nvidia-580srv-open/nvidia.ko"
    really = '*" -s "*|*--download-only*) ;;'
    return f'case "$*" in {really} *" install "*{EXACT}*) mkdir -p {module.parent}; : > {module} ;; esac'


@pytest.fixture
def ubuntu(host: Host) -> Host:
    """A bare Ubuntu 24.04 without DKMS, where a module appears once its package is installed."""
    host.tool("uname", f"echo {UBUNTU_24.kernel}")
    host.tool("dkms", "exit 127")
    host.tool("apt-get", appears(host))
    return host


def installed(host: Host) -> list[list[str]]:
    """Packages of each installation that was neither a simulation nor a download."""
    calls = [row for row in host.calls("apt-get") if "--download-only" not in row and " -s " not in row]
    return [[w for w in row.partition(" install ")[2].split() if w[0] != "-"] for row in calls if " install " in row]


def test_signed_modules_are_not_built(ubuntu: Host) -> None:
    """Ubuntu's signed modules come for the running kernel and for the next ones, and nobody asks DKMS for them."""
    done = ubuntu.run(script_of(CASES["ubuntu-24.04"]))

    assert (0, "") == (done.returncode, done.stderr)
    assert [[*BESIDE, FOLLOWER, EXACT]] == installed(ubuntu)
    assert [] == ubuntu.calls("dkms ")
    assert "no reboot is needed" == done.stdout.splitlines()[-1]


@pytest.mark.parametrize("fails", ["-s", "--download-only"])
def test_metapackage_that_cannot_be_had(ubuntu: Host, fails: str) -> None:
    """A metapackage that does not fit, or that a mirror names and does not have, does not stop the running kernel's."""
    ubuntu.tool("apt-get", f'case "$*" in *" {fails} "*{FOLLOWER}*) exit 100 ;; esac\n{appears(ubuntu)}')
    done = ubuntu.run(script_of(CASES["ubuntu-24.04"]))

    assert (0, "") == (done.returncode, done.stderr)
    assert [[*BESIDE, EXACT]] == installed(ubuntu)


def test_signed_modules_that_nobody_has(ubuntu: Host) -> None:
    """Where nothing can be fetched, nothing is installed, and one sentence says so."""
    ubuntu.tool("apt-get", 'case "$*" in *--download-only*) exit 100 ;; esac')
    done = ubuntu.run(script_of(CASES["ubuntu-24.04"]))

    assert (1, []) == (done.returncode, installed(ubuntu))
    assert (
        f"{NAME}: the driver's packages and the signed modules for kernel {UBUNTU_24.kernel} do not fit this host or "
        "cannot be fetched; "
    ) in done.stdout.splitlines()[-1]
    assert not ubuntu.marker.exists()


def test_a_kernel_that_comes_along_is_whole(ubuntu: Host) -> None:
    """A newer kernel that the metapackage brings gets its extra drivers, if the running one has them."""
    comes = "echo 'Inst linux-image-6.8.0-99-generic (6.8.0-99.99 x)'"
    ubuntu.tool("apt-get", f'case "$*" in *" -s "*{FOLLOWER}*) {comes} ;; esac\n{appears(ubuntu)}')
    ubuntu.run(script_of(CASES["ubuntu-24.04"]))

    assert [[*BESIDE, FOLLOWER, EXACT, "linux-modules-extra-6.8.0-99-generic"]] == installed(ubuntu)


def test_a_newer_kernel_without_a_signed_module(ubuntu: Host) -> None:
    """If the next boot takes a kernel that has no signed module, the run says so instead of calling it done."""
    (ubuntu.folder / "lib/modules/6.8.0-99-generic").mkdir()
    (ubuntu.folder / "boot/vmlinuz-6.8.0-99-generic").touch()
    done = ubuntu.run(script_of(CASES["ubuntu-24.04"]))

    assert 1 == done.returncode
    assert (
        f"{NAME}: kernel 6.8.0-99-generic is installed, the next boot takes it, and the archive has no "
        "linux-modules-nvidia-580-server-open-6.8.0-99-generic that can be installed: it would have no driver."
    ) in done.stdout.splitlines()[-1]


def test_ubuntus_persistence_daemon(ubuntu: Host) -> None:
    """Ubuntu's unit, which starts the daemon with persistence off and cannot be enabled, gets what it lacks."""
    folder = ubuntu.folder / "usr/lib/systemd/system"
    folder.mkdir(parents=True)
    start = "ExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced"
    (folder / "nvidia-persistenced.service").write_text(f"[Service]\n{start} --no-persistence-mode --verbose\n")
    ubuntu.run(script_of(CASES["ubuntu-24.04"]))

    own = (ubuntu.folder / "etc/systemd/system/nvidia-persistenced.service.d/hermeion.conf").read_text()
    expected = ["[Unit]", "StopWhenUnneeded=no", "[Service]", "ExecStart=", f"{start} --verbose"]
    assert [*expected, "[Install]", "WantedBy=multi-user.target"] == own.splitlines()[1:]
    assert "systemctl enable --quiet --no-reload nvidia-persistenced" in ubuntu.calls("systemctl")
