"""Images of hosts that are in a state already: many states stand on a driver, which takes half a minute to install."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker.errors import APIError, ImageNotFound

from ..cache import hash_of
from ..daemon import LABEL, resource_name
from ..gpus.sets import GpuSet, parse_gpu_set
from ..hosts import LabHost, create_host, create_volume, run_inside, wait_for_boot
from ..paths import StatePaths
from ..progress import Report
from ..teardown import remove_host, remove_volume
from . import State, chain_of, gpus_of, read_script
from .entering import Mirror, enter_state

if TYPE_CHECKING:
    import docker

_TURING = 0x1E02  # the first PCI device id of a GPU with a GSP (pci.ids): older ones take another kernel module


@dataclass(frozen=True)
class Maker:
    """What the making of a kept image needs of a lab."""

    client: docker.DockerClient
    lab: str
    subnet: ipaddress.IPv4Network
    repository: str
    """Name of the apt repository by content: another one, other packages in the image."""
    mirror: Mirror
    paths: StatePaths
    report: Report


def kept_state(gpus: GpuSet, states: Sequence[str]) -> State | None:
    """The last state that a host with these boards goes through of which an image may be kept.

    None for boards for which a driver is installed otherwise than for most: with NVSwitches, or before Turing.
    """
    if not states or (gpus.form and (gpus.form.switches or gpus.form.device < _TURING)):
        return None
    return next((state for state in reversed(chain_of(states[0])) if state.keep), None)


def kept_image(maker: Maker, state: State, base: str) -> str:
    """The tag of an image of a host in ``state``, made now from the host image ``base`` if there is none.

    Raises:
        LabError: The host does not boot, or the state cannot be entered.
    """
    chain = chain_of(state.name)
    below = next((other for other in reversed(chain[:-1]) if other.keep), None)
    scripts = [read_script(other.name) for other in chain]
    name = f"hermeion-lab-kept-{state.name}"
    tag = f"{name}:{hash_of(base, maker.repository, *scripts)}"
    try:
        maker.client.images.get(tag)
    except ImageNotFound:
        start = kept_image(maker, below, base) if below else base
        with maker.report.stage(f"keeping an image of a host in the state {state.name}"):
            _make(maker, state, below, start, tag)
        for old in maker.client.images.list(name=name):
            if tag not in old.tags:
                with suppress(APIError):  # a host of another lab still runs from it
                    maker.client.images.remove(str(old.id))
    return tag


def _make(maker: Maker, state: State, below: State | None, start: str, tag: str) -> None:
    client, lab, paths = maker.client, maker.lab, maker.paths
    host = LabHost(f"keeping-{state.name}"[:31], parse_gpu_set(gpus_of(state.name)))
    remove_volume(client, resource_name(lab, f"{host.name}-docker"))
    create_volume(client, lab, host.name)
    # The last address: hosts are numbered from the first.
    container = create_host(client, lab, host, str(maker.subnet[-2]), start, paths)
    try:
        wait_for_boot(container)
        inside = (below.name,) if below else ()
        enter_state(container, inside, state.name, maker.mirror, paths.host(host.name) / "pci")
        run_inside(container, "apt-get clean; rm -rf /var/log/journal/*")
        container.stop()
        repository, version = tag.split(":")
        container.commit(repository, version, changes=[f"LABEL {LABEL}=image"])
    finally:
        remove_host(client, lab, host.name, container, paths)
