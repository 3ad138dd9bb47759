"""Which way weights come to each host: from their source, from another host of the run, or over a shared filesystem.

Each filesystem has one writer. Writers form chains behind the hosts that have the weights already, or else behind the
one that pulls them: every host receives from one and gives to one, so a chain takes as long as a single copy, and a
second or two more per host.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Literal, NamedTuple

from hermeion.inventory import SharingSpec
from hermeion.networks import common_network
from hermeion.probe import Address, Disk
from hermeion.records import Record

MAX_UPSTREAMS = 3
"""Hosts that a host may copy from: the one before it, the one before that, and the chain's first."""


class Candidate(Record):
    """A host that wants (or has) a snapshot.

    Attributes:
        store: Key of the filesystem that holds its cache: hosts of the same store see the same files.
        shared: Whether other hosts may have the store mounted too.
        complete: Whether it has the snapshot, checked.
    """

    host: str
    store: str
    shared: bool
    addresses: tuple[Address, ...]
    complete: bool
    sharing: SharingSpec = SharingSpec()


class Upstream(Record):
    """A host to copy from, as it is reached."""

    host: str
    address: str
    port: int


class Door(Record):
    """Where a host gives to others.

    Attributes:
        address: Its own, to listen on.
        allowed: Addresses of the hosts that may ask.
    """

    address: str
    port: int
    allowed: tuple[str, ...]


class Route(Record):
    """How one host comes to one snapshot.

    Attributes:
        kind: ``none``: it has it. ``source``: it pulls. ``peers``: it copies from ``upstreams``. ``shared``:
            ``waits_for`` writes into the same filesystem.
        upstreams: In order of preference.
        waits_for: The host that writes, with ``shared``.
        serves: Where other hosts may copy from it; what it has already, or while it is getting it.
        remark: Why it pulls although another host of the run does or has it: one sentence, or ``None``.
    """

    kind: Literal["none", "source", "peers", "shared"]
    upstreams: tuple[Upstream, ...] = ()
    waits_for: str | None = None
    serves: tuple[Door, ...] = ()
    remark: str | None = None


def store_of(host: str, disk: Disk) -> tuple[str, bool]:
    """Key of the filesystem that holds ``disk.path``, and whether other hosts may have it mounted too.

    Two hosts may have mounted it at different places: what counts is what is mounted and the path below that.
    """
    if not disk.is_network or not disk.target:
        return host, False
    below = posixpath.relpath(disk.path, disk.target)
    return disk.source if below == "." else posixpath.join(disk.source, below), True


class _Placed(NamedTuple):
    """A store that has or gets the snapshot: the hosts that can give it, and the stores before it, nearest first."""

    hosts: tuple[Candidate, ...]
    before: tuple[str, ...]


class _Link(NamedTuple):
    upstream: Upstream
    allowed: tuple[str, ...]


def _link(giver: Candidate, taker: Candidate) -> _Link | None:
    """How ``taker`` reaches ``giver``, or ``None``."""
    if not (giver.sharing.hosts and taker.sharing.hosts) or giver.host == taker.host:
        return None
    networks = tuple(text for text in (giver.sharing.network, taker.sharing.network) if text)
    if (found := common_network(giver.addresses, taker.addresses, networks)) is None:
        return None
    address, allowed = found
    return _Link(Upstream(host=giver.host, address=address, port=giver.sharing.port), allowed)


