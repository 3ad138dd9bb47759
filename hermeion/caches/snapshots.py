"""What is in a store, one row for each snapshot: its state, where it came from, who uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hermeion.caches.listing import Entry, Listing, split_name
from hermeion.caches.repositories import (
    Repository,
    began,
    find_repositories,
    is_ours,
    json_of,
    manifest_of,
    puller_of,
    resolve,
)
from hermeion.caches.stores import Store, is_network
from hermeion.records import Record

State = Literal["complete", "damaged", "incomplete", "being pulled", "not ours"]


class Use(Record):
    """A release that names the weights."""

    host: str
    service: str
    release: str
    current: bool


class Snapshot(Record):
    """A row.

    Attributes:
        name: In the cache; ``""``: it is not ours, or belongs to nothing.
        commit: 40 hexadecimal digits, or ``""``: there is none yet.
        variants: Names of the catalogue, as releases have them.
        files: How many there are.
        bytes: What they take, each blob once.
        total: Bytes of all that is wanted, where that is known.
        wrong: Files that are not as they were when they were checked; missing ones too.
        checked: When every byte was, UTC.
        source: Where it came from, ``puller``: which host brought it, or brings it now.
        note: Why it is left alone.
    """

    repo: str
    commit: str
    name: str
    state: State
    variants: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    files: int = 0
    bytes: int = 0
    total: int | None = None
    wrong: tuple[str, ...] = ()
    checked: str | None = None
    source: str | None = None
    puller: str | None = None
    uses: tuple[Use, ...] = ()
    note: str = ""


def file_at(listing: Listing, repository: Repository, commit: str, path: str) -> Entry | None:
    """The file that a path of a snapshot ends in, if it is there."""
    place = resolve(listing, f"{repository.path}/snapshots/{commit}/{path}")
    found = listing.entries.get(place) if place else None
    return found if found is not None and found.kind == "f" else None


def _size(found: Mapping[str, Entry | None]) -> int:
    return sum({entry.path: entry.size for entry in found.values() if entry}.values())


def _stamp(entry: Entry, *, network: bool) -> str:
    return f"{'' if network else entry.inode} {entry.mtime} {entry.size}".strip()


def _promised(listing: Listing, repository: Repository, name: str, commit: str) -> dict[str, int]:
    """Blobs of weights with their sizes: from the record, or from the Hub's listing of the whole repository."""
    rows = json_of(listing, f"hermeion/{name}.json").get("files")
    tree = json_of(listing, f"{repository.path}/trees/{commit}.json").get("files")
    try:
        if isinstance(rows, list):
            return {row["sha256"] or row["oid"]: int(row["size"]) for row in rows}
        if isinstance(tree, dict) and "+" not in name:
            return {
                row.get("lfs_sha256") or row["blob_id"]: int(row.get("lfs_size") or row["size"])
                for row in tree.values()
            }
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return {}


def _on_the_way(repository: Repository, promised: Mapping[str, int]) -> int:
    """Bytes of wanted blobs that are there, whole or in part; of all of them, if nobody says which are wanted."""
    sizes = {name: blob.size for name, blob in repository.blobs.items()}
    for entry in repository.unfinished:
        if blob := began(entry):
            sizes[blob] = max(sizes.get(blob, 0), entry.size)
    if not promised:
        return sum(sizes.values())
    return sum(min(size, sizes.get(blob, 0)) for blob, size in promised.items())


def _ours(store: Store, repository: Repository, name: str) -> Snapshot:
    listing, commit = store.first, split_name(name)[1]
    lines, network = manifest_of(listing, name), is_network(store.first.fstype)
    record = json_of(listing, f"hermeion/{name}.json")
    puller = puller_of(listing, name)
    held = [(host, release) for host, release in store.uses if release.name == name]
    row = Snapshot(
        repo=repository.repo,
        commit=commit,
        name=name,
        state="incomplete",
        variants=tuple(sorted({release.variant for _, release in held if release.variant})),
        paths=tuple(sorted({path for _, release in held for path in release.files})),
        checked=str(record["checked"]) if "checked" in record else None,
        source=str(record["source"]) if "source" in record else None,
        puller=puller or (str(record["host"]) if "host" in record else None),
        uses=tuple(Use(host=host, service=r.service, release=r.release, current=r.current) for host, r in held),
        note=repository.odd,
    )
    if puller or lines is None:
        promised = _promised(listing, repository, name, commit)
        there = _on_the_way(repository, promised)
        state: State = "being pulled" if puller else "incomplete"
        total = sum(promised.values()) or None
        return row.model_copy(update={"state": state, "bytes": there, "total": total, "files": len(promised)})
    found = {path: file_at(listing, repository, commit, path) for path in lines}
    wrong = []
    for path, line in lines.items():
        entry = found[path]
        recorded = line.partition(" ")[2] if network else line
        if entry is None or _stamp(entry, network=network) != recorded:
            wrong.append(path)
    return row.model_copy(
        update={
            "state": "damaged" if wrong or not lines else "complete",
            "wrong": tuple(sorted(wrong)) if lines else ("its manifest is of an older form",),
            "files": len(lines),
            "bytes": _size(found),
            "paths": row.paths or (tuple(sorted(lines)) if "+" in name else ()),
        }
    )


def find_snapshots(store: Store) -> tuple[Snapshot, ...]:
    """Every snapshot of a store: those of ours by name, and what somebody else put there."""
    listing = store.first
    rows: list[Snapshot] = []
    for repository in find_repositories(listing).values():
        rows += [_ours(store, repository, name) for name in sorted(repository.names)]
        ours = {split_name(name)[1] for name in repository.names}
        for commit, files in repository.commits.items():
            if commit not in ours:
                found = {path: file_at(listing, repository, commit, path) for path in files}
                uses = tuple(
                    Use(host=host, service=release.service, release=release.release, current=release.current)
                    for host, release in store.uses
                    if split_name(release.name) == (repository.folder, commit)
                )
                rows.append(
                    Snapshot(
                        repo=repository.repo, commit=commit, name="", state="not ours", files=len(files),
                        bytes=_size(found), uses=uses, note=repository.odd,
                    )
                )  # fmt: skip
        if not repository.names and not repository.commits:
            size = _on_the_way(repository, {})
            state: State = "incomplete" if is_ours(listing, repository) else "not ours"
            rows.append(
                Snapshot(repo=repository.repo, commit="", name="", state=state, bytes=size, note=repository.odd)
            )
    return tuple(rows)
