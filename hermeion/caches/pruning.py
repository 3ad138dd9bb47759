"""What a prune would remove: what no release of any host names, and what broken pulls left. Never what one names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hermeion.caches.listing import Release
from hermeion.caches.removals import GRACE_SECONDS, Decider, Removal, leftovers
from hermeion.caches.repositories import find_repositories
from hermeion.caches.stores import Store, stray_uses


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a prune does in one store.

    Attributes:
        kept: Why something that no release names stays, by repository or name.
        refusal: Why nothing can be removed here at all, or ``None``.
    """

    store: Store
    removals: tuple[Removal, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    refusal: str | None = None

    @property
    def steps(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """What is removed, as ``prune_script`` takes it: by folder, paths by the stage in which they go."""
        stages = ("names", "commits", "records", "links", "blobs", "folders")
        return {removal.folder: {stage: getattr(removal, stage) for stage in stages} for removal in self.removals}

    @property
    def bytes(self) -> int:
        """What is freed."""
        return sum(removal.bytes for removal in self.removals)


def plan_prune(
    store: Store, strays: Sequence[Release] = (), *, grace: int = GRACE_SECONDS, all_repos: bool = False
) -> Pruning:
    """What may go in a store whose every host has answered.

    Args:
        strays: Releases of other hosts that count here too.
        grace: Seconds for which a finished pull stays although no release names it.
        all_repos: Whether what somebody else put there goes too, unless a release names it.
    """
    listing = store.first
    uses = [*(release for _, release in store.uses), *strays]
    repositories = find_repositories(listing)
    deciders = [Decider(listing, one, uses, grace=grace, all_repos=all_repos) for one in repositories.values()]
    removals = [decider.decide() for decider in deciders]
    removals.append(leftovers(listing, repositories.values()))
    kept = {what: why for decider in deciders for what, why in decider.kept.items()}
    return Pruning(store, tuple(removal for removal in removals if not removal.is_empty), kept)


def find_prunings(
    stores: Sequence[Store], absent: Sequence[str] = (), *, grace: int = GRACE_SECONDS, all_repos: bool = False
) -> tuple[Pruning, ...]:
    """What may go in each store.

    Args:
        absent: Hosts of the inventory that did not answer.
    """
    strays = [release for _, release in stray_uses(stores)]
    found = []
    for store in stores:
        if refusal := _refusal(store, absent):
            found.append(Pruning(store, refusal=refusal))
        else:
            found.append(plan_prune(store, strays, grace=grace, all_repos=all_repos))
    return tuple(found)


def _refusal(store: Store, absent: Sequence[str]) -> str | None:
    place = f"{store.first.cache} of {', '.join(store.hosts)}"
    if absent and store.is_shared:
        return (
            f"nothing is removed from {place}: {', '.join(absent)} may use it too "
            "and did not answer. Bring it back, or take it out of the inventory, then run again."
        )
    for listing in store.listings:
        if listing.broken:
            plan = f"/opt/hermeion/{listing.broken[0].replace('/', '/releases/', 1)}/plan.json"
            return (
                f"nothing is removed from {place}: {plan} on {listing.host} cannot be read. Look at it, or deploy that "
                "service again, then run again."
            )
    if not store.first.is_whole:
        return (
            f"nothing is removed from {place}: it could not be read whole, or changed meanwhile. Run again; if that "
            f"does not help, `ls -lR {store.first.cache}` says what is unreadable."
        )
    return None
