"""Which way weights come to each host."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermeion.inventory import SharingSpec
from hermeion.networks import common_network
from hermeion.probe import Address, Disk
from hermeion.routes import MAX_UPSTREAMS, Candidate, Door, Route, Upstream, find_routes, store_of


def host(number: int, **changes: Any) -> Candidate:
    """``gpu-1`` with 10.0.0.1, and so on."""
    return Candidate(
        **{
            "host": f"gpu-{number}",
            "store": f"gpu-{number}",
            "shared": False,
            "addresses": addresses(f"eth0 10.0.0.{number}/24"),
            "complete": False,
        }
        | changes
    )


def addresses(*rows: str) -> tuple[Address, ...]:
    """Addresses from ``interface address`` rows."""
    return tuple(Address(interface=row.split()[0], address=row.split()[1]) for row in rows)


def shown(routes: dict[str, Route]) -> dict[str, str]:
    """Each route in a word or two."""
    return {
        name: " ".join([route.kind, *([route.waits_for] if route.waits_for else [u.host for u in route.upstreams])])
        for name, route in routes.items()
    }


def test_nobody_has_them() -> None:
    """The first pulls; the others form a chain behind it, each with the two before it and the first to fall back on."""
    routes = find_routes([host(number) for number in range(1, 6)])

    assert {
        "gpu-1": "source",
        "gpu-2": "peers gpu-1",
        "gpu-3": "peers gpu-2 gpu-1",
        "gpu-4": "peers gpu-3 gpu-2 gpu-1",
        "gpu-5": "peers gpu-4 gpu-3 gpu-1",
    } == shown(routes)
    assert Upstream(host="gpu-4", address="10.0.0.4", port=8730) == routes["gpu-5"].upstreams[0]
    assert (Door(address="10.0.0.3", port=8730, allowed=("10.0.0.4", "10.0.0.5")),) == routes["gpu-3"].serves
    assert () == routes["gpu-5"].serves
    assert [None] * 5 == [route.remark for route in routes.values()]


def test_origin() -> None:
    """The host that is named pulls, if it lacks the weights; else nobody needs to."""
    assert {"gpu-1": "peers gpu-2", "gpu-2": "source", "gpu-3": "peers gpu-1 gpu-2"} == shown(
        find_routes([host(1), host(2), host(3)], "gpu-2")
    )
    assert {"gpu-1": "peers gpu-2", "gpu-2": "none"} == shown(find_routes([host(1), host(2, complete=True)], "gpu-2"))
    assert {"gpu-1": "source", "gpu-2": "peers gpu-1"} == shown(find_routes([host(1), host(2)], "gpu-9"))


def test_several_have_them() -> None:
    """As many chains as there are hosts that have them; the source is left alone."""
    holders = [host(1, complete=True), host(4, complete=True)]
    routes = find_routes([holders[0], host(2), host(3), holders[1], host(5), host(6)], "gpu-2")

    assert {
        "gpu-1": "none",
        "gpu-2": "peers gpu-1",
        "gpu-3": "peers gpu-4",
        "gpu-4": "none",
        "gpu-5": "peers gpu-2 gpu-1",
        "gpu-6": "peers gpu-3 gpu-4",
    } == shown(routes)


def test_shared_filesystem() -> None:
    """One host of a filesystem writes; the others wait for it. The next filesystem's writer copies from it."""
    nfs = {"store": "nas:/models", "shared": True}
    routes = find_routes([host(1, **nfs), host(2, **nfs), host(3)])

    assert {"gpu-1": "source", "gpu-2": "shared gpu-1", "gpu-3": "peers gpu-1"} == shown(routes)
    assert {"gpu-1": "shared gpu-2", "gpu-2": "source", "gpu-3": "peers gpu-2"} == shown(
        find_routes([host(1, **nfs), host(2, **nfs), host(3)], "gpu-2")
    )
    complete = find_routes([host(1, **nfs), host(2, complete=True, **nfs)])
    assert {"gpu-1": "shared gpu-2", "gpu-2": "none"} == shown(complete)


