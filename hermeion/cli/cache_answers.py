"""What ``hermeion cache`` asks hosts, and the work it gives them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermeion.caches import Listing, Store, find_stores, parse_listing
from hermeion.cli.inventories import limited, load_inventory
from hermeion.cli.pyinfra import deploy
from hermeion.errors import HermeionError, ProbeError


@dataclass(frozen=True, slots=True)
class Answers:
    """What every host of an inventory said of its cache.

    Attributes:
        stores: One for each filesystem.
        chosen: Hosts that the command is about.
        absent: Hosts that said nothing that can be used; ``notes``: why, by host.
    """

    stores: tuple[Store, ...]
    chosen: frozenset[str]
    absent: tuple[str, ...]
    notes: Mapping[str, str]

    @property
    def own(self) -> tuple[Store, ...]:
        """The stores of the chosen hosts."""
        return tuple(store for store in self.stores if self.chosen & set(store.hosts))


def read_report(report: Mapping[str, Any], names: Sequence[str], chosen: frozenset[str]) -> Answers:
    """Make stores of the report that ``cache_list.py`` left.

    Args:
        names: Every host of the inventory, in its order.
    """
    listings: list[Listing] = []
    notes = dict(report["failed"])
    for name in names:
        if (said := report["hosts"].get(name)) is None:
            notes.setdefault(name, f"{name}: did not answer")
            continue
        try:
            listing = parse_listing(name, said["cache"], said["listing"])
        except ProbeError as error:
            notes[name] = str(error)
            continue
        if listing.is_whole or listing.root:
            listings.append(listing)
        else:
            notes[name] = f"{name}: {listing.cache} cannot be read as its owner. Look whether `setpriv` is there."
    answered = {listing.host for listing in listings}
    return Answers(find_stores(listings), chosen, tuple(name for name in names if name not in answered), notes)


def ask(inventory: str, hosts: Sequence[str] | None) -> Answers:
    """Ask every host of the inventory: who uses a shared cache is not told by those who are named alone.

    Raises:
        HermeionError: The inventory cannot be used, or a limit leaves no host.
    """
    known = load_inventory(inventory)
    chosen = frozenset(host["name"] for host in limited(inventory, known, hosts or ()))
    _, report = deploy(inventory, "--dry", "-y", quiet=True, file="cache_list.py")
    return read_report(report, [host["name"] for host in known], chosen)


@contextmanager
def _orders(orders: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Write what each host has to do into a private file that is named in the environment."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.json"
        path.write_text(json.dumps(orders))
        os.environ["HERMEION_ORDERS"] = str(path)
        try:
            yield
        finally:
            del os.environ["HERMEION_ORDERS"]


def work(
    inventory: str, orders: Mapping[str, Mapping[str, str]], *, quiet: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Have hosts do their orders.

    Returns:
        What each left as its result, and why others failed, by host.

    Raises:
        HermeionError: pyinfra could not begin.
    """
    if not orders:
        return {}, {}
    limits = [part for host in orders for part in ("--limit", host)]
    with _orders(orders):
        _, report = deploy(inventory, "-y", *limits, quiet=quiet, file="cache_work.py")
    failed = dict(report["failed"])
    found: dict[str, str] = {}
    for host in orders:
        if result := report["hosts"].get(host, {}).get("result"):
            found[host] = result
        else:
            failed.setdefault(host, f"{host}: left no result. Run again.")
    return found, failed


def python_of(store: Store, chosen: frozenset[str]) -> tuple[str, str]:
    """The host of a store that hashes, one of the chosen, and its interpreter.

    Raises:
        HermeionError: None of them has Python.
    """
    listings = [listing for listing in store.listings if listing.host in chosen]
    for listing in listings:
        if listing.python:
            return listing.host, listing.python
    raise HermeionError(
        f"{', '.join(listing.host for listing in listings)}: there is no Python to hash with. Install python3 there "
        "(a deploy that pulls weights does), then run again."
    )
