"""Where a host's packages come from: NVIDIA, its container toolkit, Docker, the distribution, EPEL, or their mirrors.

Each text needs :func:`hermeion.scripts.packages.prelude` before it. A key or a list that a person has put there is used
as it is: two sources of one repository with different keys make apt refuse both.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

from hermeion.inventory import AptMirror, HostSpec, RpmMirror
from hermeion.jobs import HostFile, write_files
from hermeion.probe import Probe
from hermeion.runtime.certificates import CA_PATH
from hermeion.scripts import keys as known
from hermeion.scripts.apt import PRIVATE

CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"
TOOLKIT = "https://nvidia.github.io/libnvidia-container/stable"
DOCKER = "https://download.docker.com/linux"

KEYRING_SHA256 = {
    "debian12": "e7f219eab6fe4819cdb5c15b98233dc3420302d9c00883219cd3d896857cf48d",
    "debian13": "dd28f1f6ba0038180d6b23f846cefca1e3de4c9327751665241370bacea452a1",
    "ubuntu2204": "d93190d50b98ad4699ff40f4f7af50f16a76dac3bb8da1eaaf366d47898ff8df",
    "ubuntu2404": "d2a6b11c096396d868758b86dab1823b25e14d70333f1dfa74da5ddaf6a06dba",
    "ubuntu2604": "f7f474b5f6a4adf987aa587920df00e713285958ef6a913dda1945a544a3099e",
}
"""SHA-256 of cuda-keyring_1.1-1_all.deb (GoogleCloudPlatform/compute-gpu-installation e4d32d9, config.py)."""


def release_of(probe: Probe) -> str:
    """The system as NVIDIA's repository names it: ``debian13``, ``ubuntu2404``, ``rhel9``."""
    if is_rpm(probe):
        return f"rhel{probe.os_version.partition('.')[0]}"
    return f"{probe.os_id}{probe.os_version.replace('.', '')}"


def is_arm(probe: Probe) -> bool:
    """Whether the host is an aarch64 server, which NVIDIA calls ``sbsa``."""
    return probe.machine == "aarch64"


def is_rpm(probe: Probe) -> bool:
    """Whether the host's packages are dnf's business."""
    return "apt-get" not in probe.tools and "dnf" in probe.tools


def nvidia_repository(spec: HostSpec, probe: Probe, *, ca: str | None, keys: Mapping[str, str]) -> str:
    """NVIDIA's CUDA repository or its mirror, never both.

    Args:
        keys: Public keys of the mirrors, as text, by ``apt/nvidia``, ``rpm/nvidia`` and so on.
    """
    release = release_of(probe)
    base = f"{CUDA}/{release}/{'sbsa' if is_arm(probe) else 'x86_64'}/"
    if is_rpm(probe):
        rpm = spec.hermes_mirrors.rpm.nvidia
        if rpm:
            return _rpm_mirror("nvidia", rpm, keys["rpm/nvidia"], ca)
        return _rpm("nvidia", base, known.CUDA_RPM[release.removeprefix("rhel")])
    mirror = spec.hermes_mirrors.apt.nvidia
    if mirror:
        # Where NVIDIA is not reached, its own list would hold up every refresh.
        purge = "if dpkg-query -W cuda-keyring >/dev/null 2>&1; then apt purge -y cuda-keyring; fi\n"
        return purge + _apt_mirror("nvidia", mirror, keys["apt/nvidia"], ca)
    if is_arm(probe):
        return _apt("nvidia", base, "/", known.CUDA_ARM)
    checksum = KEYRING_SHA256[release]
    return f"""{_forget("nvidia")}if ! has_source {base.removeprefix("https://")}; then
  need curl ca-certificates
  package=$(mktemp)
  curl -fsSL -o "$package" {base}cuda-keyring_1.1-1_all.deb || fail "NVIDIA's repository is not reached; curl's own line says why. A site without internet names a mirror in hermes_mirrors/apt/nvidia."
  if ! echo "{checksum}  $package" | sha256sum -c --status; then
    rm -f "$package"; fail "NVIDIA changed the package cuda-keyring_1.1-1_all.deb: its SHA-256 is not {checksum}. Nothing was trusted."
  fi
  wait_for_lock; dpkg -i "$package"; rm -f "$package"
fi
"""


