"""What an inventory wants, without a connection to any host.

What is wrong here ends with exit code 1, as a run of pyinfra does: 2 is ``hermeion plan``'s for something to do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hermeion.errors import HermeionError, InventoryError
from hermeion.inventory import HostSpec, parse_host_spec

MARK = "@inventory "
"""Begins the line of the reader's answer."""


def load_inventory(inventory: str) -> list[dict[str, Any]]:
    """Name, groups and ``hermes_*`` data of every host, in the inventory's order, as pyinfra reads them.

    Raises:
        HermeionError: The inventory cannot be read; its own words are in the message.
    """
    if inventory.endswith(".py") and not Path(inventory).exists():
        raise HermeionError(f"there is no inventory {inventory}. Examples: inventories/example_*.py")
    command = [sys.executable, "-m", "hermeion.inventory_reader", inventory]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    answers = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    said = "\n".join(line for line in done.stderr.splitlines() if line.strip())
    if done.returncode or not answers:
        raise HermeionError(f"{inventory} cannot be read: {said or 'it ended without a word'}")
    hosts: list[dict[str, Any]] = json.loads(answers[-1].removeprefix(MARK))
    if not hosts:
        raise HermeionError(f"{inventory} names no host{': ' + said if said else ''}")
    return hosts


def limited(inventory: str, hosts: Sequence[Mapping[str, Any]], limit: Sequence[str]) -> list[Mapping[str, Any]]:
    """The hosts that ``--limit`` leaves: names, patterns of names, or groups, as pyinfra has it.

    Raises:
        HermeionError: A limit leaves none.
    """
    left: set[str] = set()
    for pattern in limit:
        group = {host["name"] for host in hosts if pattern in host["groups"]}
        found = group or {host["name"] for host in hosts if fnmatch(host["name"], pattern)}
        if not found:
            names = ", ".join(host["name"] for host in hosts)
            raise HermeionError(f"not in {inventory}: {pattern}; there are {names}")
        left |= found
    return [host for host in hosts if not limit or host["name"] in left]


def wanted_by(hosts: Sequence[Mapping[str, Any]]) -> dict[str, HostSpec]:
    """What is wanted of each host.

    Raises:
        HermeionError: One line per problem, of all hosts.
    """
    from hermeion.demands import check_inventory  # noqa: PLC0415  # not needed to start

    specs: dict[str, HostSpec] = {}
    problems: list[str] = []
    for host in hosts:
        try:
            specs[host["name"]] = parse_host_spec(host["name"], host["data"])
            check_inventory(host["name"], specs[host["name"]])
        except InventoryError as error:
            problems += str(error).splitlines()
    if problems:
        raise HermeionError("\n".join(["the inventory cannot be used:", *dict.fromkeys(problems)]))
    return specs
