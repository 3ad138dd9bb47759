"""Answers of a probe, hosts and plans for tests, built as text in the probe's own format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from hermeion.gpus import gpu_models
from hermeion.inventory import HostSpec, parse_host_spec
from hermeion.planner import make_plan
from hermeion.plans import Image, Plan, Service
from hermeion.probe import Probe, parse_probe
from hermeion.render import render_files
from hermeion.resources import share
from hermeion.runtime import CA_PATH
from hermeion.sources import HubFile, Sources, settle
from hermeion.units import GIB, MIB

NAME = "gpu-1"
TEMPLATES = share("templates")
ROOT = Path(__file__).parents[2]

RTX_4090 = "2684"
RTX_3090 = "2204"
L40S = "26b9"
A100_40 = "20b0"
A100_80 = "20b2"
H100 = "2330"
H200 = "2335"
T4 = "1eb8"
V100 = "1db5"
RTX_5090 = "2b85"
GB10 = "2e12"

DRIVER = "580.178.04"
REVISION = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "ab" * 32
OTHER_DIGEST = "sha256:" + "cd" * 32
POISON = "hf_POISONPOISONPOISON"

OWN: dict[str, Any] = {
    "name": "my-llama",
    "repo": "me/my-llama",
    "bytes": 16_060_522_496,
    "precision": "bf16",
    "shape": {
        "layers": 32,
        "hidden": 4096,
        "intermediate": 14336,
        "heads": 32,
        "kv_heads": 8,
        "head_dim": 128,
        "vocab": 128256,
        "max_context": 8192,
    },
}
"""An own model for ``hermes_catalog``: Llama 8B with 8192 tokens of context."""

CDI_ON = '{"features": {"cdi": true}}'


def uuid_of(index: int) -> str:
    """UUID of the GPU with this place on the bus."""
    return f"GPU-{index:08d}-1111-2222-3333-444444444444"


def address_of(index: int) -> str:
    """PCI address of the GPU with this place on the bus."""
    return f"0000:{index + 1:02x}:00.0"


def smi_row(index: int, device_id: str, *, driver: str = DRIVER, used: int = 0, total: int | None = None) -> str:
    """One row of ``nvidia-smi``; ``used`` and ``total`` in MiB."""
    model = gpu_models()[device_id]
    memory = model.memory // MIB if total is None else total
    major, minor = model.compute_capability
    return (
        f"{uuid_of(index)}, {model.name}, 0000{address_of(index).upper()}, {memory}, {used}, {major}.{minor}, "
        f"{driver}, Disabled"
    )


def section(name: str, rows: Sequence[str] | str, status: int = 0) -> str:
    """One section as the probe prints it."""
    body = rows if isinstance(rows, str) else "".join(f"{row}\n" for row in rows)
    return f"@{name}\n{body}\n@={status}\n"


def probe_text(
    gpus: Sequence[str] = (RTX_4090,),
    *,
    driver: str | None = DRIVER,
    used: Mapping[int, int] | None = None,
    totals: Mapping[int, int] | None = None,
    smi: tuple[int, Sequence[str]] | None = None,
    topology: Sequence[str] = (),
    numa: Sequence[int] = (),
    meminfo: Sequence[str] = ("MemTotal=527956992", "MemAvailable=519045120"),
    os: Sequence[str] = ("ID=debian", 'VERSION_ID="13"', "VERSION_CODENAME=trixie"),
    kernel: str = "6.12.48+deb13-amd64",
    machine: str = "x86_64",
    uid: int = 0,
    boot: str = "b0b0b0b0-0000-0000-0000-000000000001/42",
    tools: Sequence[str] = ("curl", "wget", "systemctl", "apt-get"),
    secure_boot: bool | None = None,
    more_pci: Sequence[str] = (),
    guest: str = "none",
    platform: Sequence[str] = (),
    fabric: Sequence[str] = (),
    driver_rows: Sequence[str] | None = None,
    packages: Mapping[str, str] | None = None,
    held: Sequence[str] = (),
    broken: Sequence[str] = (),
    repositories: Sequence[str] = (),
    holders: Sequence[str] = (),
    docker: str | None = "26.1.5+dfsg1",
    compose: str | None = "2.26.1-4",
    daemon_json: str | None = CDI_ON,
    docker_rows: Sequence[str] = ("active=active", "enabled=enabled", "live_restore=false", "swarm=inactive"),
    cdi: Sequence[str] | None = None,
    images: Sequence[str] = (),
    containers: Sequence[str] = (),
    disks: Sequence[str] = (
        "/srv/models 2000000000000 1900000000000 yes /dev/nvme0n1p2",
        "/var/lib/docker 2000000000000 1900000000000 yes /dev/nvme0n1p2",
        "/opt/hermeion 2000000000000 1900000000000 yes /dev/nvme0n1p2",
    ),
    engines: Sequence[str] = (),
    weights: Sequence[str] = (),
    files: Sequence[str] = (),
    releases: Sequence[str] = (),
    units: Sequence[str] = (),
) -> str:
    """A probe's answer. By default: Debian 13 with one RTX 4090, driver, Docker and toolkit, and nothing of ours."""
    uuids = [uuid_of(i) for i in range(len(gpus))] if driver else []
    if smi is None:
        rows = [
            smi_row(i, gpu, driver=driver, used=(used or {}).get(i, 0), total=(totals or {}).get(i))
            for i, gpu in enumerate(gpus)
            if driver
        ]
        smi = (0, rows) if driver else (127, [])
    if packages is None:
        packages = {"nvidia-container-toolkit-base": "1.20.0-1", "docker.io": "26.1.5+dfsg1-9"}
    bus = [
        f"{address_of(i)} 0x{gpu} 0x030200 {'nvidia' if driver else '-'} - {numa[i] if numa else -1}"
        for i, gpu in enumerate(gpus)
    ]
    system = [*os, f"kernel={kernel}", f"machine={machine}", f"uid={uid}", f"boot={boot}", *meminfo]
    system += [f"tool={tool}" for tool in tools]
    system += [f"guest={guest}", *(f"platform={path}" for path in platform)]
    if secure_boot is not None:
        system.append(f"secure_boot={int(secure_boot)}")
    if driver_rows is None:
        driver_rows = driver_section(driver, kernel)
    answer = [f"version={docker or ''}", f"compose={compose or ''}", *docker_rows]
    if docker and cdi_is_on(docker, daemon_json):
        answer.append('cdi_folders=["/etc/cdi","/var/run/cdi"]')
    answer += [f"image={image}" for image in images]
    answer += [f"container={container}" for container in containers]
    return "".join(
        [
            section("os", system),
            section("pci", [*bus, *more_pci]),
            section("smi", smi[1], smi[0]),
            section("topo", topology, 0 if topology else 127),
            section("fabric", fabric, 0 if fabric else 127),
            section("driver", driver_rows),
            section(
                "packages",
                [f"broken {row}" for row in broken]
                + [f"{'held' if k in held else 'package'} {k} {v}" for k, v in packages.items()],
            ),
            section("repositories", repositories),
            section("holders", holders),
            section("docker", answer if docker else [], 0 if docker else 127),
            section("daemon.json", daemon_json or "", 0 if daemon_json is not None else 1),
            section("cdi", cdi_section(uuids) if cdi is None else cdi),
            section("disks", disks),
            section("engines", engines),
            section("weights", weights),
            section("files", files),
            section("releases", releases),
            section("units", units),
        ]
    )


