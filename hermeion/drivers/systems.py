"""Distributions, and what the packages of a driver are called on each.

Names in Ubuntu's and Debian's archives were compared with their indices (tests/unit/data/package-names.toml); those of
NVIDIA's repositories are from its driver installation guides 580 and 595, chapters "Ubuntu", "Debian", "Red Hat
Enterprise Linux" and "Compute-only and Desktop Installation".
"""

from __future__ import annotations

from typing import Literal

from hermeion.drivers.fabric import Fabric
from hermeion.drivers.ubuntu import signed_modules
from hermeion.probe import Probe
from hermeion.records import Record

Source = Literal["nvidia", "debian", "ubuntu"]
Flavour = Literal["open", "proprietary"]

SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04", "26.04"), "rhel": ("8", "9", "10")}

RHEL_FAMILY = frozenset({"rhel", "rocky", "almalinux", "ol", "centos"})

ARM_SERVERS = frozenset({("ubuntu", "22.04"), ("ubuntu", "24.04"), ("rhel", "8"), ("rhel", "9"), ("rhel", "10")})
"""Systems for which NVIDIA's repository has aarch64 servers (``sbsa``)."""


class System(Record):
    """A distribution that drivers are installed on.

    Attributes:
        release: ``13``, ``24.04``, ``9``.
    """

    family: Literal["debian", "ubuntu", "rhel"]
    release: str
    machine: str


def find_system(probe: Probe) -> System | None:
    """The distribution of a host, or ``None``: drivers are not installed on it."""
    family: Literal["debian", "ubuntu", "rhel"]
    if probe.os_id in RHEL_FAMILY:
        family, release = "rhel", probe.os_version.partition(".")[0]
    elif probe.os_id == "ubuntu":
        family, release = "ubuntu", probe.os_version
    elif probe.os_id == "debian":
        family, release = "debian", probe.os_version
    else:
        return None
    if release not in SUPPORTED[family]:
        return None
    if probe.machine != "x86_64" and (probe.machine != "aarch64" or (family, release) not in ARM_SERVERS):
        return None
    return System(family=family, release=release, machine=probe.machine)


class Choice(Record):
    """What is to be installed.

    Attributes:
        signed: Suffix of Ubuntu's signed modules for the kernel, or ``None``: the module is built by DKMS.
    """

    system: System
    source: Source
    branch: int
    flavour: Flavour
    fabric: Fabric
    signed: str | None = None


def signed_for(system: System, source: Source, probe: Probe) -> str | None:
    """Suffix of Ubuntu's signed modules for the running kernel, or ``None``: there are none, DKMS builds."""
    if source != "ubuntu":
        return None
    return signed_modules(system.release, probe.kernel, probe.packages)


def packages_of(choice: Choice, kernel: str) -> tuple[str, ...]:
    """Packages of the compute-only driver, for one transaction; what comes first must be settled first.

    On Red Hat's systems the first entry is no package: ``module:nvidia-driver:580-open`` enables a module stream (8 and
    9), ``versionlock:580`` locks the branch (10).

    Args:
        kernel: The running kernel, whose headers DKMS needs.
    """
    if choice.system.family == "rhel":
        return _rhel(choice, kernel)
    if choice.source == "ubuntu":
        return _ubuntu(choice, kernel)
    if choice.source == "debian":
        return (
            f"linux-headers-{kernel}",
            "nvidia-kernel-dkms",
            "nvidia-smi",
            "libcuda1",
            "libnvidia-ml1",
            "nvidia-persistenced",
        )
    return _nvidia_debian(choice, kernel) if choice.system.family == "debian" else _nvidia_ubuntu(choice, kernel)


def _fabric(choice: Choice, suffix: str) -> tuple[str, ...]:
    names = []
    if choice.fabric.manager:
        names.append(f"nvidia-fabricmanager{suffix}")
    if choice.fabric.subnet:
        names += ["nvlsm", f"libnvsdm{suffix}", "infiniband-diags"]
    if choice.fabric.imex:
        names.append(f"nvidia-imex{suffix}")
    return tuple(names)


def _ubuntu(choice: Choice, kernel: str) -> tuple[str, ...]:
    branch = f"{choice.branch}-server"
    module = f"{branch}-open" if choice.flavour == "open" else branch
    built = (
        (f"linux-modules-nvidia-{module}-{choice.signed}",)
        if choice.signed
        else (f"linux-headers-{kernel}", f"nvidia-dkms-{module}")
    )
    return (
        *built,
        f"nvidia-headless-no-dkms-{module}",
        f"nvidia-utils-{branch}",
        *_fabric(choice, f"-{choice.branch}"),
    )


def _nvidia_debian(choice: Choice, kernel: str) -> tuple[str, ...]:
    return (
        f"nvidia-driver-pinning-{choice.branch}",
        f"linux-headers-{kernel}",
        "nvidia-kernel-open-dkms" if choice.flavour == "open" else "nvidia-kernel-dkms",
        "nvidia-driver-cuda",
        "nvidia-persistenced",
        *_fabric(choice, ""),
    )


UNSUFFIXED = 590
"""From this branch on NVIDIA's packages for Ubuntu have no branch in their names."""


def _nvidia_ubuntu(choice: Choice, kernel: str) -> tuple[str, ...]:
    suffix = f"-{choice.branch}" if choice.branch < UNSUFFIXED else ""
    return (
        f"nvidia-driver-pinning-{choice.branch}",
        f"linux-headers-{kernel}",
        f"nvidia-dkms{suffix}-open" if choice.flavour == "open" else f"nvidia-dkms{suffix}",
        f"libnvidia-compute{suffix}",
        f"nvidia-compute-utils{suffix}",
        f"nvidia-utils{suffix}",
        *_fabric(choice, suffix),
    )


def _rhel(choice: Choice, kernel: str) -> tuple[str, ...]:
    stream = f"{choice.branch}-open" if choice.flavour == "open" else f"{choice.branch}-dkms"
    first = f"versionlock:{choice.branch}" if choice.system.release == "10" else f"module:nvidia-driver:{stream}"
    headers = "kernel-uek-devel" if "uek" in kernel else "kernel-devel"
    # kernel-devel-matched keeps the headers with each newer kernel; 8 and Oracle's own kernel have no such package.
    matched = () if choice.system.release == "8" or "uek" in kernel else ("kernel-devel-matched",)
    return (
        first,
        f"{headers}-{kernel}",
        *matched,
        "dkms",
        "kmod-nvidia-open-dkms" if choice.flavour == "open" else "kmod-nvidia-latest-dkms",
        "nvidia-driver-cuda",
        "nvidia-persistenced",
        *_fabric(choice, ""),
    )


def units_of(fabric: Fabric) -> tuple[str, ...]:
    """Units to enable after the installation."""
    units = ["nvidia-persistenced"]
    if fabric.manager:
        units.append("nvidia-fabricmanager")
    if fabric.imex:
        units.append("nvidia-imex")
    return tuple(units)


def exactly(name: str, version: str) -> str:
    """A package at NVIDIA's version, whatever the revision behind it: both apt and dnf read the star."""
    return f"{name}={version}-*"


def headers_of(system: System, kernel: str) -> str:
    """Package with the headers of a kernel."""
    if system.family != "rhel":
        return f"linux-headers-{kernel}"
    return f"kernel-uek-devel-{kernel}" if "uek" in kernel else f"kernel-devel-{kernel}"


def purge_command(system_id: str, package: str) -> str:
    """What a person types to be rid of a package."""
    return f"apt-get purge {package}" if system_id in {"debian", "ubuntu"} else f"dnf remove {package}"
