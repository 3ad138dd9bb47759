"""Which private network two hosts have in common."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache

from hermeion.probe import Address

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""RFC 1918, RFC 6598 (shared address space of providers), RFC 4193 (unique local)."""

LOCAL = (
    "lo", "docker*", "br-*", "veth*", "virbr*", "vnet*", "lxcbr*", "lxdbr*", "podman*", "cni*", "flannel*", "cali*",
    "cilium*", "kube-*", "tailscale*",
)  # fmt: skip
"""Interfaces of containers and virtual machines, which join nothing outside the host, and Tailscale's, which goes
around: taken only if the inventory names their network."""


@cache
def _usable(addresses: tuple[Address, ...], networks: tuple[str, ...]) -> tuple[Interface, ...]:
    """The addresses that hosts may meet at; with ``networks`` those in all of them."""
    return tuple(_meeting(addresses, networks))


def _meeting(addresses: Sequence[Address], networks: Sequence[str]) -> Iterator[Interface]:
    wanted = [ipaddress.ip_network(text) for text in networks]
    for address in addresses:
        own = ipaddress.ip_interface(address.address)
        if own.ip.is_loopback or own.ip.is_link_local:
            continue
        if wanted:
            if all(own.ip in network for network in wanted):
                yield own
        elif not any(fnmatchcase(address.interface, name) for name in LOCAL) and any(own.ip in net for net in PRIVATE):
            yield own


def common_network(
    giver: Sequence[Address], taker: Sequence[Address], networks: Sequence[str] = ()
) -> tuple[str, tuple[str, ...]] | None:
    """The giver's address, and the taker's in the same network; ``None``: they have none in common.

    The first network in the giver's order is taken.

    Args:
        networks: Networks that the inventory names, CIDR: both addresses must be in each of them, and need not be in
            the same subnet then: there may be routers between.
    """
    givers, takers = (_usable(tuple(addresses), tuple(networks)) for addresses in (giver, taker))
    for own in givers:
        met = [other for other in takers if networks or (own.ip in other.network and other.ip in own.network)]
        met = [other for other in met if other.version == own.version]
        # The same address on both sides: a network of its own on each, as bridges of containers are.
        same = {address.ip for address in givers if address.network == own.network} & {other.ip for other in met}
        if met and not same:
            return str(own.ip), tuple(dict.fromkeys(str(other.ip) for other in met))
    return None