def test_shared_filesystem_is_written_by_a_host_that_reaches_another() -> None:
    """Who is alone in its network does not pull for hosts of which one can copy."""
    nfs = {"store": "nas:/models", "shared": True}
    alone = host(2, addresses=addresses("eth0 192.168.9.2/24"), **nfs)

    assert {"gpu-1": "none", "gpu-2": "shared gpu-3", "gpu-3": "peers gpu-1"} == shown(
        find_routes([host(1, complete=True), alone, host(3, **nfs)])
    )


def test_no_sharing() -> None:
    """A host that must not copy pulls for itself, and so does one that nobody may give to; each says why."""
    off = SharingSpec(hosts=False)
    routes = find_routes([host(1), host(2, sharing=off), host(3)])

    assert {"gpu-1": "source", "gpu-2": "source", "gpu-3": "peers gpu-1"} == shown(routes)
    assert "gpu-2 gets the weights by itself: hermes_sharing/hosts is false there" == routes["gpu-2"].remark
    assert "gpu-2 gets the weights by itself: hermes_sharing/hosts is false on gpu-1" == (
        find_routes([host(1, sharing=off), host(2)])["gpu-2"].remark
    )


def test_no_common_network() -> None:
    """A host that reaches no other pulls for itself; one that reaches it copies from it then."""
    far = [host(number, addresses=addresses(f"eth0 192.168.7.{number}/24")) for number in (2, 4)]
    routes = find_routes([host(1), far[0], host(3), far[1]])

    assert {"gpu-1": "source", "gpu-2": "source", "gpu-3": "peers gpu-1", "gpu-4": "peers gpu-2"} == shown(routes)
    assert (
        "gpu-2 gets the weights by itself: it has no private network in common with gpu-1, gpu-3. If one joins them, "
        "name it in hermes_sharing/network" == routes["gpu-2"].remark
    )


def test_host_in_two_networks_joins_them() -> None:
    """A host that the first does not reach copies from the one between, whatever their order."""
    between = host(3, addresses=addresses("eth0 10.0.0.3/24", "eth1 192.168.7.3/24"))
    routes = find_routes([host(1), host(2, addresses=addresses("eth0 192.168.7.2/24")), between])

    assert {"gpu-1": "source", "gpu-2": "peers gpu-3", "gpu-3": "peers gpu-1"} == shown(routes)
    assert (Door(address="192.168.7.3", port=8730, allowed=("192.168.7.2",)),) == routes["gpu-3"].serves


def test_port_is_the_givers() -> None:
    """A host is asked on the port that its own data name."""
    routes = find_routes([host(1, sharing=SharingSpec(port=9000)), host(2)])

    assert 9000 == routes["gpu-2"].upstreams[0].port
    assert 9000 == routes["gpu-1"].serves[0].port


