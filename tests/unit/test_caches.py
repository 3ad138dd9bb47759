"""Which hosts share a cache, whose releases count in it, and when nothing may be removed. No host, no file."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from hermeion.caches import Entry, Listing, Release, Store, find_prunings, find_snapshots, find_stores, parse_listing
from hermeion.caches.listing import weights_name
from hermeion.caches.repositories import resolve
from hermeion.caches.stores import is_network, stray_uses
from hermeion.errors import ProbeError
from tests.unit.builders import final_service
from tests.unit.cache_folders import COMMITS

NAME = weights_name("org/model", COMMITS[0], ())
FOLDER = "hub/models--org--model"
BLOB = "ab" * 32


def answer(*fields: str) -> str:
    """A host's answer, as the script prints it."""
    return base64.encodebytes("".join(f"{field}\0" for field in fields).encode()).decode()


def entry(path: str, kind: str = "f", target: str = "", size: int = 5) -> Entry:
    """Something old in a cache."""
    return Entry(path, kind, "7", "1000.0000000000", size, 1, target)


def make(host: str, *entries: Entry, releases: tuple[Release, ...] = (), **about: Any) -> Listing:
    """What a host says of a cache with these entries."""
    usual: dict[str, Any] = {
        "cache": "/srv/models", "root": "/srv/models", "identity": f"1 {host}", "source": "/dev/sda1",
        "fstype": "ext4", "target": "/", "clock": 10**9,
    }  # fmt: skip
    return Listing(host=host, entries={one.path: one for one in entries}, releases=releases, **(usual | about))


def snapshot() -> tuple[Entry, ...]:
    """A whole repository with one file, that Hermeion pulled."""
    return (
        entry("hub", "d"), entry(FOLDER, "d"), entry(f"{FOLDER}/blobs", "d"), entry(f"{FOLDER}/blobs/{BLOB}"),
        entry(f"{FOLDER}/snapshots", "d"), entry(f"{FOLDER}/snapshots/{COMMITS[0]}", "d"),
        entry(f"{FOLDER}/snapshots/{COMMITS[0]}/x", "l", f"../../blobs/{BLOB}"),
        entry(f"hermeion/{NAME}.manifest"), entry(f"hermeion/{NAME}.json"),
    )  # fmt: skip


TEXTS = {f"hermeion/{NAME}.manifest": "7 1000.0000000000 5 x\n"}
USE = Release("hermes", "abc", True, NAME, (), "model-bf16")
NFS: dict[str, Any] = {"fstype": "nfs4", "source": "nas:/models", "target": "/srv", "texts": TEXTS}


def test_name_is_the_plans() -> None:
    """Names of weights are made as the plan makes them."""
    service = final_service()
    assert service.snapshot == weights_name(service.repo, str(service.revision), service.files)


@pytest.mark.parametrize(
    ("fstype", "expected"),
    [("nfs4", True), ("fuse.s3fs", True), ("lustre", True), ("ext4", False), ("overlay", False), ("fuseblk", False)],
)
def test_network_filesystems(fstype: str, expected: bool) -> None:
    """Filesystems that several hosts may mount are known by their types."""
    assert expected == is_network(fstype)


def hosts(*stores: Store) -> list[tuple[str, ...]]:
    """The hosts of each."""
    return [store.hosts for store in stores]


def test_stores() -> None:
    """Hosts share a store by the share they mount, wherever they mount it; a local disk is a host's own."""
    shared: dict[str, Any] = {"fstype": "nfs4", "source": "nas:/models"}
    listings = [
        make("a", target="/srv/models", **shared),
        make("b"),
        make("c", root="/mnt/nas", target="/mnt/nas", **shared),
        make("d", root="/mnt/nas/x", target="/mnt/nas", **shared),
        make("e"),
    ]
    assert [("a", "c"), ("b",), ("d",), ("e",)] == hosts(*find_stores(listings))


def test_bound_folder() -> None:
    """A folder that is bound into several hosts is one store, though it looks local in each."""
    listings = [make("a", identity="5 1.5"), make("b"), make("c", identity="5 1.5")]
    stores = find_stores(listings)

    assert [("a", "c"), ("b",)] == hosts(*stores)
    assert [True, False] == [store.is_shared for store in stores]


def test_other_hosts_releases_count() -> None:
    """What a release on any host of a shared filesystem names stays; without one it goes."""
    free = find_stores([make("a", *snapshot(), **NFS), make("b", *snapshot(), **NFS)])
    used = find_stores([make("a", *snapshot(), **NFS), make("b", *snapshot(), releases=(USE,), **NFS)])

    assert 1 == len(find_prunings(free)[0].removals)
    assert () == find_prunings(used)[0].removals


def test_share_that_is_not_mounted() -> None:
    """A release whose weights are not where its host looks protects them wherever they are."""
    stores = find_stores([make("a", *snapshot(), **NFS), make("b", releases=(USE,))])

    assert [("a",), ("b",)] == hosts(*stores)
    assert (("b", USE),) == stray_uses(stores)
    assert () == find_prunings(stores)[0].removals


