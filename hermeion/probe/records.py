"""What a probe tells, as values."""

from __future__ import annotations

from pydantic import Field

from hermeion.gpus import SmiGpu
from hermeion.probe.containers import Container, Docker
from hermeion.probe.drivers import BrokenPackage, Driver, Holder
from hermeion.records import Record


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


NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "lustre", "ceph", "cephfs", "wekafs", "beegfs", "gpfs", "9p", "virtiofs", "cifs", "smb3"}
)
"""Types of filesystems that several hosts may have mounted at once; ``fuse.…`` too. ``probe.sh`` has the same list."""


class Disk(Record):
    """The filesystem that holds (or would hold) ``path``; sizes in bytes.

    Attributes:
        source: Device, or server and folder: the same on every host that has mounted it.
        fstype: Its type (``ext4``, ``nfs4`` …), or empty: not known.
        target: Where it is mounted, or empty: not known.
    """

    path: str
    total: int
    free: int
    writable: bool
    source: str
    fstype: str = ""
    target: str = ""

    @property
    def is_network(self) -> bool:
        """Whether other hosts may have it mounted too."""
        return self.fstype in NETWORK_FILESYSTEMS or self.fstype.startswith("fuse.")


class Address(Record):
    """An address of the host's own, with the length of its network: ``eth0``, ``10.0.0.5/24``.

    Not of loopback and not link-local. Bridges of containers are among them: theirs may be the same on every host.
    """

    interface: str
    address: str


class ManagedFile(Record):
    """A file under our control as it lies on the host."""

    mode: str
    owner: str
    sha256: str


class Unit(Record):
    """A systemd unit of ours.

    Attributes:
        release: Release that its main process was started from, if it runs an engine natively; else ``None``.
    """

    active: str
    sub: str
    enabled: str
    restarts: int
    needs_reload: bool
    release: str | None = None


class CdiSpec(Record):
    """A CDI specification of NVIDIA's GPUs.

    Attributes:
        devices: Names of its devices: indices, UUIDs, ``all``.
        missing: Files of the host that it would give to containers and that are not there.
    """

    path: str
    devices: frozenset[str]
    missing: tuple[str, ...] = ()


class Probe(Record):
    """Everything one round trip tells about a host.

    Attributes:
        os_like: Families that the system counts itself to, from its own name on: ``("rocky", "rhel", "centos")``.
        glibc: Version of the C library, ``2.41``, or ``None``: it is another one.
        guest: Kind of container that the host itself is (``lxc``, ``docker`` …), or ``None``: a machine of its own.
        platform: Files that prove a platform with a driver of its own (``/etc/dgx-release`` …).
        reboot_required: Whether the system asks for a reboot.
        mok_enrolled: Whether the firmware trusts the key that DKMS signs with.
        smi: GPUs as the driver reports them, or ``None`` when no driver answers; ``()`` when it sees none.
        smi_status: Exit status of ``nvidia-smi``; 127: it is not there.
        smi_text: What ``nvidia-smi`` printed when it failed.
        nvlinks: Pairs of GPUs, by their place in PCI order, that NVLink joins.
        fabric: State of each GPU's NVLink fabric (``Completed``, ``In Progress`` …), where there are NVSwitches.
        addresses: Addresses of the interfaces that are up, in the kernel's order; without iproute2: IPv4 alone.
        memory: The host's memory in bytes; ``memory_available``: what of it can be had.
        packages: Version by name, of the packages that matter here.
        held_packages: Those of them that are held at their version.
        broken_packages: Packages that dpkg left half-configured.
        repositories: ``file: line`` of each line of the package manager's sources that names NVIDIA or Docker.
        holders: Processes that hold a GPU's device open, the driver's own daemons left out.
        docker: Docker's version, or ``None`` when it is missing or does not answer.
        engine: What else Docker says of itself.
        daemon_json: Text of Docker's configuration, or ``None``.
        cdi: CDI specifications that name NVIDIA's GPUs.
        images: ``repository@sha256:…`` of the images that Docker holds.
        containers: Every container, ours and others'.
        engines: Folders of engines under ``/opt/hermeion/engines`` that are installed completely.
        weights: ``complete`` or ``damaged`` by ``models--org--name@revision``.
        blobs: Bytes by name of blob, by ``models--org--name``: what an unfinished pull has left, ``….incomplete``
            included. Blobs below 1 MiB are left out, and what is in a complete copy.
        releases: Release id and plan (parsed JSON) by service.
    """

    os_id: str
    os_version: str
    os_like: tuple[str, ...] = ()
    codename: str
    kernel: str
    machine: str
    glibc: str | None = None
    boot: str
    is_root: bool
    tools: frozenset[str]
    secure_boot: bool
    mok_enrolled: bool = False
    guest: str | None = None
    platform: tuple[str, ...] = ()
    reboot_required: bool = False
    pci: tuple[PciDevice, ...]
    smi: tuple[SmiGpu, ...] | None
    smi_status: int = 0
    smi_text: str
    nvlinks: tuple[tuple[int, int], ...] = ()
    fabric: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    memory: int = 0
    memory_available: int = 0
    driver: Driver = Driver()
    packages: dict[str, str]
    held_packages: frozenset[str] = frozenset()
    broken_packages: tuple[BrokenPackage, ...]
    repositories: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    docker: str | None
    compose: str | None
    engine: Docker = Docker()
    daemon_json: str | None
    cdi: tuple[CdiSpec, ...] = ()
    images: frozenset[str]
    containers: tuple[Container, ...]
    engines: frozenset[str] = frozenset()
    disks: dict[str, Disk]
    weights: dict[str, str]
    blobs: dict[str, dict[str, int]] = Field(default={})
    files: dict[str, ManagedFile]
    releases: dict[str, tuple[str, dict[str, object]]]
    units: dict[str, Unit]

    @property
    def gpus(self) -> tuple[PciDevice, ...]:
        """NVIDIA GPUs on the PCI bus that are not passed through to a guest, in PCI order."""
        return tuple(sorted((d for d in self.pci if d.is_gpu and d.driver != "vfio-pci"), key=lambda d: d.address))

    @property
    def cdi_devices(self) -> frozenset[str]:
        """Device names of all CDI specifications."""
        return frozenset(name for spec in self.cdi for name in spec.devices)

    @property
    def own_containers(self) -> tuple[Container, ...]:
        """The containers that Hermeion started."""
        return tuple(container for container in self.containers if container.service)

    @property
    def serving(self) -> tuple[str, ...]:
        """Names of our services that run here now."""
        return tuple(sorted({c.service for c in self.own_containers if c.state == "running"}))