@pytest.mark.parametrize(
    ("giver", "taker", "networks", "expected"),
    [
        (["eth0 10.0.0.1/24"], ["eth0 10.0.0.2/24"], [], ("10.0.0.1", ("10.0.0.2",))),
        (["eth0 10.0.0.1/24"], ["eth0 10.0.0.2/24", "eth1 10.0.0.9/24"], [], ("10.0.0.1", ("10.0.0.2", "10.0.0.9"))),
        (["eth0 10.0.0.1/24"], ["eth0 10.0.1.2/24"], [], None),
        (["eth0 10.0.0.1/16"], ["eth0 10.0.1.2/24"], [], None),
        (["eth0 100.64.3.1/24"], ["eth0 100.64.3.2/24"], [], ("100.64.3.1", ("100.64.3.2",))),
        (["eth0 fd00::1/64"], ["eth0 fd00::2/64"], [], ("fd00::1", ("fd00::2",))),
        (["eth0 fe80::1/64"], ["eth0 fe80::2/64"], [], None),
        (["eth0 8.8.8.1/24"], ["eth0 8.8.8.2/24"], [], None),
        (["eth0 8.8.8.1/24"], ["eth0 8.8.8.2/24"], ["8.8.8.0/24"], ("8.8.8.1", ("8.8.8.2",))),
        (["docker0 172.17.0.1/16"], ["docker0 172.17.0.2/16"], [], None),
        (["br-1a2b 172.18.0.1/16"], ["br-1a2b 172.18.0.2/16"], [], None),
        (["br0 172.18.0.1/16"], ["br0 172.18.0.2/16"], [], ("172.18.0.1", ("172.18.0.2",))),
        (["virbr0 192.168.122.1/24"], ["eth0 192.168.122.7/24"], [], None),
        (["tailscale0 100.100.1.1/10"], ["tailscale0 100.100.1.2/10"], [], None),
        (["tailscale 100.70.1.1/32"], ["tailscale 100.70.1.2/32"], ["100.64.0.0/10"], ("100.70.1.1", ("100.70.1.2",))),
        (["x0 10.5.0.1/24"], ["x0 10.5.0.1/24"], [], None),
        (["x0 10.5.0.1/24"], ["x0 10.5.0.1/24", "x1 10.5.0.2/24"], [], None),
        (["a 10.0.0.1/8", "b 10.9.0.1/16"], ["b 10.9.0.2/16"], ["10.9.0.0/16"], ("10.9.0.1", ("10.9.0.2",))),
        (["eth0 10.0.0.1/24"], ["eth0 10.0.1.2/24"], ["10.0.0.0/8"], ("10.0.0.1", ("10.0.1.2",))),
        (["eth0 10.0.0.1/24"], ["eth0 10.0.0.2/24"], ["10.9.0.0/16"], None),
        (["eth0 10.0.0.1/24"], ["eth0 fd00::2/64"], [], None),
    ],
)  # fmt: skip
def test_common_network(
    giver: list[str], taker: list[str], networks: list[str], expected: tuple[str, tuple[str, ...]] | None
) -> None:
    """Hosts meet in a private network, never in one of containers or of the internet, unless the inventory names it."""
    assert expected == common_network(addresses(*giver), addresses(*taker), networks)


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        ({"source": "/dev/nvme0n1", "fstype": "ext4", "target": "/"}, ("gpu-1", False)),
        ({"source": "", "fstype": "", "target": ""}, ("gpu-1", False)),
        ({"source": "nas:/export", "fstype": "nfs4", "target": "/srv/models"}, ("nas:/export", True)),
        ({"source": "nas:/export", "fstype": "nfs4", "target": "/srv"}, ("nas:/export/models", True)),
        ({"source": "x", "fstype": "fuse.juicefs", "target": "/srv/models"}, ("x", True)),
    ],
)
def test_store(disk: dict[str, str], expected: tuple[str, bool]) -> None:
    """What is mounted, and the path below it, names a shared filesystem; a disk of its own is the host's."""
    found = store_of("gpu-1", Disk(path="/srv/models", total=1, free=1, writable=True, **disk))

    assert expected == found


@st.composite
def fleets(draw: st.DrawFn) -> list[Candidate]:
    """Hosts in one to three networks, with filesystems of their own or shared ones."""
    count = draw(st.integers(1, 9))
    fleet = []
    for number in range(1, count + 1):
        store = draw(st.sampled_from([f"gpu-{number}"] * 3 + ["nas-1", "nas-2"]))
        nets = draw(st.sets(st.integers(0, 2), max_size=2))
        fleet.append(
            host(
                number,
                store=store,
                shared=store.startswith("nas"),
                addresses=addresses(*(f"eth{net} 10.0.{net}.{number}/24" for net in sorted(nets))),
                complete=draw(st.integers(0, 4)) == 0,
                sharing=SharingSpec(hosts=draw(st.integers(0, 5)) > 0),
            )
        )
    return fleet


def can_share(one: Candidate, other: Candidate) -> bool:
    """Whether they may, and meet in a network; found without the code under test."""
    nets = [{address.address.split(".")[2] for address in each.addresses} for each in (one, other)]
    return one.sharing.hosts and other.sharing.hosts and bool(nets[0] & nets[1])


