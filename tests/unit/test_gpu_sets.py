"""Which of a host's GPUs go together."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from hermeion.gpu_sets import MOST_COMBINATIONS, describe, gpu_sets
from hermeion.gpus import gpu_models
from hermeion.hosts import Gpu, Host, gpus_of
from tests.unit.builders import H100, L40S, RTX_3090, RTX_4090, address_of


def gpus(
    cards: Sequence[str], *, numa: Sequence[int] = (), busy: Sequence[int] = (), part: float = 0.5
) -> tuple[Gpu, ...]:
    """GPUs in PCI order; of the busy ones others hold a part."""
    found = []
    for index, card in enumerate(cards):
        (gpu,) = gpus_of(gpu_models()[card], 1)
        free = int(gpu.memory * (1 - part)) if index in busy else gpu.memory
        node = numa[index] if numa else -1
        found.append(gpu.model_copy(update={"pci_address": address_of(index), "free": free, "numa": node}))
    return tuple(found)


def host_of(found: Sequence[Gpu], *, links: Sequence[tuple[int, int]] = (), nvswitch: bool = False) -> Host:
    """A host with these GPUs; links by place in PCI order."""
    pairs = frozenset((address_of(a), address_of(b)) for a, b in links)
    return Host(name="gpu-1", gpus=tuple(found), nvswitch=nvswitch, nvlinks=pairs)


def chosen(host: Host, counts: Sequence[int], free: Sequence[Gpu] | None = None, **options: object) -> list[list[int]]:
    """The sets as places on the bus, best first."""
    sets = gpu_sets(host, host.gpus if free is None else free, counts, **options)  # type: ignore[arg-type]
    return [[int(gpu.pci_address[5:7], 16) - 1 for gpu in group] for group in sets]


def test_fewest_first() -> None:
    """Sets come by size, in PCI order where nothing tells GPUs apart."""
    assert [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]] == chosen(host_of(gpus([L40S] * 4)), [1, 2, 3, 4])


def test_a_size_that_is_not_there() -> None:
    """A size for which there are too few GPUs of one model has no set."""
    assert [[0]] == chosen(host_of(gpus([L40S, H100])), [1])[:1]
    assert [] == chosen(host_of(gpus([L40S, H100])), [2])
    assert [] == chosen(host_of([]), [1, 2])


def test_models_with_less_memory_come_first() -> None:
    """Of sets of one size, the model with less memory is tried first: it may be enough, and the other is left."""
    host = host_of(gpus([H100, L40S, RTX_4090, H100, L40S, RTX_4090]))

    assert [[2], [1], [0], [2, 5], [1, 4], [0, 3]] == chosen(host, [1, 2])


def test_models_of_the_same_memory_come_by_name() -> None:
    """An A10 and an L4 have the same memory; the order does not depend on the bus."""
    a10, l4 = "2236", "27b8"

    assert [[0], [1]] == chosen(host_of(gpus([a10, l4])), [1])
    assert [[1], [0]] == chosen(host_of(gpus([l4, a10])), [1])


@pytest.mark.parametrize(
    ("links", "count", "expected"),
    [
        ([(0, 2), (1, 3)], 2, [0, 2]),
        ([(1, 3)], 2, [1, 3]),
        ([(1, 2)], 2, [1, 2]),
        ([(0, 2), (1, 3)], 1, [0]),
        ([(0, 2)], 1, [1]),
        ([(0, 1), (2, 3)], 3, [0, 1, 2]),
        ([(1, 2), (0, 3)], 3, [0, 1, 2]),
        ([(2, 3)], 3, [0, 2, 3]),
        ([(0, 1), (1, 2), (0, 2)], 3, [0, 1, 2]),
    ],
)
def test_nvlink_pairs(links: list[tuple[int, int]], count: int, expected: list[int]) -> None:
    """Two GPUs are a pair that NVLink joins; a single GPU is none of a pair if it can be; three have a pair."""
    assert [expected] == chosen(host_of(gpus([RTX_3090] * 4), links=links), [count])


def test_what_is_taken_breaks_no_pair() -> None:
    """Once one of a pair is taken, the other is the first choice for a single GPU, and no part of a pair."""
    found = gpus([RTX_3090] * 4)
    host = host_of(found, links=[(0, 2), (1, 3)])

    assert [[2], [1, 3]] == chosen(host, [1, 2], free=found[1:])


@pytest.mark.parametrize(
    ("numa", "count", "expected"),
    [
        ([0, 1, 0, 1], 2, [0, 2]),
        ([1, 0, 0, 1], 2, [0, 3]),
        ([0, 1, 1, 1], 2, [1, 2]),
        ([0, 1, 1, 1], 1, [0]),
        ([0, 0, 0, 1], 1, [3]),
        ([0, 1, 0, 1, 0, 1, 0, 1], 4, [0, 2, 4, 6]),
        ([0, 0, 1, 1, 1, 1, 0, 1], 4, [2, 3, 4, 5]),
        ([0, 0, 0, 1, 1, 1], 4, [0, 1, 2, 3]),
        ([-1, -1, -1, -1], 2, [0, 1]),
    ],
)
def test_numa_nodes(numa: list[int], count: int, expected: list[int]) -> None:
    """GPUs of one node go together, in the node that is the fullest already; across nodes only where they must."""
    assert [expected] == chosen(host_of(gpus([L40S] * len(numa), numa=numa)), [count])


def test_nvlink_before_numa() -> None:
    """A pair across nodes is closer than two GPUs of a node without NVLink."""
    host = host_of(gpus([RTX_3090] * 4, numa=[0, 0, 1, 1]), links=[(0, 2), (1, 3)])

    assert [[0, 2]] == chosen(host, [2])


@pytest.mark.parametrize("links", [[], [(a, b) for b in range(8) for a in range(b)]])
def test_nvswitch_joins_all(links: list[tuple[int, int]]) -> None:
    """Behind NVSwitches every pair is as good as any other; the NUMA node still counts."""
    host = host_of(gpus([H100] * 8, numa=[0, 1] * 4), links=links, nvswitch=True)

    assert [[0], [0, 2], [0, 2, 4, 6]] == chosen(host, [1, 2, 4])


def test_busy_gpus_come_last() -> None:
    """GPUs of which others hold more than the given share are taken only where the others are too few."""
    host = host_of(gpus([L40S] * 4, busy=[0, 2]))

    assert [[1], [1, 3], [0, 1, 2]] == chosen(host, [1, 2, 3], share=0.9)


@pytest.mark.parametrize(("part", "expected"), [(0.09, [[0]]), (0.11, [[1]])])
def test_a_desktop_is_not_busy(part: float, expected: list[list[int]]) -> None:
    """A little less than a tenth in use is no reason to pass a GPU over."""
    assert expected == chosen(host_of(gpus([L40S] * 2, busy=[0], part=part)), [1], share=0.9)


def test_what_serves_now_comes_first() -> None:
    """The GPUs that serve now stand before closer and smaller ones of their number, and before no other number."""
    host = host_of(gpus([L40S, L40S, H100, H100], numa=[0, 0, 1, 1]))
    current = frozenset({address_of(2), address_of(3)})

    assert [[0], [2], [2, 3], [0, 1]] == chosen(host, [1, 2], current=current)


def test_what_serves_now_is_named_once() -> None:
    """Where the running set is also the best, it is tried once."""
    current = frozenset({address_of(0), address_of(1)})

    assert [[0, 1]] == chosen(host_of(gpus([L40S] * 2)), [2], current=current)


def test_a_running_set_of_two_kinds_is_no_set() -> None:
    """What a person once put together of two models is not proposed again."""
    current = frozenset({address_of(0), address_of(1)})

    assert [] == chosen(host_of(gpus([L40S, H100])), [2], current=current)


def test_the_order_of_the_free_gpus_is_of_no_matter() -> None:
    """The same sets in the same order, however the free GPUs come."""
    found = list(gpus([L40S, H100] * 4, numa=[0, 0, 1, 1] * 2, busy=[1]))
    host = host_of(found, links=[(1, 3), (5, 7)])
    expected = chosen(host, [1, 2, 3, 4], share=0.9)
    source = random.Random(7)  # noqa: S311  # the same orders in every run
    for _ in range(20):
        source.shuffle(found)

        assert expected == chosen(host, [1, 2, 3, 4], free=found, share=0.9)


def test_many_gpus() -> None:
    """Sixteen GPUs in unequal places are more sets than are weighed; a legal one is found all the same."""
    host = host_of(gpus([H100] * 16, numa=[0] * 8 + [1] * 8))

    assert [list(range(8))] == chosen(host, [8])
    assert MOST_COMBINATIONS < 12_870  # 8 out of 16


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([L40S], "1 × NVIDIA L40S"),
        ([L40S] * 4, "4 × NVIDIA L40S"),
        ([RTX_3090, H100, RTX_3090], "2 × NVIDIA GeForce RTX 3090 and 1 × NVIDIA H100 80GB HBM3"),
    ],
)
def test_sets_in_words(cards: list[str], expected: str) -> None:
    """A set is told by number and model, also one of several models."""
    assert expected == describe(gpus(cards))
