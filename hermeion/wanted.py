"""What the inventory wants of each host of a run: the edge where pyinfra's data become ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from hermeion import narration, presentation
from hermeion.demands import check_inventory
from hermeion.errors import HermeionError, InventoryError
from hermeion.inventory import HostSpec, parse_host_spec
from hermeion.named_files import read_locks, read_named
from hermeion.reports import refusal_json
from hermeion.s3 import S3Access


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the inventory wants of a host, with the texts of the files it names on this machine.

    Attributes:
        ca: Certificates of ``hermes_mirrors/ca``, or ``None``.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
        locks: Locked requirements of native engines, as text, by service.
        token: Token for the Hub from the environment variable HF_TOKEN, or ``None``.
        access: Who asks a bucket: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; ``None``: anybody.
    """

    spec: HostSpec
    ca: str | None
    keys: Mapping[str, str]
    locks: Mapping[str, str]
    token: str | None = field(default=None, repr=False)
    access: S3Access | None = field(default=None, repr=False)

    @classmethod
    def of(cls, inventory: Inventory, host: Host) -> Wanted:
        """Check the data of every host of the run, and give this host's.

        Raises:
            InventoryError: One line per problem, of all hosts.
        """
        return all_wanted(inventory)[host.name]

    def refused(self, host: Host, error: HermeionError) -> None:
        """Remember and show why a host is refused."""
        message = str(error)
        narration.NOTES[host.name] = message
        narration.keep(host, refusal_json(error))
        narration.say(host, presentation.refusal(message.removeprefix(f"{host.name}: ")))


_READ: dict[int, dict[str, Wanted]] = {}
"""By inventory: it is read once, not once for each of its hosts."""


def all_wanted(inventory: Inventory) -> dict[str, Wanted]:
    """What is wanted of every host of an inventory, by name, in its order.

    Raises:
        InventoryError: One line per problem, of all hosts.
    """
    if (known := _READ.get(id(inventory))) is not None:
        return known
    problems: list[str] = []
    wanted: dict[str, Wanted] = {}
    for host in inventory:
        try:
            wanted[host.name] = _read(host)
        except InventoryError as error:
            problems += str(error).splitlines()
    if problems:
        raise InventoryError("\n".join(["the inventory cannot be used:", *dict.fromkeys(problems)]))
    _READ[id(inventory)] = wanted
    return wanted


@cache
def _access() -> S3Access | None:
    """Who asks a bucket; signed at one moment for the whole run, so that the same question is the same text."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not (key and secret):
        return None
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return S3Access(key=key, secret=secret, session=os.environ.get("AWS_SESSION_TOKEN"), date=date)


def _read(host: Host) -> Wanted:
    data: dict[str, object] = host.data.dict()  # type: ignore[no-untyped-call]
    spec = parse_host_spec(host.name, data)
    check_inventory(host.name, spec)
    mirrors = spec.hermes_mirrors
    ca = read_named(host.name, "hermes_mirrors/ca", mirrors.ca)
    keys = {}
    for kind, group in (("apt", mirrors.apt), ("rpm", mirrors.rpm)):
        for name in type(group).model_fields:
            path = getattr(getattr(group, name), "key", None)
            if (text := read_named(host.name, f"hermes_mirrors/{kind}/{name}/key", path)) is not None:
                keys[f"{kind}/{name}"] = text
    return Wanted(
        spec=spec,
        ca=ca,
        keys=keys,
        locks=read_locks(host.name, spec),
        token=os.environ.get("HF_TOKEN"),
        access=_access(),
    )
