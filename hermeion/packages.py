"""What an engine is installed from that runs natively: locked requirements, or an archive with its checksum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.version import Version

from hermeion.engines.natives import archive, locked_versions, python_of, requirements
from hermeion.engines.protocol import Engine
from hermeion.errors import PlacementError
from hermeion.hashes import sha256
from hermeion.inventory import ServiceSpec
from hermeion.plans import Archive, Package
from hermeion.probe import Probe


def plan_package(
    host: str, spec: ServiceSpec, engine: Engine, version: str, probe: Probe, lock: str | None = None
) -> Package:
    """The package of a native service.

    Args:
        lock: Text of the file that ``requirements`` names, or ``None``: this release's own.

    Raises:
        PlacementError: Nothing is known to install from, or the host has no Python for it.
    """
    subject = f"{host}: {spec.name}"
    if engine.NATIVE == "venv":
        return _venv(subject, engine, version, probe, lock)
    return _archive(subject, spec, engine, version, probe)


def _venv(subject: str, engine: Engine, version: str, probe: Probe, lock: str | None) -> Package:
    name, system = f"{engine.NAME}-{version}", f"{probe.os_id} {probe.os_version}"
    python = python_of(probe.os_id, probe.os_version)
    if python is None:
        raise PlacementError(
            f"{subject}: {system} has no Python that {engine.LABEL} can be installed for. Set runtime = 'compose'."
        )
    if lock is not None:
        return Package(name=name, kind="venv", sha256=sha256(lock), program=engine.PROGRAM)
    known = requirements(engine.NAME, version)
    if known is None:
        raise PlacementError(
            f"{subject}: nobody has locked the requirements of {engine.LABEL} {version} (those of "
            f"{', '.join(locked_versions(engine.NAME)) or 'no version'} are). Choose such an engine_version, make a "
            f"lock (scripts/engine-lock {engine.NAME} {version}) and name it in requirements, or set "
            "runtime = 'compose'."
        )
    if not known.runs_on(python[0]):
        raise PlacementError(
            f"{subject}: {engine.LABEL} {version} has packages for Python {' to '.join(known.pythons)}, and {system} "
            f"has {python[0]}. Set runtime = 'compose'."
        )
    return Package(
        name=name,
        kind="venv",
        sha256=known.sha256,
        program=engine.PROGRAM,
        download=known.download,
        installed=known.installed,
    )


def _archive(subject: str, spec: ServiceSpec, engine: Engine, version: str, probe: Probe) -> Package:
    name = f"{engine.NAME}-{version}"
    if given := spec.archive:
        files = (given, given.libraries) if given.libraries else (given,)
        return _package(name, engine, given.program, [Archive(url=file.url, sha256=file.sha256) for file in files])
    known = archive(engine.NAME, version, probe.machine)
    if known is None:
        raise PlacementError(
            f"{subject}: this release knows no binary release of {engine.LABEL} {version} for {probe.machine} with its "
            "checksum. Give archive = {'url': …, 'sha256': …}, or set runtime = 'compose'."
        )
    if known.glibc and probe.glibc and Version(probe.glibc) < Version(known.glibc):
        raise PlacementError(
            f"{subject}: the binary release of {engine.LABEL} {version} needs a C library (glibc) of {known.glibc} or "
            f"newer, {probe.os_id} {probe.os_version} has {probe.glibc}. Set runtime = 'compose', or give an archive "
            "that was built for it."
        )
    released = (known, known.libraries) if known.libraries else (known,)
    package = _package(name, engine, known.program, [Archive(url=file.url, sha256=file.sha256) for file in released])
    sizes = [(file.bytes, file.installed) for file in released]
    return package.model_copy(
        update={"download": _sum(size for size, _ in sizes), "installed": _sum(i for _, i in sizes)}
    )


def _package(name: str, engine: Engine, program: str | None, archives: Sequence[Archive]) -> Package:
    return Package(
        name=name,
        kind="archive",
        sha256=archives[0].sha256 if len(archives) == 1 else sha256("".join(file.sha256 for file in archives)),
        program=(program or engine.PROGRAM[0], *engine.PROGRAM[1:]),
        archives=tuple(archives),
    )


def _sum(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return None if None in known else sum(size or 0 for size in known)
