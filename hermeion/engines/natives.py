"""What native engines are installed from: locked requirements, and archives with their checksums.

The tables are ``data/engines/requirements/`` (made by ``scripts/engine-lock``) and ``data/engines/archives.toml``.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from packaging.version import Version

from hermeion.hashes import sha256
from hermeion.records import Record

RHEL_FAMILY = frozenset({"rhel", "rocky", "almalinux", "ol", "centos"})

PYTHONS: dict[tuple[str, str], tuple[str, str]] = {
    ("debian", "12"): ("3.11", "python3"),
    ("debian", "13"): ("3.13", "python3"),
    ("ubuntu", "24.04"): ("3.12", "python3"),
    ("ubuntu", "26.04"): ("3.14", "python3"),
    ("rhel", "9"): ("3.12", "python3.12"),
    ("rhel", "10"): ("3.12", "python3"),
}
"""Version and command of the Python that a distribution has, where it is 3.11 or newer.

Debian's and Ubuntu's archives (packages ``python3`` and, of Ubuntu 26.04, ``python3.14``); Red Hat's "Installing and
using dynamic programming languages": 3.9 is RHEL 9's own, 3.12 comes beside it since 9.4; 3.12 is RHEL 10's own.
Not here: Ubuntu 22.04, whose Python is 3.10 (its ``python3.11`` is a release candidate of 3.11.0), and RHEL 8, whose C
library 2.28 is older than SGLang's and some of vLLM's wheels are for.
"""


class Requirements(Record):
    """Locked requirements of an engine's version, for ``uv pip install --no-deps --require-hashes``.

    Attributes:
        name: ``vllm-0.33.0``.
        text: Lines in pip's format, every one with its hashes. It is complete; nothing else is to be resolved.
        sha256: Of the text, hexadecimal.
        download: Bytes that come over the network, the most that any machine and Python takes.
        installed: Bytes on disk, byte code included, likewise.
        pythons: Oldest and newest Python for which every package has a wheel, ``("3.11", "3.14")``.
        instead: What was locked for a release that the engine asks for and the index did not have,
            ``("certifi==2026.10.18",)``: such a lock cannot be installed without ``--no-deps``.
    """

    name: str
    text: str
    sha256: str
    download: int
    installed: int
    pythons: tuple[str, str]
    instead: tuple[str, ...] = ()

    def runs_on(self, python: str) -> bool:
        """Whether every package has a wheel for a Python, ``3.12``."""
        oldest, newest = (Version(version) for version in self.pythons)
        return oldest <= Version(python) <= newest


class ArchiveFile(Record):
    """A file that is checked and unpacked.

    Attributes:
        sha256: Of the file, hexadecimal.
        bytes: Its size, or ``None``: no source gives it.
        installed: Bytes that it takes unpacked, or ``None``: no source gives them.
    """

    url: str
    sha256: str
    bytes: int | None = None
    installed: int | None = None


class BinaryRelease(ArchiveFile):
    """A binary release of an engine's version.

    Attributes:
        program: Path of the executable, below the folder that it is unpacked into.
        libraries: A second archive that belongs into the same folder, CUDA's libraries; ``None``: there is none.
        glibc: Oldest C library that it runs with, ``2.38``; ``None``: any that this project knows.
    """

    program: str
    libraries: ArchiveFile | None = None
    glibc: str | None = None


@cache
def _sizes() -> dict[str, Any]:
    return tomllib.loads(files("hermeion.data").joinpath("engines", "requirements", "sizes.toml").read_text())


@cache
def _archives() -> tuple[dict[str, Any], ...]:
    return tuple(tomllib.loads(files("hermeion.data").joinpath("engines", "archives.toml").read_text())["archive"])


@cache
def requirements(engine: str, version: str) -> Requirements | None:
    """Locked requirements of an engine's version, or ``None``: this release has no lock of it."""
    name = f"{engine}-{version}"
    sizes = _sizes().get(name)
    if sizes is None:
        return None
    text = files("hermeion.data").joinpath("engines", "requirements", f"{name}.txt").read_text()
    machines = [value for value in sizes.values() if isinstance(value, dict)]
    return Requirements(
        name=name,
        text=text,
        sha256=sha256(text),
        download=max(machine["download"] for machine in machines),
        installed=max(machine["installed"] for machine in machines),
        pythons=tuple(sizes["pythons"]),
        instead=tuple(sizes["instead"]),
    )


def locked_versions(engine: str) -> tuple[str, ...]:
    """Versions of an engine whose requirements this release has, oldest first."""
    names = (name.rpartition("-") for name in _sizes())
    return tuple(sorted((version for owner, _, version in names if owner == engine), key=Version))


def python_of(os_id: str, os_version: str) -> tuple[str, str] | None:
    """Version and command of a distribution's Python, ``("3.11", "python3")``.

    Args:
        os_id: ``ID`` of ``/etc/os-release``.
        os_version: Its ``VERSION_ID``.

    Returns:
        ``None`` if the distribution has none that any lock is for, or is not known.
    """
    return PYTHONS.get(_system(os_id, os_version))


def system_packages(os_id: str, os_version: str) -> tuple[str, ...]:
    """What a native vLLM or SGLang needs of its distribution.

    - Python, and what makes virtual environments with it.
    - A C compiler, the C library's headers and ``Python.h``: Triton compiles a helper and a launcher for its kernels
      when the engine starts (``triton/runtime/build.py`` and ``backends/nvidia/driver.py`` of 3.8.0: ``gcc``, or
      ``clang``, or ``CC``; without one "Failed to find C compiler", without headers "Python.h: No such file or
      directory", vllm-project/vllm#27890 and #2997, sgl-project/sglang#18644).
    - libnuma: fastsafetensors, which vLLM requires, loads ``libnuma.so.1``; vLLM's image installs it for that reason
      (``docker/Dockerfile`` of 0.33.0, "Required by fastsafetensors"). Older kernels of SGLang are linked with it.

    Not needed: ``nvcc``. CUDA's libraries are wheels. vLLM 0.32 and 0.33 do without FlashInfer's kernels where
    neither ``nvcc`` nor ``flashinfer-cubin`` is there, with a warning (``vllm/utils/flashinfer.py``: has_flashinfer);
    older ones stop at the first sample (vllm-project/vllm#49497). ``CUDA_HOME`` must not point at the ``nvcc`` that the
    wheels bring: FlashInfer cannot link with it (flashinfer-ai/flashinfer#5064). ``ninja`` comes as a wheel.

    Returns:
        Names of packages, empty for a distribution without a Python that a lock is for.
    """
    system = _system(os_id, os_version)
    if system not in PYTHONS:
        return ()
    if system[0] == "rhel":
        python = PYTHONS[system][1]
        return (python, f"{python}-devel", "gcc", "glibc-devel", "numactl-libs")
    return ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "libnuma1")


def archive(engine: str, version: str, machine: str) -> BinaryRelease | None:
    """The binary release of an engine's version, or ``None``: its checksum is not known here.

    Args:
        machine: As ``uname -m`` prints it.
    """
    for entry in _archives():
        if (entry["engine"], entry["version"], entry["machine"]) == (engine, version, machine):
            rest = {key: value for key, value in entry.items() if key not in {"engine", "version", "machine"}}
            return BinaryRelease(**rest)
    return None


def _system(os_id: str, os_version: str) -> tuple[str, str]:
    if os_id in RHEL_FAMILY:
        return "rhel", os_version.partition(".")[0]
    return os_id, os_version
