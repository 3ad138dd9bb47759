"""What goes of one repository: what no release names, and what broken pulls left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hermeion.caches.listing import Entry, Listing, Release, split_name
from hermeion.caches.repositories import (
    PARTS,
    TEMPORARY,
    UNFINISHED,
    Repository,
    began,
    is_ours,
    json_of,
    manifest_of,
    puller_of,
)
from hermeion.records import Record

QUIET_SECONDS = 600
"""How long the Hub's own client must not have written to a file before it counts as left behind."""

GRACE_SECONDS = 3600
"""How old a pull must be before nobody's using it means something: its service may be on its way."""


class Removal(Record):
    """What goes of one repository, or of the cache's own leftovers (``folder`` is ``""``). Paths below the cache.

    Attributes:
        names: Weights whose records go; ``commits``: those of them of which nothing stays.
        records: Manifests and records: they go first, so that nothing is called complete that is not.
        links: Names in snapshots, branches, listings.
        blobs: What takes the room.
        folders: Removed if they are empty then.
        bytes: What is freed; a file with another name elsewhere frees nothing.
        unfinished: Of these, the bytes of files on their way.
        unlinked: Of these, the bytes of whole blobs that no snapshot needed any more.
    """

    folder: str
    names: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    bytes: int = 0
    unfinished: int = 0
    unlinked: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.records or self.links or self.blobs or self.names)


def _freed(entries: Iterable[Entry]) -> int:
    return sum(entry.size for entry in entries if entry.kind == "f" and entry.links == 1)


