"""A lab's own bridge network, with fixed addresses, so that a host keeps its address over a reboot."""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from hermeion.errors import LabError

from .daemon import labels, resource_name

if TYPE_CHECKING:
    import docker
    from docker.models.networks import Network

SERVICES_HOST = 2
FIRST_HOST = 11
_TRIES = 32


def candidate_subnets(lab: str) -> Iterator[ipaddress.IPv4Network]:
    """10.x.y.0/24 networks to try, always in the same order for the same lab name."""
    for attempt in range(_TRIES):
        digest = hashlib.sha256(f"{lab}/{attempt}".encode()).digest()
        # The middle of 10/8: cloud networks and Kubernetes sit at both ends more often.
        yield ipaddress.IPv4Network((10 << 24 | (100 + digest[0] % 100) << 16 | digest[1] << 8, 24))


def read_routes(table: Path = Path("/proc/net/route")) -> list[ipaddress.IPv4Network]:
    """The networks this machine has routes to, default route excluded."""
    routes = []
    for line in table.read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        address, mask = (struct.unpack("<I", bytes.fromhex(fields[place]))[0] for place in (1, 7))
        if mask:
            routes.append(ipaddress.IPv4Network((address & mask, mask.bit_count())))
    return routes


def ensure_network(client: docker.DockerClient, lab: str) -> ipaddress.IPv4Network:
    """The lab's subnet, from its network, which is made if it does not exist.

    Raises:
        LabError: No candidate subnet is free.
    """
    name = resource_name(lab, "net")
    try:
        return subnet_of(client.networks.get(name))
    except NotFound:
        pass
    taken = read_routes()
    refusal = "every candidate overlaps a route of this machine"
    for subnet in candidate_subnets(lab):
        if any(subnet.overlaps(route) for route in taken):
            continue
        pool = IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
        try:
            client.networks.create(
                name, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels=labels(lab, "network")
            )
        except APIError as error:
            refusal = str(error)  # most often: overlaps another Docker network
            continue
        return subnet
    message = f"no free 10.x.y.0/24 for the lab {lab!r}: {refusal}. See: docker network ls; ip route."
    raise LabError(message)


def subnet_of(network: Network) -> ipaddress.IPv4Network:
    """The subnet of an existing network."""
    return ipaddress.IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"])
