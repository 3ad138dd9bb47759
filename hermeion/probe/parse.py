"""From the script's lines to a :class:`Probe`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.resources import files

from hermeion.errors import ProbeError
from hermeion.gpus import SMI_FIELDS, parse_nvidia_smi, parse_topology
from hermeion.probe.containers import parse_docker
from hermeion.probe.drivers import BrokenPackage, parse_driver, parse_holder
from hermeion.probe.records import Address, CdiSpec, Disk, ManagedFile, PciDevice, Probe, Unit
from hermeion.units import KIB

SECTIONS = frozenset(
    {"os", "pci", "smi", "topo", "fabric", "driver", "packages", "repositories", "holders", "docker", "daemon.json"}
    | {"cdi", "disks", "engines", "weights", "files", "releases", "units"}
)
"""What an answer has, whole: each section of the script prints its status whatever happened in it."""


def probe_script() -> str:
    """The script, with the fields of ``nvidia-smi`` filled in."""
    text = files("hermeion.probe").joinpath("probe.sh").read_text()
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


def _parse_cdi(rows: list[str]) -> tuple[CdiSpec, ...]:
    specs: list[tuple[str, set[str], list[str]]] = []
    for row in rows:
        kind, _, value = row.partition(" ")
        if kind == "spec":
            specs.append((value, set(), []))
        elif kind == "device":
            specs[-1][1].add(value)
        else:
            specs[-1][2].append(value)
    return tuple(CdiSpec(path=path, devices=frozenset(names), missing=tuple(gone)) for path, names, gone in specs)


def _parse_address(row: str) -> Address:
    interface, address = row.removeprefix("address=").split(" ")
    return Address(interface=interface, address=address)


def _unescape(word: str) -> str:
    """A word of ``findmnt --raw``: blanks and backslashes in it are written as their codes."""
    return re.sub(
        rb"(?:\\x[0-9a-f]{2})+", lambda found: bytes.fromhex(found[0].replace(b"\\x", b"").decode()), word.encode()
    ).decode(errors="replace")


def _parse_disk(row: str) -> Disk:
    path, total, free, writable, *mount = row.split(" ")
    source, fstype, target = (_unescape(word) for word in [*mount, "", "", ""][:3])
    return Disk(
        path=path,
        total=int(total),
        free=int(free),
        writable=writable == "yes",
        source=source,
        fstype=fstype,
        target=target,
    )


def _parse_blobs(rows: Iterable[str]) -> dict[str, dict[str, int]]:
    blobs: dict[str, dict[str, int]] = {}
    for row in rows:
        _, folder, size, name = row.split(" ", 3)
        blobs.setdefault(folder, {})[name] = int(size)
    return blobs


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
            release=values.get("release"),
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
        packages = [tuple(row.split(" ", 2)) for row in body["packages"]]
        return Probe(
            os_id=system["ID"],
            os_version=system.get("VERSION_ID", ""),
            codename=system.get("VERSION_CODENAME", ""),
            kernel=system["kernel"],
            machine=system["machine"],
            glibc=system.get("glibc"),
            boot=system["boot"],
            is_root=system["uid"] == "0",
            tools=frozenset(row.removeprefix("tool=") for row in body["os"] if row.startswith("tool=")),
            os_like=(system["ID"], *system.get("ID_LIKE", "").split()),
            secure_boot=system.get("secure_boot") == "1",
            mok_enrolled=system.get("mok") == "enrolled",
            guest=system.get("guest") if system.get("guest", "none") != "none" else None,
            platform=tuple(row.removeprefix("platform=") for row in body["os"] if row.startswith("platform=")),
            reboot_required=system.get("reboot_required") == "yes",
            pci=tuple(_parse_pci(row) for row in body["pci"]),
            smi=parse_nvidia_smi(smi_rows) if smi_status == 0 else None,
            smi_status=smi_status,
            smi_text="" if smi_status == 0 else " ".join(smi_rows),
            fabric=tuple(row.strip() for row in body["fabric"]) if sections["fabric"][0] == 0 else (),
            driver=parse_driver(body["driver"]),
            nvlinks=parse_topology(body["topo"]) if sections["topo"][0] == 0 else (),
            addresses=tuple(_parse_address(row) for row in body["os"] if row.startswith("address=")),
            memory=int(system.get("MemTotal", 0)) * KIB,
            memory_available=int(system.get("MemAvailable", 0)) * KIB,
            packages={name: version for kind, name, version in packages if kind in {"package", "held"}},
            held_packages=frozenset(name for kind, name, _ in packages if kind == "held"),
            broken_packages=tuple(
                BrokenPackage(name=name, status=state) for k, name, state in packages if k == "broken"
            ),
            repositories=tuple(body["repositories"]),
            holders=tuple(parse_holder(row) for row in body["holders"]),
            daemon_json="\n".join(body["daemon.json"]) if sections["daemon.json"][0] == 0 else None,
            cdi=_parse_cdi(body["cdi"]),
            engines=frozenset(body["engines"]),
            disks={disk.path: disk for disk in map(_parse_disk, body["disks"])},
            weights=dict(row.rsplit(" ", 1) for row in body["weights"] if not row.startswith("blob ")),
            blobs=_parse_blobs(row for row in body["weights"] if row.startswith("blob ")),
            files={
                path: ManagedFile(mode=mode, owner=owner, sha256=sha)
                for mode, owner, sha, path in (row.split(" ", 3) for row in body["files"])
            },
            releases=_parse_releases(body["releases"]),
            units=_parse_units(body["units"]),
            **parse_docker(body["docker"]),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ProbeError(f"the probe's answer cannot be read: {error!r}") from error