def root_of(routes: dict[str, Route], name: str) -> str:
    """Where the chain of a host begins."""
    while routes[name].kind == "peers":
        name = routes[name].upstreams[0].host
    return name


@given(fleets(), st.sampled_from([None, "gpu-1", "gpu-2", "gpu-5"]))
def test_every_plan_is_sound(fleet: list[Candidate], origin: str | None) -> None:
    """Every filesystem has one writer, and every chain begins where the weights are or come to and can be walked."""
    routes = find_routes(fleet, origin)
    assert [candidate.host for candidate in fleet] == list(routes)
    by_name = {candidate.host: candidate for candidate in fleet}
    for store in {candidate.store for candidate in fleet}:
        hosts = [candidate for candidate in fleet if candidate.store == store]
        writers = [each.host for each in hosts if routes[each.host].kind in {"source", "peers"}]
        has_it = any(each.complete for each in hosts)
        assert (0 if has_it else 1) == len(writers)
        for each in hosts:
            route = routes[each.host]
            assert each.complete == (route.kind == "none")
            if route.kind == "shared":
                assert routes[str(route.waits_for)].kind != "shared"
                assert by_name[str(route.waits_for)].store == store
    for name, route in routes.items():
        assert (route.kind == "peers") == bool(route.upstreams)
        if route.kind == "shared":
            continue
        assert len({upstream.host for upstream in route.upstreams}) == len(route.upstreams) <= MAX_UPSTREAMS
        seen, at = {name}, name
        while routes[at].kind == "peers":
            at = routes[at].upstreams[0].host
            assert at not in seen
            seen.add(at)
        assert routes[at].kind in {"none", "source"}
        for upstream in route.upstreams:
            assert by_name[upstream.host].sharing.hosts
            assert by_name[name].sharing.hosts
            own = {address.address.split("/")[0] for address in by_name[name].addresses}
            doors = [door for door in routes[upstream.host].serves if door.address == upstream.address]
            assert [True] == [bool(own & set(door.allowed)) for door in doors]


@given(fleets(), st.sampled_from([None, "gpu-1", "gpu-2", "gpu-5"]))
def test_nobody_pulls_who_could_copy(fleet: list[Candidate], origin: str | None) -> None:
    """No host that pulls meets a host that has the weights or gets them on another way: the source gives them once."""
    routes = find_routes(fleet, origin)
    givers = [candidate for candidate in fleet if routes[candidate.host].kind != "shared"]
    for puller in givers:
        if routes[puller.host].kind == "source":
            others = [giver for giver in givers if root_of(routes, giver.host) != puller.host]
            assert [] == [giver.host for giver in others if can_share(puller, giver)]


@given(st.integers(1, 9), st.sets(st.integers(1, 9)), st.integers(1, 9))
def test_source_gives_each_byte_once(count: int, complete: set[int], origin: int) -> None:
    """Of hosts in one network the one that is named pulls if nobody has the weights, and nobody if one has them."""
    fleet = [host(number, complete=number in complete) for number in range(1, count + 1)]
    routes = find_routes(fleet, f"gpu-{origin}")

    pulls = [name for name, route in routes.items() if route.kind == "source"]
    first = f"gpu-{origin}" if origin <= count else "gpu-1"
    assert ([] if any(candidate.complete for candidate in fleet) else [first]) == pulls
    assert [None] * count == [route.remark for route in routes.values()]


@given(fleets(), st.data())
def test_fewer_hosts_are_a_plan_of_their_own(fleet: list[Candidate], data: st.DataObject) -> None:
    """With ``--limit`` nobody is sent to a host that is not in the run, and the same hosts give the same plan."""
    some = [candidate for candidate in fleet if data.draw(st.booleans())]
    routes = find_routes(some)

    names = {candidate.host for candidate in some}
    for route in routes.values():
        assert {upstream.host for upstream in route.upstreams} | ({route.waits_for} - {None}) <= names
    assert routes == find_routes(list(some))