def toolkit_repository(spec: HostSpec, probe: Probe, *, ca: str | None, keys: Mapping[str, str]) -> str:
    """Where NVIDIA's container toolkit comes from: its mirror, else the mirror of the driver, else NVIDIA.

    Args:
        keys: As for :func:`nvidia_repository`: ``apt/toolkit``, ``rpm/toolkit``.
    """
    if is_rpm(probe):
        rpm = spec.hermes_mirrors.rpm
        if rpm.toolkit:
            return _rpm_mirror("toolkit", rpm.toolkit, keys["rpm/toolkit"], ca, metadata=True)
        if rpm.nvidia:
            return nvidia_repository(spec, probe, ca=ca, keys=keys)
        return _rpm("toolkit", f"{TOOLKIT}/rpm/{probe.machine}/", known.TOOLKIT, metadata=True)
    apt = spec.hermes_mirrors.apt
    if apt.toolkit:
        return _apt_mirror("toolkit", apt.toolkit, keys["apt/toolkit"], ca)
    if apt.nvidia:
        return nvidia_repository(spec, probe, ca=ca, keys=keys)
    return _apt("toolkit", f"{TOOLKIT}/deb/{'arm64' if is_arm(probe) else 'amd64'}/", "/", known.TOOLKIT)


def docker_repository(spec: HostSpec, probe: Probe, *, ca: str | None, keys: Mapping[str, str]) -> str:
    """Docker's own repository or its mirror.

    Args:
        keys: As for :func:`nvidia_repository`: ``apt/docker``, ``rpm/docker``.
    """
    if is_rpm(probe):
        rpm = spec.hermes_mirrors.rpm.docker
        if rpm:
            return _rpm_mirror("docker", rpm, keys["rpm/docker"], ca)
        # Docker builds for RHEL and for CentOS, which Rocky and Alma take (docs.docker.com/engine/install).
        name = "rhel" if probe.os_id == "rhel" else "centos"
        release = release_of(probe).removeprefix("rhel")
        return _rpm("docker", f"{DOCKER}/{name}/{release}/{probe.machine}/stable/", known.DOCKER_RPM[name])
    mirror = spec.hermes_mirrors.apt.docker
    if mirror:
        return _apt_mirror("docker", mirror, keys["apt/docker"], ca, suite=probe.codename, components="stable")
    base = f"{DOCKER}/{probe.os_id}/"
    return _apt("docker", base, probe.codename, known.DOCKER_DEB[probe.os_id], components="stable")


def epel_repository(spec: HostSpec, probe: Probe, *, ca: str | None, keys: Mapping[str, str]) -> str:
    """EPEL for ``dkms`` alone, where the host has no EPEL of its own, or its mirror."""
    mirror = spec.hermes_mirrors.rpm.epel
    if mirror:
        return _rpm_mirror("epel", mirror, keys["rpm/epel"], ca)
    release = release_of(probe).removeprefix("rhel")
    base = f"https://dl.fedoraproject.org/pub/epel/{release}/Everything/{probe.machine}/"
    ours = _rpm("epel", base, known.EPEL[release], more="includepkgs=dkms\n")
    return f"if ! command dnf -q repolist | grep -q '^epel'; then\n{ours}fi\n"


def distribution_mirror(spec: HostSpec, probe: Probe, *, keys: Mapping[str, str]) -> str:
    """The private sources of Hermeion's own calls (:func:`hermeion.scripts.apt.apt_options`); empty without a mirror."""
    mirror = spec.hermes_mirrors.apt.distribution
    if mirror is None:
        return ""
    key = f"/usr/share/keyrings/{probe.os_id}-archive-keyring.gpg"
    files = []
    if mirror.key:
        key = "/etc/apt/keyrings/hermeion-distribution.asc"
        files.append(HostFile(path=key, content=keys["apt/distribution"]))
    suites = mirror.suites or (probe.codename, f"{probe.codename}-updates")
    ubuntu, debian = "main restricted universe multiverse", "main contrib non-free non-free-firmware"
    text = _deb822(mirror.url, " ".join(suites), key, ubuntu if probe.os_id == "ubuntu" else debian)
    files.append(HostFile(path=f"{PRIVATE}/sources.list.d/distribution.sources", content=text))
    return "mkdir -p /var/lib/hermeion/apt/lists/partial\n" + write_files(files)


