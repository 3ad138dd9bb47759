"""Packages, repositories and certificates: what several stages begin with."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from hermeion.container_runtime import CA_PATH, registry_ca_path
from hermeion.drivers import CUDA_REPOSITORIES, KEYRING_SHA256
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.probe import Probe

APT = (
    "export DEBIAN_FRONTEND=noninteractive LC_ALL=C\n"
    "apt() { apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "
    '-o APT::Status-Fd=1 "$@"; }\n'
)


def apt_install(packages: tuple[str, ...] | list[str]) -> str:
    """A script that installs packages; apt tells its progress in lines of its own."""
    names = " ".join(shlex.quote(package) for package in packages)
    return f"{APT}apt update\napt install -y --no-install-recommends {names}\n"


def ca_files(spec: HostSpec, ca: str | None) -> list[HostFile]:
    """The site's certificates for everything that is fetched, and for Docker."""
    if ca is None:
        return []
    paths = [CA_PATH, registry_ca_path(spec.hermes_mirrors)]
    return [HostFile(path=path, content=ca) for path in paths if path]


def nvidia_repository(spec: HostSpec, probe: Probe, *, ca: str | None, mirror_key: str | None) -> str:
    """A script that adds NVIDIA's repository or its mirror, with its key.

    Args:
        mirror_key: Public key of the mirror, as text.
    """
    mirror = spec.hermes_mirrors.apt.nvidia
    if mirror is None:
        base = CUDA_REPOSITORIES[probe.os_id, probe.os_version]
        keyring = KEYRING_SHA256[probe.os_version]
        return f"""{apt_install(["curl", "ca-certificates"])}
keyring=$(mktemp)
trap 'rm -f "$keyring"' EXIT
curl -fsSL -o "$keyring" {base}cuda-keyring_1.1-1_all.deb
if ! echo "{keyring}  $keyring" | sha256sum -c --status; then
  echo "NVIDIA changed the package cuda-keyring_1.1-1_all.deb: its SHA-256 is not {keyring}"; exit 1
fi
dpkg -i "$keyring"
"""
    text = [
        HostFile(path="/etc/apt/keyrings/hermeion-nvidia.asc", content=mirror_key or ""),
        HostFile(
            path="/etc/apt/sources.list.d/hermeion-nvidia.sources",
            content=f"Types: deb\nURIs: {mirror.url}\nSuites: ./\nSigned-By: /etc/apt/keyrings/hermeion-nvidia.asc\n",
        ),
    ]
    if ca is not None and mirror.url.startswith("https:"):
        name = urlsplit(mirror.url).hostname
        setting = f'Acquire::https::{name}::CAInfo "{CA_PATH}";\n'
        text.append(HostFile(path="/etc/apt/apt.conf.d/50hermeion-nvidia", content=setting))
    return write_files(text)
