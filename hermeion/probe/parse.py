"""What a host answers to ``probe.sh``, parsed: the only facts that plans are made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from hermeion.errors import ProbeError
from hermeion.gpus import SMI_FIELDS, SmiGpu, parse_nvidia_smi, parse_topology
from hermeion.records import Record
from hermeion.units import KIB

SECTIONS = frozenset(
    {"os", "pci", "smi", "topo", "dpkg", "docker", "daemon.json", "cdi", "disks", "weights", "files", "releases"}
    | {"units"}
)
"""What an answer has, whole: each section of the script prints its status whatever happened in it."""


class PciDevice(Record):
    """A PCI device of NVIDIA's. Ids and class are hexadecimal without ``0x``.

    Attributes:
        subsystem: The board's id.
        numa: NUMA node, or -1: not known, or there is one only.
    """

    address: str
    device_id: str
    pci_class: str
    driver: str = ""
    subsystem: str = ""
    numa: int = -1

    @property
    def is_gpu(self) -> bool:
        """Whether it is a VGA (0300) or 3D (0302) controller."""
        return self.pci_class[:4] in {"0300", "0302"}


class Disk(Record):
    """The filesystem that holds (or would hold) ``path``; sizes in bytes."""

    path: str
    total: int
    free: int
    writable: bool
    source: str


class ManagedFile(Record):
    """A file under our control as it lies on the host."""

    mode: str
    owner: str
    sha256: str


class Unit(Record):
    """A systemd unit of ours."""

    active: str
    sub: str
    enabled: str
    restarts: int
    needs_reload: bool


class Container(Record):
    """A container of ours, by its labels."""

    service: str
    release: str
    state: str


class Probe(Record):
    """Everything one round trip tells about a host.

    Attributes:
        smi: GPUs as the driver reports them, or ``None`` when no driver answers; ``()`` when it sees none.
        smi_text: What ``nvidia-smi`` printed when it failed.
        nvlinks: Pairs of GPUs, by their place in PCI order, that NVLink joins.
        memory: The host's memory in bytes; ``memory_available``: what of it can be had.
        packages: Version by name, of the packages that matter here.
        broken_packages: Packages that dpkg left half-configured.
        docker: Docker's version, or ``None`` when it is missing or does not answer.
        daemon_json: Text of Docker's configuration, or ``None``.
        cdi_devices: Device names of all CDI specifications.
        images: ``repository@sha256:…`` of the images that Docker holds.
        weights: ``complete`` or ``damaged`` by ``models--org--name@revision``.
        releases: Release id and plan (parsed JSON) by service.
    """

    os_id: str
    os_version: str
    codename: str
    kernel: str
    machine: str
    boot: str
    is_root: bool
    tools: frozenset[str]
    secure_boot: bool
    pci: tuple[PciDevice, ...]
    smi: tuple[SmiGpu, ...] | None
    smi_text: str
    nvlinks: tuple[tuple[int, int], ...] = ()
    memory: int = 0
    memory_available: int = 0
    packages: dict[str, str]
    broken_packages: tuple[str, ...]
    docker: str | None
    compose: str | None
    daemon_json: str | None
    cdi_devices: frozenset[str]
    images: frozenset[str]
    containers: tuple[Container, ...]
    disks: dict[str, Disk]
    weights: dict[str, str]
    files: dict[str, ManagedFile]
    releases: dict[str, tuple[str, dict[str, object]]]
    units: dict[str, Unit]

    @property
    def gpus(self) -> tuple[PciDevice, ...]:
        """NVIDIA GPUs on the PCI bus that are not passed through to a guest, in PCI order."""
        return tuple(sorted((d for d in self.pci if d.is_gpu and d.driver != "vfio-pci"), key=lambda d: d.address))


def probe_script() -> str:
    """The script, with the fields of ``nvidia-smi`` filled in."""
    text = files("hermeion").joinpath("probe.sh").read_text()
    return text.replace("@SMI_FIELDS@", ",".join(SMI_FIELDS)).replace("@BOOT@", boot_script())


def boot_script() -> str:
    """Prints the identity of the host's boot: its boot id, and the birth of the first process where several systems
    share one kernel.
    """
    return """echo "$(cat /proc/sys/kernel/random/boot_id)/$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)\""""


def _sections(lines: Iterable[str]) -> dict[str, tuple[int, list[str]]]:
    sections: dict[str, tuple[int, list[str]]] = {}
    name: str | None = None
    body: list[str] = []
    for line in lines:
        if line.startswith("@="):
            if name is None:
                raise ProbeError(f"the probe printed a status outside a section: {line!r}")
            sections[name] = (int(line[2:]), [row for row in body if row])
            name = None
        elif name is None and line.startswith("@"):
            name, body = line[1:], []
        elif name is not None:
            body.append(line)
    return sections