def driver_section(version: str | None, kernel: str) -> list[str]:
    """Rows of a healthy driver of NVIDIA's repository, or of a host without one."""
    if version is None:
        return [f"kernel={kernel} no - -"]
    return [
        f"module={version}",
        "flavour=open",
        f"library={version}",
        f"kernel={kernel} yes {version} Dual MIT/GPL",
        f"dkms=nvidia {version} {kernel} installed",
        "unit=nvidia-persistenced enabled active",
    ]


def cdi_section(uuids: Sequence[str], path: str = "/var/run/cdi/nvidia.yaml") -> list[str]:
    """Rows of one CDI specification that lists these GPUs; none without GPUs."""
    return [f"spec {path}", *(f"device {uuid}" for uuid in uuids), "device all"] if uuids else []


def cdi_is_on(docker: str, daemon_json: str | None) -> bool:
    """Whether a Docker of this version looks for CDI specifications."""
    found = re.match(r"(\d+)\.(\d+)", docker)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return version >= (28, 2) or (version >= (25, 0) and '"cdi": true' in (daemon_json or ""))


def make_probe(gpus: Sequence[str] = (RTX_4090,), **answers: Any) -> Probe:
    """The parsed form of :func:`probe_text`."""
    return parse_probe(probe_text(gpus, **answers).splitlines())


