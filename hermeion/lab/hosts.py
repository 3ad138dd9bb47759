"""The lab's hosts: containers that boot systemd and look like bare servers."""

from __future__ import annotations

import difflib
import hashlib
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from docker.errors import APIError

from hermeion.errors import LabError

from .daemon import LABEL, labels, make_archive, resource_name, tail_of_log
from .gpus.pci import write_tree
from .gpus.sets import GpuSet, parse_gpu_set
from .images.bases import SUITES
from .keys import ensure_ssh_key
from .paths import StatePaths, check_name
from .shares import Share, binds, disguise
from .states import DEFAULT_SUITE, format_states, gpus_of, parse_states, suite_of

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

BOOT_SECONDS = 60.0
# What systemd and a nested Docker need, found by trying: --privileged is refused on machines without
# CAP_SYS_RESOURCE, and asks for more than this.
_CAPABILITIES = [
    "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_NICE", "AUDIT_CONTROL", "MAC_ADMIN",
    "SYSLOG", "NET_RAW", "MKNOD", "SYS_BOOT", "SYS_TIME",
]  # fmt: skip

SHARED_LABEL = f"{LABEL}.shared"

_UDEV = (
    "systemd-udev-trigger.service", "systemd-udevd.service",
    "systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
)  # fmt: skip


@dataclass(frozen=True)
class LabHost:
    """A host that is wanted."""

    name: str
    gpus: GpuSet
    suite: str = DEFAULT_SUITE
    states: tuple[str, ...] = ()
    """What it is in once it stands, in the order of entering; none: bare."""
    shared: tuple[Share, ...] = ()


def parse_host(text: str) -> LabHost:
    """Read ``NAME=GPUSET[@SUITE][+STATE]``; several states may follow each other.

    Raises:
        LabError: The name, the set, the suite or a state is not one, or suite and state do not go together.
    """
    name, equals, rest = text.partition("=")
    if not equals:
        message = f"--host {text!r}: write NAME=GPUSET[@SUITE][+STATE], for example --host gpu-1=1xL40S."
        raise LabError(message)
    place, _, states = rest.partition("+")
    gpus, at, suite = place.partition("@")
    return make_host(name, gpus, suite if at else None, parse_states(states))


