"""The part of a probe that is about the NVIDIA driver, readable without ``nvidia-smi``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import Field

from hermeion.records import Record


class BrokenPackage(Record):
    """A package that dpkg did not finish.

    Attributes:
        status: dpkg's two letters: ``iF`` its configuration failed, ``iU`` unpacked only, ``iH`` half installed.
    """

    name: str
    status: str


class Kernel(Record):
    """An installed kernel.

    Attributes:
        headers: Whether a module can be built for it.
        module: Version of the NVIDIA module on disk for it, or ``None``.
        flavour: ``open`` or ``proprietary``, of that module.
    """

    release: str
    headers: bool
    module: str | None = None
    flavour: str | None = None


class DkmsBuild(Record):
    """What DKMS says of a module for one kernel: ``added``, ``built`` or ``installed``."""

    module: str
    version: str
    kernel: str
    state: str


class Holder(Record):
    """A process that holds a GPU's device open; ``unit`` is the last part of its control group."""

    pid: int
    command: str
    unit: str


class DaemonUnit(Record):
    """A unit of the driver's: persistence daemon, fabric manager."""

    enabled: str
    active: str


class Driver(Record):
    """The driver as the kernel and the filesystem show it.

    Attributes:
        module: Version of the loaded kernel module, or ``None``.
        flavour: ``open`` or ``proprietary``, of the loaded module.
        library: Version of ``libnvidia-ml.so.1`` on disk, or ``None``; differs from ``module`` after an upgrade
            without a reboot.
        run_file: Path that proves NVIDIA's ``.run`` installer, or ``None``.
        kernels: Installed kernels, oldest first.
        builds: What DKMS has.
        nvrm: The module's last words in the kernel's log, where ``nvidia-smi`` failed.
        units: The driver's own units by name.
    """

    module: str | None = None
    flavour: str | None = None
    library: str | None = None
    run_file: str | None = None
    kernels: tuple[Kernel, ...] = ()
    builds: tuple[DkmsBuild, ...] = ()
    nvrm: tuple[str, ...] = ()
    units: Mapping[str, DaemonUnit] = Field(default_factory=dict)

    @property
    def newest_kernel(self) -> Kernel | None:
        """The kernel that the next boot takes."""
        return self.kernels[-1] if self.kernels else None


def kernel_order(release: str) -> list[tuple[int, str]]:
    """Sorts kernel releases as people do: 6.12.9 before 6.12.10."""
    return [(int(number or 0), word) for number, word in re.findall(r"(\d+)|([^\d]+)", release)]


def flavour_of(licence: str) -> str | None:
    """Flavour of a kernel module by its licence: NVIDIA's open one is under MIT and GPL."""
    if not licence or licence == "-":
        return None
    return "open" if "MIT" in licence else "proprietary"


def parse_driver(rows: Iterable[str]) -> Driver:
    """Rows of the section ``driver``."""
    single: dict[str, str] = {}
    kernels: list[Kernel] = []
    builds: list[DkmsBuild] = []
    nvrm: list[str] = []
    units: dict[str, DaemonUnit] = {}
    for row in rows:
        key, _, value = row.partition("=")
        if key == "kernel":
            release, headers, version, licence = value.split(" ", 3)
            module = None if version == "-" else version
            kernels.append(
                Kernel(release=release, headers=headers == "yes", module=module, flavour=flavour_of(licence))
            )
        elif key == "dkms":
            name, version, release, state = value.split(" ")
            builds.append(DkmsBuild(module=name, version=version, kernel=release, state=state))
        elif key == "nvrm":
            nvrm.append(value)
        elif key == "unit":
            name, enabled, active = value.split(" ")
            units[name] = DaemonUnit(enabled=enabled, active=active)
        else:
            single[key] = value
    kernels.sort(key=lambda kernel: kernel_order(kernel.release))
    return Driver(kernels=tuple(kernels), builds=tuple(builds), nvrm=tuple(nvrm), units=units, **single)


def parse_holder(row: str) -> Holder:
    """A row of the section ``holders``: process id, control group's last part, name of the command."""
    pid, unit, command = row.split(" ", 2)
    return Holder(pid=int(pid), command=command, unit=unit)
