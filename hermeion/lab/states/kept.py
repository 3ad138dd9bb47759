"""Images of hosts that are in a state already: many states stand on a driver, which takes half a minute to install."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Literal

from docker.errors import APIError, ImageNotFound

from hermeion.errors import LabError

from ..cache import hash_of
from ..daemon import LABEL, find_containers, resource_name
from ..gpus.sets import BOARDS_MAX, GpuSet, parse_gpu_set
from ..hosts import LabHost, create_host, create_volume, run_inside, wait_for_boot
from ..paths import StatePaths
from ..progress import Report
from ..teardown import remove_host, remove_volume
from . import DEFAULT_GPUS, chain_of, read_script
from .entering import Mirror, enter_state

if TYPE_CHECKING:
    import docker

_TURING = 0x1E02  # the first PCI device id of a GPU with a GSP (pci.ids): older ones take another kernel module
_AT_ONCE = 4  # installing computes most of the time; more at once is no sooner on a few cores
Boards = Literal["usual", "fabric", "volta"]
_MADE_WITH: dict[Boards, str] = {"usual": DEFAULT_GPUS, "fabric": "8xH100-SXM", "volta": "1xV100-32GB"}


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


@dataclass(frozen=True)
class Kept:
    """An image that is kept: of a host in this state, on this suite, with boards that take the same driver packages."""

    state: str
    suite: str
    boards: Boards

    @property
    def below(self) -> Kept | None:
        """The kept image that this one is made from; None: the suite's own."""
        chain = chain_of(self.state)[:-1]
        return next((Kept(one.name, self.suite, self.boards) for one in reversed(chain) if one.keep), None)

    @property
    def repository(self) -> str:
        """The image's name without its tag."""
        return f"hermeion-lab-kept-{self.state}-{self.suite}-{self.boards}"


def boards_of(gpus: GpuSet) -> Boards:
    """What a driver's installation depends on: eight boards behind NVSwitches add a fabric manager, and boards before
    Turing take the proprietary module. Without GPUs: usual."""
    if gpus.form and gpus.form.switches and gpus.count == BOARDS_MAX:
        return "fabric"
    return "volta" if gpus.form and gpus.form.device < _TURING else "usual"


def kept_of(gpus: GpuSet, suite: str, states: Sequence[str]) -> Kept | None:
    """The last state of which an image is kept that a host goes through on the way to its first state."""
    chain = chain_of(states[0]) if states else []
    return next((Kept(state.name, suite, boards_of(gpus)) for state in reversed(chain) if state.keep), None)


def order_of(wanted: Iterable[Kept]) -> list[Kept]:
    """These images and what they are made from, each once and after what it is made from."""
    ordered: dict[Kept, None] = {}
    for kept in wanted:
        chain: list[Kept] = []
        one: Kept | None = kept
        while one:
            chain.append(one)
            one = one.below
        ordered.update(dict.fromkeys(reversed(chain)))
    return list(ordered)


def keep_images(maker: Maker, wanted: Sequence[Kept], suites: Mapping[str, str]) -> dict[Kept, str]:
    """The tags of these images; those that are not there are made now, a few at once.

    Args:
        suites: The host image of every suite.

    Raises:
        LabError: A host does not boot, or a state cannot be entered; every image is tried before.
    """
    ordered = [kept for kept in order_of(wanted) if not _exists(maker, _tag(maker, kept, suites))]
    making: dict[Kept, Future[None]] = {}
    turns = BoundedSemaphore(_AT_ONCE)  # taken by who has something to make it from, not by who waits for that

    def make(kept: Kept, place: int, first: Future[None] | None) -> None:
        if first:
            first.result()
        start = _tag(maker, kept.below, suites) if kept.below else suites[kept.suite]
        said = f"keeping an image of a host in the state {kept.state} ({kept.suite}, {kept.boards})"
        with turns, maker.report.stage(said):
            _make(maker, kept, place, start, _tag(maker, kept, suites))

    with ThreadPoolExecutor(max_workers=len(ordered) + 1) as pool:
        for place, kept in enumerate(ordered):
            first = making.get(kept.below) if kept.below else None
            making[kept] = pool.submit(make, kept, place, first)
    failures = dict.fromkeys(str(error) for future in making.values() if (error := _failure(future)))
    if failures:
        raise LabError("\n".join(failures))
    return {kept: _tag(maker, kept, suites) for kept in wanted}


def _failure(future: Future[None]) -> LabError | None:
    """Why an image was not made; another exception than the lab's own goes on."""
    error = future.exception()
    if error is None or isinstance(error, LabError):
        return error
    raise error


def _tag(maker: Maker, kept: Kept, suites: Mapping[str, str]) -> str:
    scripts = [read_script(state.name) for state in chain_of(kept.state)]
    return f"{kept.repository}:{hash_of(suites[kept.suite], maker.repository, *scripts)}"


def _exists(maker: Maker, tag: str) -> bool:
    try:
        maker.client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def _make(maker: Maker, kept: Kept, place: int, start: str, tag: str) -> None:
    client, lab, paths = maker.client, maker.lab, maker.paths
    host = LabHost(f"keeping-{place}-{kept.state}"[:31], parse_gpu_set(_MADE_WITH[kept.boards]), kept.suite)
    for left in find_containers(client, lab, "host"):
        if left.name == resource_name(lab, host.name):  # of a run that was killed
            remove_host(client, lab, host.name, left, paths)
    remove_volume(client, resource_name(lab, f"{host.name}-docker"))
    create_volume(client, lab, host.name)
    # From the last address down: hosts are numbered from the first.
    container = create_host(client, lab, host, str(maker.subnet[-2 - place]), start, paths)
    try:
        wait_for_boot(container)
        inside = (kept.below.state,) if kept.below else ()
        enter_state(container, inside, kept.state, maker.mirror, paths.host(host.name) / "pci")
        run_inside(container, "apt-get clean; rm -rf /var/log/journal/*")
        container.stop()
        repository, version = tag.split(":")
        container.commit(repository, version, changes=[f"LABEL {LABEL}=image"])
    finally:
        remove_host(client, lab, host.name, container, paths)
    for old in client.images.list(name=repository):
        if tag not in old.tags:
            with suppress(APIError):  # a host of another lab still runs from it
                client.images.remove(str(old.id))