def _pairs(rows: Iterable[str]) -> dict[str, str]:
    return {key: value.strip('"') for key, _, value in (row.partition("=") for row in rows)}


def _parse_docker(rows: list[str]) -> Mapping[str, Any]:
    pairs = _pairs(row for row in rows if row.split("=")[0] in {"version", "compose"})
    containers = [row.removeprefix("container=").split(" ") for row in rows if row.startswith("container=")]
    return {
        "docker": pairs.get("version") or None,
        "compose": pairs.get("compose") or None,
        "images": frozenset(row.removeprefix("image=") for row in rows if row.startswith("image=")),
        "containers": tuple(Container(service=s, release=r, state=t) for s, r, t in containers),
    }


def _parse_pci(row: str) -> PciDevice:
    cells = row.split()
    address, device_id, pci_class, driver, subsystem, numa = cells + ["", "", "", "-", "-", "-1"][len(cells) :]
    return PciDevice(
        address=address,
        device_id=device_id.removeprefix("0x"),
        pci_class=pci_class.removeprefix("0x"),
        driver=driver.removeprefix("-"),
        subsystem=subsystem.removeprefix("0x").removeprefix("-"),
        numa=int(numa),
    )


def _parse_releases(rows: list[str]) -> dict[str, tuple[str, dict[str, object]]]:
    releases: dict[str, tuple[str, dict[str, object]]] = {}
    for row in rows:
        service, release, text = row.split(" ", 2)
        try:
            releases[service] = (release.rpartition("/")[2], json.loads(text))
        except ValueError:
            releases[service] = (release.rpartition("/")[2], {})  # damaged: rendered anew
    return releases


def _parse_units(rows: list[str]) -> dict[str, Unit]:
    units = {}
    for row in rows:
        name, *words = row.split()
        values = _pairs(words)
        units[name] = Unit(
            active=values["ActiveState"],
            sub=values["SubState"],
            enabled=values["UnitFileState"],
            restarts=int(values["NRestarts"]),
            needs_reload=values["NeedDaemonReload"] == "yes",
        )
    return units


def parse_probe(lines: Iterable[str]) -> Probe:
    """Read what the probe printed.

    Raises:
        ProbeError: A section is missing or a line cannot be read; the message quotes it.
    """
    sections = _sections(lines)
    missing = SECTIONS - set(sections)
    if missing:
        raise ProbeError(f"the probe's answer is incomplete: no section {', '.join(sorted(missing))}")
    body = {name: rows for name, (_, rows) in sections.items()}
    system = _pairs(row for row in body["os"] if not row.startswith("tool="))
    smi_status, smi_rows = sections["smi"]
    try:
        return Probe(
            os_id=system["ID"],
            os_version=system.get("VERSION_ID", ""),
            codename=system.get("VERSION_CODENAME", ""),
            kernel=system["kernel"],
            machine=system["machine"],
            boot=system["boot"],
            is_root=system["uid"] == "0",
            tools=frozenset(row.removeprefix("tool=") for row in body["os"] if row.startswith("tool=")),
            secure_boot=system.get("secure_boot") == "1",
            pci=tuple(_parse_pci(row) for row in body["pci"]),
            smi=parse_nvidia_smi(smi_rows) if smi_status == 0 else None,
            smi_text="" if smi_status == 0 else " ".join(smi_rows),
            nvlinks=parse_topology(body["topo"]) if sections["topo"][0] == 0 else (),
            memory=int(system.get("MemTotal", 0)) * KIB,
            memory_available=int(system.get("MemAvailable", 0)) * KIB,
            packages=dict(row.split(" ", 1) for row in body["dpkg"] if not row.startswith("broken ")),
            broken_packages=tuple(row[7:] for row in body["dpkg"] if row.startswith("broken ")),
            daemon_json="\n".join(body["daemon.json"]) if sections["daemon.json"][0] == 0 else None,
            cdi_devices=frozenset(body["cdi"]),
            disks={
                path: Disk(path=path, total=int(total), free=int(free), writable=rw == "yes", source=source.strip())
                for path, total, free, rw, source in ((row + " ").split(" ", 4) for row in body["disks"])
            },
            weights=dict(row.rsplit(" ", 1) for row in body["weights"]),
            files={
                path: ManagedFile(mode=mode, owner=owner, sha256=sha)
                for mode, owner, sha, path in (row.split(" ", 3) for row in body["files"])
            },
            releases=_parse_releases(body["releases"]),
            units=_parse_units(body["units"]),
            **_parse_docker(body["docker"]),
        )
    except (KeyError, ValueError) as error:
        raise ProbeError(f"the probe's answer cannot be read: {error!r}") from error
