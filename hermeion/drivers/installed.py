"""Whose driver is on a host, as its packages and files show it."""

from __future__ import annotations

import re
from typing import Literal

from hermeion.drivers.versions import upstream
from hermeion.probe import Probe
from hermeion.records import Record

Origin = Literal["nvidia", "debian", "ubuntu", "run file", "unknown"]

DRIVER_PACKAGE = re.compile(
    r"(nvidia-(driver|kernel|open|dkms|utils|compute-utils|headless|smi|persistenced|modprobe|firmware|alternative"
    r"|fabricmanager|imex|tesla|legacy|installer|support|\d)|libnvidia-(?!container)|linux-modules-nvidia|linux-(objects"
    r"|signatures)-nvidia|kmod-nvidia|libcuda1|libnvsdm|nvlsm|cuda-drivers|firmware-nvidia)"
)
NOT_DRIVER = re.compile(r"nvidia-driver-(pinning|assistant)")

MARKER = "/var/lib/hermeion/driver-transaction"
"""There while a transaction of ours runs, and afterwards if it was cut off."""

GUARD = "/etc/apt/apt.conf.d/51hermeion-nvidia"
"""Keeps unattended upgrades away from the driver; shows that Hermeion installed it."""


def is_driver(package: str) -> bool:
    """Whether a package is part of a driver; the container toolkit and repositories' packages are not."""
    return bool(DRIVER_PACKAGE.match(package)) and not NOT_DRIVER.match(package)


def builds_module(package: str) -> bool:
    """Whether DKMS builds a module from a package; ``nvidia-headless-no-dkms-…`` has the word and no source."""
    return "dkms" in package and "no-dkms" not in package and is_driver(package)


class Installed(Record):
    """The driver that is on the disk.

    Attributes:
        origin: Whose packages, or ``None``: there is no driver.
        packages: Its packages, sorted.
        version: Version of its packages, or of its library or module where it has none.
        evidence: What shows a driver without packages: a path, or what the kernel says.
    """

    origin: Origin | None
    packages: tuple[str, ...]
    version: str | None
    evidence: str = ""

    @property
    def source(self) -> Literal["nvidia", "debian", "ubuntu"] | None:
        """Whose packages it came in; ``None``: in none, or there is no driver."""
        match self.origin:
            case "nvidia" | "debian" | "ubuntu" as source:
                return source
        return None


LEADING = (
    re.compile(r"nvidia-driver-cuda$"),
    re.compile(r"nvidia-utils(-\d+(-server)?)?$"),
    re.compile(r"nvidia-smi$"),
    re.compile(r"(nvidia-kernel-(open-)?dkms|nvidia-open-kernel-dkms|kmod-nvidia|nvidia-dkms)"),
    re.compile(r"(libnvidia-ml1|libnvidia-compute)"),
)
"""Packages whose version is the driver's, the most telling first."""


def _origin(probe: Probe, names: list[str]) -> Origin:
    if any("ubuntu" in probe.packages[name] for name in names):
        return "ubuntu"
    if "apt-get" not in probe.tools:
        return "nvidia"
    if probe.os_id == "ubuntu" or {"nvidia-driver-cuda", "nvidia-kernel-open-dkms"} & set(names):
        return "nvidia"
    return "debian"


def installed_driver(probe: Probe) -> Installed:
    """What is on the disk, whether or not it works."""
    names = sorted(name for name in probe.packages if is_driver(name))
    driver = probe.driver
    leading = [name for pattern in LEADING for name in names if pattern.match(name)]
    if leading:
        return Installed(
            origin=_origin(probe, names), packages=tuple(names), version=upstream(probe.packages[leading[0]])
        )
    on_disk = next((kernel.module for kernel in driver.kernels if kernel.release == probe.kernel), None)
    version = driver.library or driver.module or on_disk
    if driver.run_file:
        return Installed(origin="run file", packages=(), version=version, evidence=driver.run_file)
    if driver.library or driver.module:
        evidence = (
            f"module {driver.module} is loaded" if driver.module else f"libnvidia-ml.so.{driver.library} is there"
        )
        return Installed(origin="unknown", packages=tuple(names), version=version, evidence=evidence)
    return Installed(origin=None, packages=tuple(names), version=None)
