"""Which of a host's GPUs go together: the sets that are tried for a service, best first of each size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from hermeion.gpu_names import describe_models
from hermeion.hosts import Gpu, Host

GpuSet = tuple[Gpu, ...]

MOST_COMBINATIONS = 2000
"""Beyond this many sets of one size, GPUs are taken in PCI order: no host of today has so many in unequal places."""


def describe(group: GpuSet) -> str:
    """``2 × NVIDIA L40S``; a set that a person named may be of several models."""
    return describe_models([gpu.model for gpu in group])


def _cost(group: GpuSet, pool: Sequence[Gpu], host: Host) -> tuple[int, int, int, tuple[str, ...]]:
    """What speaks against a set, the worst first: pairs without NVLink, NUMA nodes it spans, NVLink pairs it breaks."""
    addresses = {gpu.pci_address for gpu in group}
    linked = 0 if host.nvswitch else sum(1 for a, b in host.nvlinks if a in addresses and b in addresses)
    pairs = len(group) * (len(group) - 1) // 2
    broken = 0
    if not host.nvswitch:
        left = {gpu.pci_address for gpu in pool} - addresses
        broken = sum(1 for a, b in host.nvlinks if (a in addresses and b in left) or (b in addresses and a in left))
    # A node that is half taken is filled before a free one is begun.
    nodes = {gpu.numa for gpu in group}
    crowd = sum(1 for gpu in pool if gpu.numa in nodes)
    without = pairs - linked if host.nvlinks else 0
    return without, len(nodes), broken * 100 + crowd, tuple(sorted(addresses))


def _best(pool: Sequence[Gpu], count: int, host: Host) -> GpuSet:
    """The set of a size among GPUs of one model that lie closest together."""
    pool = sorted(pool, key=lambda gpu: gpu.pci_address)
    alike = not host.nvlinks and len({gpu.numa for gpu in pool}) == 1
    if alike or count == len(pool):
        return tuple(pool[:count])
    options = combinations(pool, count)
    limited = [option for _, option in zip(range(MOST_COMBINATIONS), options, strict=False)]
    return min(limited, key=lambda group: _cost(group, pool, host))


def gpu_sets(
    host: Host, free: Sequence[Gpu], counts: Sequence[int], *, current: frozenset[str] = frozenset(), share: float = 1.0
) -> list[GpuSet]:
    """Sets of GPUs of one model, fewest first.

    Among sets of a size the one that serves now stands first, then models with less memory before those with more.

    Args:
        counts: Sizes of sets, ascending.
        current: PCI addresses of the GPUs that serve now.
        share: Part of a GPU that an engine wants free; GPUs on which others hold more are taken last.
    """
    ordered = sorted(free, key=lambda gpu: gpu.pci_address)
    running = tuple(gpu for gpu in ordered if gpu.pci_address in current)
    models = sorted({gpu.model: gpu.memory for gpu in ordered}.items(), key=lambda item: (item[1], item[0]))
    sets: list[GpuSet] = []
    for count in counts:
        if len(running) == count and len({gpu.model for gpu in running}) == 1:
            sets.append(running)
        for model, _ in models:
            pool = [gpu for gpu in ordered if gpu.model == model]
            empty = [gpu for gpu in pool if gpu.free >= gpu.memory * share]
            enough = empty if len(empty) >= count else pool
            if len(enough) >= count and (found := _best(enough, count, host)) not in sets:
                sets.append(found)
    return sets
