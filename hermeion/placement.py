"""Which engine, variant, GPUs and settings a service gets on a host, or a refusal that names what would fit."""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.candidates import Candidate
from hermeion.errors import PlacementError
from hermeion.fixes import find_fix
from hermeion.hosts import Gpu, Host
from hermeion.inventory import ServiceSpec
from hermeion.plans import Rejection, Service
from hermeion.rounds import rounds_for
from hermeion.search import Search
from hermeion.variants import Variant


def _left_for(spec: ServiceSpec, free: Sequence[Gpu], later: Sequence[ServiceSpec]) -> tuple[list[Gpu], int]:
    """The free GPUs that nobody else named, and how many of them later services need."""
    named = {uuid for other in later if isinstance(other.gpus, tuple) for uuid in other.gpus}
    mine = set(spec.gpus) if isinstance(spec.gpus, tuple) else set()
    left = [gpu for gpu in free if gpu.uuid is None or gpu.uuid not in named or gpu.uuid in mine]
    leave = sum(1 if other.gpus == "auto" else other.gpus for other in later if not isinstance(other.gpus, tuple))
    return left, leave


def place(
    spec: ServiceSpec,
    host: Host,
    free: Sequence[Gpu],
    variants: Sequence[Variant],
    current: Service | None = None,
    later: Sequence[ServiceSpec] = (),
    model: Sequence[Variant] = (),
) -> tuple[Candidate, list[Rejection]]:
    """The best candidate for a service among the free GPUs, and what was tried and not taken.

    Args:
        variants: Those that the inventory allows.
        current: What serves now under this name.
        later: Services that come after this one: it leaves them the GPUs that they name, and enough of the others.
        model: All variants of the model, for the advice of a refusal.

    Raises:
        PlacementError: Nothing fits; every option is listed with its reason, and a change that fits is named.
    """
    left, leave = _left_for(spec, free, later)
    search = Search(spec, host, left, current, leave)
    chosen = search.find(rounds_for(spec, variants))
    if chosen:
        return chosen, [rejection for option, rejection in search.rejections.items() if option != chosen.option]
    tried = [f"  - {rejection.option}: {rejection.reason}" for rejection in search.rejections.values()]
    tried += [f"  - {gpu.pci_address} ({gpu.model}): {gpu.reason}" for gpu in host.unusable]
    fix = find_fix(spec, host, search, variants, model or variants)
    advice = fix.text if fix else f"no GPU in the table would hold {spec.model} like that: ask for less"
    error = PlacementError(
        f"{host.name}: {spec.name}: {spec.model} fits on no free GPU of this host.\n"
        + "\n".join(tried)
        + f"\nWhat would fit: {advice}."
    )
    error.rejections = tuple(search.rejections.values())
    error.fix = fix
    raise error