def bare_text(gpus: Sequence[str] = (RTX_4090,), **answers: Any) -> str:
    """A fresh Debian 13: no driver, no Docker, no toolkit."""
    return probe_text(
        gpus, **{"driver": None, "packages": {}, "docker": None, "compose": None, "daemon_json": None} | answers
    )


def make_spec(*services: Mapping[str, object], name: str = NAME, **keys: object) -> HostSpec:
    """A host's part of an inventory; one service ``hermes`` with hermes-3-8b unless said otherwise."""
    wanted = list(services) or [{"name": "hermes", "model": "hermes-3-8b"}]
    return parse_host_spec(name, {"hermes_services": wanted, **keys})


def make_sources(service: Service, **changes: Any) -> Sources:
    """What the Hub and the registry say when all is well."""
    names = [name.replace("*", "-00001-of-00001") for name in service.files] or ["model.safetensors"]
    weights = tuple(HubFile(path=name, size=service.weights_bytes, sha256="ef" * 32) for name in names)
    values: dict[str, Any] = {"revision": REVISION, "files": weights, "digest": DIGEST, "image_bytes": 8 * GIB}
    return Sources(**values | changes)


def image_of(service: Service) -> Image:
    """The image of a service that runs in a container."""
    assert service.image
    return service.image


def settled(plan: Plan) -> Plan:
    """The plan with every commit and digest filled in."""
    return plan.model_copy(update={"services": tuple(settle(s, make_sources(s)) for s in plan.services)})


def final_plan(
    *services: Mapping[str, object], gpus: Sequence[str] = (RTX_4090,), name: str = NAME, **keys: object
) -> Plan:
    """A plan with nothing left to resolve."""
    return settled(make_plan(name, make_spec(*services, name=name, **keys), make_probe(gpus)))


def final_service(
    *services: Mapping[str, object], gpus: Sequence[str] = (RTX_4090,), name: str = NAME, **keys: object
) -> Service:
    """The first service of :func:`final_plan`."""
    return final_plan(*services, gpus=gpus, name=name, **keys).services[0]


def file_row(path: str, content: str, mode: str = "644") -> str:
    """A row of the probe's section ``files``."""
    return f"{mode} 0:0 {sha256(content.encode()).hexdigest()} {path}"


def converged_answers(plan: Plan, *, ca: str | None = None) -> dict[str, Any]:
    """Keywords for :func:`probe_text` of a host that is as ``plan`` says."""
    answers: dict[str, Any] = {
        "images": sorted({service.image.reference for service in plan.services if service.image}),
        "containers": [
            f"{'c0' * 32} hermeion-{service.name} running {service.name} {service.release_id}"
            for service in plan.services
            if service.image
        ],
        "engines": sorted({service.package.identity for service in plan.services if service.package}),
        "weights": sorted({f"{service.snapshot} complete" for service in plan.services}),
        "files": [file_row(CA_PATH, ca)] if ca is not None else [],
        "releases": [],
        "units": [],
        # What our own engine holds while it runs: nearly all of each of its GPUs.
        "used": {
            int(gpu.pci_address[5:7], 16) - 1: int(gpu.memory * 0.93) // MIB
            for service in plan.services
            for gpu in service.gpus
        },
    }
    for service in plan.services:
        for file in render_files(service, TEMPLATES):
            answers["files"].append(file_row(f"{service.folder}/current/{file.path}", file.content, file.mode))
            if file.path == service.unit:
                answers["files"].append(file_row(f"/etc/systemd/system/{file.path}", file.content, file.mode))
        answers["files"].append(file_row(f"/etc/hermeion/{service.name}/api-keys", "secret\n", "600"))
        answers["releases"].append(
            f"{service.name} releases/{service.release_id} {json.dumps(service.to_json(), sort_keys=True)}"
        )
        answers["units"].append(
            f"{service.unit} NRestarts=0 ActiveState=active SubState=running UnitFileState=enabled NeedDaemonReload=no"
            + (f" release={service.release_id}" if service.package else "")
        )
    return answers
