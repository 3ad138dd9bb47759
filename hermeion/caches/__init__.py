"""What is in the caches of a fleet, who uses it, and what a prune would free: from hosts' answers alone."""

from hermeion.caches.listing import Entry, Listing, Pull, Release, parse_listing
from hermeion.caches.pruning import Pruning, find_prunings, plan_prune
from hermeion.caches.removals import Removal
from hermeion.caches.snapshots import Snapshot, find_snapshots
from hermeion.caches.stores import Store, find_stores

__all__ = [
    "Entry",
    "Listing",
    "Pruning",
    "Pull",
    "Release",
    "Removal",
    "Snapshot",
    "Store",
    "find_prunings",
    "find_snapshots",
    "find_stores",
    "parse_listing",
    "plan_prune",
]