def _deb822(url: str, suites: str, key: str, components: str = "") -> str:
    rows = [f"Types: deb\nURIs: {url}\nSuites: {suites}\n"]
    rows += [f"Components: {components}\n"] if components else []
    return "".join([*rows, f"Signed-By: {key}\n"])


def _forget(name: str) -> str:
    return f"rm -f /etc/apt/sources.list.d/hermeion-{name}.sources /etc/apt/apt.conf.d/50hermeion-{name}\n"


def _apt(name: str, base: str, suite: str, key: known.Key, components: str = "") -> str:
    path = f"/etc/apt/keyrings/hermeion-{name}.asc"
    source = HostFile(
        path=f"/etc/apt/sources.list.d/hermeion-{name}.sources", content=_deb822(base, suite, path, components)
    )
    return f"""if ! has_source {base.removeprefix("https://")}; then
need curl ca-certificates gnupg
{key.fetch(path)}{write_files([source])}fi
"""


def _apt_mirror(
    name: str, mirror: AptMirror, key: str, ca: str | None, *, suite: str = "./", components: str = ""
) -> str:
    path = f"/etc/apt/keyrings/hermeion-{name}.asc"
    files = [
        HostFile(path=path, content=key),
        HostFile(
            path=f"/etc/apt/sources.list.d/hermeion-{name}.sources",
            content=_deb822(mirror.url, suite, path, components),
        ),
    ]
    settings = []
    if ca is not None and mirror.url.startswith("https:"):
        setting = f'Acquire::https::{urlsplit(mirror.url).hostname}::CAInfo "{CA_PATH}";\n'
        settings.append(HostFile(path=f"/etc/apt/apt.conf.d/50hermeion-{name}", content=setting))
    address = shlex.quote(mirror.url.partition("://")[2].rstrip("/"))
    return f"""{write_files(settings) if settings else ""}if ! has_source {address}; then
{write_files(files)}else
  rm -f {files[1].path}
fi
"""


def _repo(name: str, base: str, *, metadata: bool, more: str = "") -> HostFile:
    # The toolkit's packages are not signed, its metadata is; NVIDIA's CUDA repository and Docker sign their packages.
    checks = "gpgcheck=0\nrepo_gpgcheck=1\n" if metadata else "gpgcheck=1\nrepo_gpgcheck=0\n"
    text = f"[hermeion-{name}]\nname=hermeion-{name}\nbaseurl={base}\nenabled=1\n{checks}"
    text += f"gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-hermeion-{name}\n{more}"
    return HostFile(path=f"/etc/yum.repos.d/hermeion-{name}.repo", content=text)


def _rpm(name: str, base: str, key: known.Key, *, metadata: bool = False, more: str = "") -> str:
    path = f"/etc/pki/rpm-gpg/RPM-GPG-KEY-hermeion-{name}"
    # A file of a person's for the same repository would give each package twice, which dnf minds as little as we do.
    return f"need curl gnupg2\n{key.fetch(path)}{write_files([_repo(name, base, metadata=metadata, more=more)])}"


def _rpm_mirror(name: str, mirror: RpmMirror, key: str, ca: str | None, *, metadata: bool = False) -> str:
    more = f"sslcacert={CA_PATH}\n" if ca is not None and mirror.url.startswith("https:") else ""
    path = f"/etc/pki/rpm-gpg/RPM-GPG-KEY-hermeion-{name}"
    return write_files([HostFile(path=path, content=key), _repo(name, mirror.url, metadata=metadata, more=more)])
