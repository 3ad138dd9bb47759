"""The Hub's cache as a host listed it: repositories, and what leads where."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hermeion.caches.listing import Entry, Listing, split_name

NAME = re.compile(r"models--[\w.-]+@[0-9a-f]{40}(?:\+[0-9a-f]{8})?", re.ASCII)
"""A name of weights that Hermeion gives."""

BLOB = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A blob's name: git's hash of a small file, SHA-256 of a large one."""

UNFINISHED = re.compile(r"(?P<blob>.+?)(?P<foreign>\.[0-9a-f]{8})?\.incomplete")
"""A blob on its way; the Hub's own client puts eight digits of its own into its names."""

TEMPORARY = re.compile(r"\.(?:.*\.)?[0-9a-f]{32}\.new|\.clock\.\d+|\..*\.manifest\.\d+")
"""What a crash leaves of a file or link that was to be replaced in one step."""

PARTS = "hermeion/parts"
"""How far files on their way are safe on disk, by blob."""

LOCK_SECONDS = 60
"""How old the sign of life of a running pull may be."""

HOPS = 40
"""Links that the kernel follows one after the other."""


@dataclass(slots=True)
class Repository:
    """One ``models--org--name`` folder.

    Attributes:
        folder: ``models--org--name``.
        blobs: Whole blobs by name.
        unfinished: Files on their way.
        commits: By commit, what its folder holds: path in it → entry. A commit with an empty folder counts.
        refs, trees, absent: Files that name commits: branches, listings, notes of missing files.
        names: Of ours that are of this repository: with a manifest, a record or a lock.
        odd: Why it is left alone altogether, or ``""``.
    """

    folder: str
    blobs: dict[str, Entry] = field(default_factory=dict)
    unfinished: list[Entry] = field(default_factory=list)
    commits: dict[str, dict[str, Entry]] = field(default_factory=dict)
    refs: list[Entry] = field(default_factory=list)
    trees: list[Entry] = field(default_factory=list)
    absent: list[Entry] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    odd: str = ""

    @property
    def path(self) -> str:
        """Its folder below the cache."""
        return f"hub/{self.folder}"

    @property
    def repo(self) -> str:
        """``org/name``."""
        return self.folder.removeprefix("models--").replace("--", "/", 1)


def resolve(listing: Listing, path: str) -> str | None:
    """Where a path below the cache leads, every link followed; ``None``: out of the cache, or in circles."""
    waiting, done, hops = path.split("/")[::-1], list[str](), 0
    while waiting:
        part = waiting.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not done:
                return None
            done.pop()
            continue
        done.append(part)
        entry = listing.entries.get("/".join(done))
        if entry is None or entry.kind != "l":
            continue
        hops += 1
        target = entry.target
        if target.startswith("/"):
            if not listing.root or not target.startswith(f"{listing.root}/"):
                return None
            done, target = [], target.removeprefix(f"{listing.root}/")
        else:
            done.pop()
        if hops > HOPS:
            return None
        waiting += target.split("/")[::-1]
    return "/".join(done)


def _place(repository: Repository, entry: Entry, parts: list[str]) -> None:
    """Put an entry where it belongs; ``parts``: its path in the repository's folder."""
    kind, rest = parts[0], parts[1:]
    if not entry.path.isprintable():
        repository.odd = repository.odd or "a name in it has characters that no repository uses"
    if entry.kind == "d":
        repository.folders.append(entry.path)
        if kind == "snapshots" and len(rest) == 1:
            repository.commits.setdefault(rest[0], {})
    elif entry.kind == "l" and (not rest or (kind == "snapshots" and len(rest) == 1)):
        repository.odd = repository.odd or f"{'/'.join(parts)} is a link"
    elif rest and TEMPORARY.fullmatch(rest[-1]):
        repository.unfinished.append(entry)
    elif kind == "snapshots" and len(rest) > 1:
        repository.commits.setdefault(rest[0], {})["/".join(rest[1:])] = entry
    elif kind == "blobs" and len(rest) == 1 and BLOB.fullmatch(rest[0]):
        repository.blobs[rest[0]] = entry
    elif kind == "blobs" and len(rest) == 1 and UNFINISHED.fullmatch(rest[0]) and entry.kind == "f":
        repository.unfinished.append(entry)
    elif kind == "refs" and rest:
        repository.refs.append(entry)
    elif kind == "trees" and len(rest) == 1:
        repository.trees.append(entry)
    elif kind == ".no_exist" and len(rest) > 1:
        repository.absent.append(entry)


def find_repositories(listing: Listing) -> dict[str, Repository]:
    """Every repository of a cache, by folder, and whatever of ours names one that is not there."""
    found: dict[str, Repository] = {}
    for entry in sorted(listing.entries.values()):
        top, *parts = entry.path.split("/")
        if top == "hub" and parts and parts[0].startswith("models--"):
            repository = found.setdefault(parts[0], Repository(parts[0]))
            if parts[1:]:
                _place(repository, entry, parts[1:])
            elif entry.kind != "d":
                repository.odd = "it is a link" if entry.kind == "l" else "it is no folder"
        elif top == "hermeion" and len(parts) == 1:
            name = parts[0].removesuffix(".manifest").removesuffix(".json").removesuffix(".lock")
            if name != parts[0] and NAME.fullmatch(name):
                folder = split_name(name)[0]
                found.setdefault(folder, Repository(folder)).names.add(name)
    for repository in found.values():
        for commit, files in repository.commits.items():
            for path, entry in files.items():
                place = f"{repository.path}/snapshots/{commit}/{path}"
                target = listing.entries.get(resolve(listing, place) or "") if entry.kind == "l" else None
                if target is not None and target.kind == "d":
                    repository.odd = repository.odd or f"snapshots/{commit}/{path} is a link to a folder"
    return found


def manifest_of(listing: Listing, name: str) -> dict[str, str] | None:
    """Lines of a manifest by path; empty: it is of an older form; ``None``: there is none."""
    text = listing.texts.get(f"hermeion/{name}.manifest")
    if text is None:
        return None
    rows = [line.split(" ", 3) for line in text.split("\n") if line]
    return {} if any(len(row) != 4 for row in rows) else {row[3]: " ".join(row[:3]) for row in rows}


def json_of(listing: Listing, path: str) -> Mapping[str, object]:
    """What a JSON file below the cache says; empty, if it is none."""
    try:
        data = json.loads(listing.texts.get(path, "{}"))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def began(entry: Entry) -> str | None:
    """The blob that a file on its way will be, or ``None``: it is none."""
    match = UNFINISHED.fullmatch(entry.path.rpartition("/")[2])
    return match["blob"] if match else None


def is_ours(listing: Listing, repository: Repository) -> bool:
    """Whether Hermeion's records, a lock or a mark of a broken pull speak of the repository."""
    blobs = {*repository.blobs, *(began(entry) for entry in repository.unfinished)}
    return bool(repository.names) or any(f"{PARTS}/{name}" in listing.entries for name in blobs)


def puller_of(listing: Listing, name: str) -> str | None:
    """Who is pulling weights now, by the sign of life in its lock; ``None``: nobody."""
    lock = f"hermeion/{name}.lock"
    marks = [entry for path, entry in listing.entries.items() if path == lock or path.startswith(f"{lock}/")]
    if not marks or listing.clock - max(float(entry.mtime) for entry in marks) >= LOCK_SECONDS:
        return None
    return str(json_of(listing, f"{lock}/owner.json").get("host") or "somebody")