class _Planner:
    """Places stores one after the other, each behind one that is placed already."""

    def __init__(self, candidates: Sequence[Candidate], origin: str | None) -> None:
        self.order = [candidate.host for candidate in candidates]
        self.stores: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            self.stores.setdefault(candidate.store, []).append(candidate)
        self.origin = origin
        self.placed: dict[str, _Placed] = {}
        self.children: dict[str, int] = {}
        self.routes: dict[str, Route] = {}
        self.links: list[_Link] = []
        self.known: dict[tuple[str, str], _Link | None] = {}

    def plan(self) -> dict[str, Route]:
        waiting = []
        for store, hosts in self.stores.items():
            if having := tuple(host for host in hosts if host.complete):
                self._place(store, having, ())
                for host in hosts:
                    self.routes[host.host] = (
                        Route(kind="none") if host.complete else Route(kind="shared", waits_for=having[0].host)
                    )
            else:
                waiting.append(store)
        while waiting:
            store = next((name for name in waiting if self._attach(name)), "") or self._pull(waiting)
            waiting.remove(store)
        return {host: self.routes[host].model_copy(update={"serves": self._doors(host)}) for host in self.order}

    def _place(self, store: str, hosts: tuple[Candidate, ...], before: tuple[str, ...]) -> None:
        self.placed[store] = _Placed(hosts, before)
        self.children[store] = 0
        if before:
            self.children[before[0]] += 1

    def _link_to(self, taker: Candidate, store: str) -> _Link | None:
        return next((link for giver in self.placed[store].hosts if (link := self._link(giver, taker))), None)

    def _link(self, giver: Candidate, taker: Candidate) -> _Link | None:
        """As :func:`_link`; a fleet asks for each pair many times."""
        pair = (giver.host, taker.host)
        if pair not in self.known:
            self.known[pair] = _link(giver, taker)
        return self.known[pair]

    def _attach(self, store: str) -> bool:
        """Place a store behind another one: at the end of the shortest chain that a host of it reaches."""
        # One that gives to nobody yet comes first, so that chains grow; without one of them a chain becomes a tree.
        parents = sorted(self.placed, key=lambda name: (self.children[name], len(self.placed[name].before)))
        for parent in parents:
            for taker in self.stores[store]:
                if self._link_to(taker, parent) is not None:
                    self._write(store, taker, (parent, *self.placed[parent].before))
                    return True
        return False

    def _write(self, store: str, writer: Candidate, before: tuple[str, ...]) -> None:
        reached = [link for name in before if (link := self._link_to(writer, name))]
        chosen = reached if len(reached) <= MAX_UPSTREAMS else [*reached[: MAX_UPSTREAMS - 1], reached[-1]]
        self.links += chosen
        self._settle(store, writer, Route(kind="peers", upstreams=tuple(link.upstream for link in chosen)))
        self._place(store, (writer,), before)

    def _pull(self, waiting: Sequence[str]) -> str:
        """Let a store be filled from the source; which one."""
        named = (name for name in waiting if self.origin in {host.host for host in self.stores[name]})
        store = next(named, waiting[0])
        hosts = self.stores[store]
        writer = next((host for host in hosts if host.host == self.origin), hosts[0])
        self._settle(store, writer, Route(kind="source", remark=self._remark(writer)))
        self._place(store, (writer,), ())
        return store

    def _settle(self, store: str, writer: Candidate, route: Route) -> None:
        for host in self.stores[store]:
            self.routes[host.host] = Route(kind="shared", waits_for=writer.host)
        self.routes[writer.host] = route

    def _remark(self, writer: Candidate) -> str | None:
        """Why it pulls although another host does or has it."""
        givers = [giver for placed in self.placed.values() for giver in placed.hosts]
        if not givers:
            return None
        if not any(host.sharing.hosts for host in self.stores[writer.store]):
            return f"{writer.host} gets the weights by itself: hermes_sharing/hosts is false there"
        names = [giver.host for giver in givers if giver.sharing.hosts]
        if not names:
            return f"{writer.host} gets the weights by itself: hermes_sharing/hosts is false on {givers[0].host}"
        named = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        return (
            f"{writer.host} gets the weights by itself: it has no private network in common with {named}. If one joins "
            "them, name it in hermes_sharing/network"
        )

    def _doors(self, host: str) -> tuple[Door, ...]:
        doors: dict[tuple[str, int], list[str]] = {}
        for link in self.links:
            if link.upstream.host == host:
                doors.setdefault((link.upstream.address, link.upstream.port), []).extend(link.allowed)
        return tuple(
            Door(address=address, port=port, allowed=tuple(dict.fromkeys(allowed)))
            for (address, port), allowed in doors.items()
        )


def find_routes(candidates: Sequence[Candidate], origin: str | None = None) -> dict[str, Route]:
    """How each host comes to one snapshot; by host, in their order.

    Args:
        candidates: In the inventory's order.
        origin: Host that pulls if nobody has the weights; ``None``: the first.
    """
    return _Planner(candidates, origin).plan()