def make_host(name: str, gpus: str, suite: str | None, states: tuple[str, ...]) -> LabHost:
    """A wanted host from its parts; ``suite`` None: the one that the states ask for, else the default.

    Raises:
        LabError: As ``parse_host``.
    """
    if suite is not None and suite not in SUITES:
        near = difflib.get_close_matches(suite, SUITES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        message = f"the lab has no hosts with {suite!r}.{hint} Suites: {', '.join(SUITES)}."
        raise LabError(message)
    needed = suite_of(states)
    if needed and suite and needed != suite:
        message = f"{name}: {format_states(states)} exists on {needed} only, not on {suite}."
        raise LabError(message)
    return LabHost(check_name(name, "host"), parse_gpu_set(gpus), suite or needed or DEFAULT_SUITE, states)


def host_in_state(name: str) -> LabHost:
    """A host named after a state, made for it and in it.

    Raises:
        LabError: There is no such state.
    """
    return make_host(name, gpus_of(name), None, parse_states(name))


def create_host(
    client: docker.DockerClient, lab: str, host: LabHost, address: str, image: str, state: StatePaths
) -> Container:
    """Create and start one host; its ssh host key and machine id are the same whenever it is made again.

    Raises:
        LabError: Docker refuses the container.
    """
    folder = state.host(host.name)
    write_tree(host.gpus, folder / "pci")
    ensure_ssh_key(folder / "ssh_host_ed25519_key", comment=host.name)
    try:
        container = _create(client, lab, host, address, image, state)
        container.put_archive("/", make_archive(_identity(lab, host, state)))
        container.start()
    except APIError as error:
        with suppress(APIError):  # a host without its keys must not be taken for one by the next run
            client.api.remove_container(resource_name(lab, host.name), force=True)
        message = f"the host {host.name} cannot be made: {error}. Try: hermeion lab down, then up again."
        raise LabError(message) from error
    return container


def host_labels(lab: str, host: LabHost, image: str, state: StatePaths) -> dict[str, str]:
    """Labels of a host's container; one that has others is not the host that is wanted.

    Its states are not among them: a standing host enters and leaves states, and labels are for life.
    """
    key = state.key.with_suffix(".pub").read_bytes()
    return labels(lab, "host") | {
        f"{LABEL}.host": host.name,
        f"{LABEL}.gpus": host.gpus.text,
        f"{LABEL}.suite": host.suite,
        f"{LABEL}.image": image,
        SHARED_LABEL: ",".join(share.text for share in host.shared),
        f"{LABEL}.key": hashlib.sha256(key).hexdigest()[:16],  # the state, and the key with it, may have been lost
    }


def create_volume(client: docker.DockerClient, lab: str, host: str) -> None:
    """The volume behind a host's ``/var/lib/docker``, labelled so that ``down`` finds it."""
    client.volumes.create(resource_name(lab, f"{host}-docker"), labels=labels(lab, "volume") | {f"{LABEL}.host": host})


def _create(
    client: docker.DockerClient, lab: str, host: LabHost, address: str, image: str, state: StatePaths
) -> Container:
    settings = client.api.create_host_config(
        cap_add=_CAPABILITIES,
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="private",
        shm_size="2g",  # engines with ipc: host use this; vLLM refuses to start in Docker's 64 MB
        restart_policy={"Name": "on-failure"},  # makes systemctl reboot a reboot
        binds={
            str(state.host(host.name) / "pci"): {"bind": "/sys/bus/pci/devices", "mode": "ro"},
            # overlay on overlay is refused, so the nested Docker gets a real file system
            resource_name(lab, f"{host.name}-docker"): {"bind": "/var/lib/docker", "mode": "rw"},
            **binds(lab, host.shared),
        },
        network_mode=resource_name(lab, "net"),
    )
    # The SDK has no word for the command line's systempaths=unconfined: nothing in /proc hidden or read-only.
    settings["MaskedPaths"] = settings["ReadonlyPaths"] = []
    # Any: the stubs of create_networking_config want one endpoint where the SDK wants a mapping.
    endpoints: Any = {resource_name(lab, "net"): client.api.create_endpoint_config(ipv4_address=address)}
    made = client.api.create_container(
        image,
        name=resource_name(lab, host.name),
        hostname=host.name,
        labels=host_labels(lab, host, image, state),
        environment={"container": "docker"},
        stop_signal="SIGRTMIN+3",
        host_config=settings,
        networking_config=client.api.create_networking_config(endpoints),
    )
    return client.containers.get(made["Id"])


def _identity(lab: str, host: LabHost, state: StatePaths) -> dict[str, tuple[bytes, int]]:
    key = state.host(host.name) / "ssh_host_ed25519_key"
    public = state.key.with_suffix(".pub").read_bytes()
    # An empty unit file masks the unit. The kernel tells every udev of the machine about every device, so udev in
    # forty booting hosts works at forty times forty times the devices; and none of them is the lab's.
    masked = {f"etc/systemd/system/{unit}": (b"", 0o644) for unit in _UDEV}
    machine = hashlib.sha256(f"{lab}/{host.name}".encode()).hexdigest()[:32]
    return (
        masked
        | dict(disguise(host.shared))
        | {
            "etc/machine-id": (machine.encode() + b"\n", 0o444),
            "etc/ssh/ssh_host_ed25519_key": (key.read_bytes(), 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_bytes(), 0o644),
            "root/.ssh/authorized_keys": (public, 0o600),
            # sshd reads this as admin: owned by root it must be world-readable, which a public key may be.
            "home/admin/.ssh/authorized_keys": (public, 0o644),
        }
    )


def wait_for_boot(container: Container, seconds: float = BOOT_SECONDS) -> str:
    """Wait until systemd has booted and sshd answers; returns systemd's word: running or degraded.

    Raises:
        LabError: It takes longer than ``seconds``; carries the state, failed units and the log's end.
    """
    deadline = time.monotonic() + seconds
    said = ""
    while time.monotonic() < deadline:
        try:
            said = run_inside(container, "systemctl is-system-running 2>&1; systemctl is-active ssh.service")[1]
        except APIError as error:  # not started yet, or between two starts
            said = str(error)
        words = said.split()
        if words and words[0] in ("running", "degraded") and words[-1] == "active":
            return words[0]
        time.sleep(0.2)
    log = tail_of_log(container)
    message = f"{container.name} did not boot within {seconds:.0f} s: {said.strip()}\n{log}\nSee: docker logs "
    message += str(container.name)
    raise LabError(message)


def run_inside(container: Container, script: str) -> tuple[int, str]:
    """Run a shell script in a container; its exit status and output."""
    result = container.exec_run(["sh", "-c", script])
    return int(result.exit_code or 0), cast("bytes", result.output).decode(errors="replace")


def failed_units(container: Container) -> str:
    """Names of failed units in one line, for people."""
    listed = run_inside(container, "systemctl list-units --failed --no-legend --plain")[1]
    return shlex.join(line.split()[0] for line in listed.splitlines() if line.split())