def test_absent_host() -> None:
    """If a host that may share a filesystem does not answer, nothing goes there; a local disk is not concerned."""
    stores = find_stores([make("a", *snapshot(), **NFS), make("b", *snapshot(), texts=TEXTS)])
    shared, local = find_prunings(stores, ["c", "d"])

    assert (
        "nothing is removed from /srv/models of a: c, d may use it too and did not answer. "
        "Bring it back, or take it out of the inventory, then run again."
    ) == shared.refusal
    assert ((), None, 1) == (shared.removals, local.refusal, len(local.removals))


def test_plan_that_cannot_be_read() -> None:
    """If a release's plan cannot be read, nothing goes: it may name anything."""
    (pruning,) = find_prunings(find_stores([make("a", *snapshot(), broken=("hermes/abc",))]))
    assert (
        "nothing is removed from /srv/models of a: /opt/hermeion/hermes/releases/abc/plan.json on a cannot be read. "
        "Look at it, or deploy that service again, then run again."
    ) == pruning.refusal


def test_cache_that_was_not_read_whole() -> None:
    """If something of the cache could not be read, nothing goes."""
    (pruning,) = find_prunings(find_stores([make("a", *snapshot(), is_whole=False)]))
    assert (
        "nothing is removed from /srv/models of a: it could not be read whole, or changed meanwhile. Run again; if "
        "that does not help, `ls -lR /srv/models` says what is unreadable."
    ) == pruning.refusal


def test_network_inodes() -> None:
    """On a network filesystem the inode does not count; elsewhere it does."""
    texts = {f"hermeion/{NAME}.manifest": "8 1000.0000000000 5 x\n"}
    remote, local = (
        find_snapshots(find_stores([make("a", *snapshot(), **(NFS | {"texts": texts, "fstype": fstype}))])[0])[0].state
        for fstype in ("nfs4", "ext4")
    )
    assert ("complete", "damaged") == (remote, local)


def test_older_manifest() -> None:
    """A manifest of an older form proves nothing."""
    (row,) = find_snapshots(find_stores([make("a", *snapshot(), texts={f"hermeion/{NAME}.manifest": "5 x\n"})])[0])
    assert ("damaged", ("its manifest is of an older form",)) == (row.state, row.wrong)


def test_interrupted_pull() -> None:
    """A pull that was broken off shows the bytes that are there, of those that the Hub's listing promised."""
    tree = {"files": {"x": {"size": 5, "blob_id": BLOB}, "y": {"size": 9, "lfs_size": 90, "lfs_sha256": "cd" * 32}}}
    entries = [one for one in snapshot() if not one.path.startswith("hermeion/")]
    entries += [entry(f"{FOLDER}/blobs/{'cd' * 32}.incomplete", size=30), entry(f"hermeion/{NAME}.lock", "d")]
    listing = make("a", *entries, texts={f"{FOLDER}/trees/{COMMITS[0]}.json": json.dumps(tree)})
    (row,) = find_snapshots(find_stores([listing])[0])

    assert ("incomplete", 35, 95) == (row.state, row.bytes, row.total)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"../../blobs/{BLOB}", f"{FOLDER}/blobs/{BLOB}"),
        (f"/srv/models/{FOLDER}/blobs/{BLOB}", f"{FOLDER}/blobs/{BLOB}"),
        ("/etc/shadow", None),
        ("../../../../../etc/shadow", None),
        ("x", None),
    ],
)
def test_where_links_lead(target: str, expected: str | None) -> None:
    """Links are followed inside the cache; those that leave it, or go in circles, lead nowhere."""
    path = f"{FOLDER}/snapshots/{COMMITS[0]}/x"
    assert expected == resolve(make("a", entry(path, "l", target)), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a: its answer about the cache breaks off. Run again."),
        (answer("clock", "5"), "a: its answer about the cache breaks off. Run again."),
        (answer("clock", "5", "entry", "f", "1"), "a: its answer about the cache breaks off. Run again."),
        (answer("what", "end"), "a: its answer about the cache cannot be understood: 'what'"),
    ],
)
def test_answers_that_are_none(text: str, message: str) -> None:
    """An answer that is cut short or of something else is one error with the host's name."""
    with pytest.raises(ProbeError) as error:
        parse_listing("a", "/srv/models", text)
    assert message == str(error.value)


@pytest.mark.parametrize("plan", ["", "{", "[]", "{}", '{"repo": 1, "revision": null}'])
def test_broken_plans(plan: str) -> None:
    """A plan that cannot be read is remembered as such; one with a folder of its own names nothing."""
    listing = parse_listing(
        "a", "/srv/models", answer("clock", "5", "release", "hermes", "abc", "yes", plan, "asked", "0", "end")
    )
    assert (("hermes/abc",), ()) == (listing.broken, listing.releases)
    own = json.dumps({"path": "/models/own", "repo": "x", "revision": "y"})
    listing = parse_listing("a", "/m", answer("clock", "5", "release", "h", "abc", "yes", own, "asked", "0", "end"))
    assert ((), ()) == (listing.broken, listing.releases)
