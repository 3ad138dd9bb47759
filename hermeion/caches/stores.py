"""Which hosts share a cache: one filesystem, one folder, one store."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from hermeion.caches.listing import Listing, Release, split_name

NETWORK = frozenset(
    {"nfs", "nfs4", "lustre", "ceph", "cephfs", "wekafs", "beegfs", "gpfs", "9p", "virtiofs", "cifs", "smb3"}
)
"""Types of filesystems that several hosts may mount; and all of FUSE."""


def is_network(fstype: str) -> bool:
    """Whether other hosts may see the same files."""
    return fstype in NETWORK or fstype.startswith("fuse.")


@dataclass(frozen=True, slots=True)
class Store:
    """A cache and the hosts that see it, in the inventory's order."""

    listings: tuple[Listing, ...]

    @property
    def first(self) -> Listing:
        """The host that speaks for the store, and that acts in it."""
        return self.listings[0]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(listing.host for listing in self.listings)

    @property
    def is_shared(self) -> bool:
        """Whether hosts that did not answer may see it too."""
        return len(self.listings) > 1 or is_network(self.first.fstype)

    @property
    def uses(self) -> tuple[tuple[str, Release], ...]:
        """Every release of every host that sees it."""
        return tuple((listing.host, release) for listing in self.listings for release in listing.releases)


def _keys(listing: Listing) -> tuple[str, ...]:
    """Two hosts with one key in common see the same folder."""
    keys = [f"host {listing.host}"]
    if listing.identity:
        # A folder that is bound into several hosts looks local in each of them.
        keys.append(f"folder {listing.identity}")
    if listing.root and is_network(listing.fstype):
        keys.append(f"mount {listing.source} {posixpath.relpath(listing.root, listing.target or '/')}")
    return tuple(keys)


def find_stores(listings: Sequence[Listing]) -> tuple[Store, ...]:
    """The stores of hosts that answered, in the order of their first hosts."""
    order = [listing.host for listing in listings]
    groups: list[tuple[set[str], list[Listing]]] = []
    for listing in listings:
        keys, members = set(_keys(listing)), [listing]
        for group in [group for group in groups if group[0] & keys]:
            groups.remove(group)
            keys |= group[0]
            members += group[1]
        groups.append((keys, sorted(members, key=lambda member: order.index(member.host))))
    stores = [Store(tuple(members)) for _, members in groups]
    return tuple(sorted(stores, key=lambda store: order.index(store.first.host)))


def stray_uses(stores: Sequence[Store]) -> tuple[tuple[str, Release], ...]:
    """Releases whose weights are not where their host looks now: its share may just not be mounted."""
    return tuple(
        (host, release)
        for store in stores
        for host, release in store.uses
        if "hub/{}/snapshots/{}".format(*split_name(release.name)) not in store.first.entries
    )