def _paths(listing: Listing, name: str) -> frozenset[str] | None:
    """Files of weights of ours, or ``None``: nobody wrote down which."""
    lines = manifest_of(listing, name)
    rows = json_of(listing, f"hermeion/{name}.json").get("files")
    recorded = {str(row.get("path")) for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
    return frozenset({*(lines or ()), *recorded}) or None


class Decider:
    """Decides about one repository."""

    def __init__(
        self, listing: Listing, repository: Repository, uses: Sequence[Release], *, grace: int, all_repos: bool
    ) -> None:
        self.listing, self.repository, self.grace, self.all_repos = listing, repository, grace, all_repos
        self.uses = [use for use in uses if split_name(use.name)[0] == repository.folder]
        self.kept: dict[str, str] = {}
        self._young = f"came less than {grace // 60} min ago: its service may be on its way"
        self.is_ours = is_ours(listing, repository)

    def _is_young(self, entry: Entry | None, seconds: int) -> bool:
        return seconds > 0 and entry is not None and self.listing.clock - float(entry.mtime) < seconds

    def _stays(self, name: str) -> bool:
        """Whether weights of ours are in use, or may be soon."""
        if any(use.name == name for use in self.uses):
            return True
        entries = self.listing.entries
        if self._is_young(entries.get(f"hermeion/{name}.json") or entries.get(f"hermeion/{name}.manifest"), self.grace):
            self.kept[name] = self._young
            return True
        return False

    def _going(self, commit: str, names: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        """Which entries of a commit's folder go, and which names of ours."""
        files = self.repository.commits.get(commit, {})
        uses = [use for use in self.uses if split_name(use.name)[1] == commit]
        staying = [name for name in names if self._stays(name)]
        going = [name for name in names if name not in staying]
        known = {name: _paths(self.listing, name) for name in names}
        if not names:
            young = any(self._is_young(entry, self.grace) for entry in files.values())
            if self.all_repos and young and not uses:
                self.kept[f"{self.repository.repo} {commit[:8]}"] = self._young
            return (files, []) if self.all_repos and not uses and not young else ({}, [])
        if not uses and not staying:
            mine = None if any(paths is None for paths in known.values()) else _union(known.values())
            # What somebody else put into the same folder stays, unless everything is to go.
            return {p: e for p, e in files.items() if mine is None or p in mine or self.all_repos}, going
        if {use.name for use in uses} - set(names) or any(known[name] is None for name in staying):
            return {}, []  # which files it needs is not known: all of them
        needed = _union(known[name] for name in staying) | {path for use in uses for path in use.files}
        gone = _union(known[name] for name in going)
        return {path: entry for path, entry in files.items() if path in gone - needed}, going

    def decide(self) -> Removal:
        """What goes."""
        repository, listing = self.repository, self.listing
        if repository.odd:
            self.kept[repository.repo] = f"left alone: {repository.odd}"
            return Removal(folder=repository.path)
        for name in sorted(repository.names):
            if puller := puller_of(listing, name):
                self.kept[repository.repo] = f"is being pulled by {puller}"
                return Removal(folder=repository.path)
        if not self.is_ours and not self.all_repos:
            return Removal(folder=repository.path)
        names: list[str] = []
        commits: list[str] = []
        links: dict[str, Entry] = {}
        of_commit = {split_name(name)[1] for name in repository.names}
        for commit in sorted({*repository.commits, *of_commit}):
            gone, going = self._going(commit, sorted(n for n in repository.names if split_name(n)[1] == commit))
            names += going
            links |= {entry.path: entry for entry in gone.values()}
            left = set(repository.commits.get(commit, {})) - set(gone)
            if not left and (gone or going):
                commits.append(commit)
        links |= {entry.path: entry for entry in self._of_commits(set(commits))}
        blobs, sizes = self._blobs(set(links))
        stamps = [f"hermeion/{name}.{kind}" for name in names for kind in ("manifest", "json")]
        records = [listing.entries[path] for path in stamps if path in listing.entries]
        removed = [*records, *links.values(), *blobs]
        return Removal(
            folder=repository.path,
            names=tuple(names),
            commits=tuple(commits),
            records=tuple(entry.path for entry in records),
            links=tuple(links),
            blobs=tuple(entry.path for entry in blobs),
            folders=(*sorted(repository.folders, reverse=True), repository.path) if removed else (),
            bytes=_freed(removed),
            unfinished=sizes[0],
            unlinked=sizes[1],
        )

    def _of_commits(self, commits: set[str]) -> Iterable[Entry]:
        """Branches, listings and notes that speak of commits that go."""
        for entry in self.repository.refs:
            if entry.kind == "f" and self.listing.texts.get(entry.path, "").strip() in commits:
                yield entry
        for entry in self.repository.trees:
            if entry.path.rpartition("/")[2].removesuffix(".json") in commits:
                yield entry
        for entry in self.repository.absent:
            if entry.path.removeprefix(f"{self.repository.path}/.no_exist/").partition("/")[0] in commits:
                yield entry

    def _blobs(self, gone: set[str]) -> tuple[list[Entry], tuple[int, int]]:
        """Blobs that nothing leads to any more, and what pulls left; bytes of the latter and of those already idle."""
        entries = self.listing.entries
        # By their last name: whatever way a link takes to this repository, the blob of that name stays.
        leading = [
            entry
            for entry in entries.values()
            if entry.kind == "l"
            and (entry.path.startswith(f"{self.repository.path}/") or self.repository.folder in entry.target)
        ]
        before = {entry.target.rpartition("/")[2] for entry in leading}
        after = {entry.target.rpartition("/")[2] for entry in leading if entry.path not in gone}
        whole = [entry for name, entry in self.repository.blobs.items() if name not in after]
        if not self.is_ours:
            whole = [entry for entry in whole if not self._is_young(entry, QUIET_SECONDS)]
        unfinished = []
        for entry in self.repository.unfinished:
            match = UNFINISHED.fullmatch(entry.path.rpartition("/")[2])
            ours = self.is_ours and not (match and match["foreign"])
            if ours or not self._is_young(entry, QUIET_SECONDS):
                unfinished.append(entry)
            else:
                self.kept[self.repository.repo] = "somebody writes to it"
        marks = [
            mark
            for entry in (*whole, *unfinished)
            if (mark := entries.get(f"{PARTS}/{began(entry) or entry.path.rpartition('/')[2]}"))
        ]
        idle = [entry for entry in whole if entry.path.rpartition("/")[2] not in before]
        return [*whole, *unfinished, *marks], (_freed(unfinished), _freed(idle))


def _union(sets: Iterable[frozenset[str] | None]) -> frozenset[str]:
    return frozenset().union(*(one for one in sets if one))


def leftovers(listing: Listing, repositories: Iterable[Repository]) -> Removal:
    """What broken pulls left beside the Hub's cache."""
    blobs = {name for one in repositories for name in one.blobs}
    blobs |= {str(began(entry)) for one in repositories for entry in one.unfinished}
    gone: list[Entry] = []
    for entry in listing.entries.values():
        folder, _, name = entry.path.rpartition("/")
        old = listing.clock - float(entry.mtime) >= QUIET_SECONDS
        idle = folder == PARTS and name not in blobs
        if entry.kind == "f" and old and (idle or (folder == "hermeion" and TEMPORARY.fullmatch(name))):
            gone.append(entry)
    return Removal(folder="", blobs=tuple(entry.path for entry in gone), bytes=_freed(gone))
