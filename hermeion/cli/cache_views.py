"""What ``hermeion cache`` shows: tables and sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hermeion.caches import Listing, Pruning, Removal, Snapshot, Store
from hermeion.pictures import clean
from hermeion.units import format_bytes, format_seconds

Show = tuple[Store, tuple[Snapshot, ...], Pruning]
"""A store, what is in it, and what a prune would remove."""


def place_of(store: Store) -> str:
    """Hosts and folder: ``gpu-1, gpu-2: /srv/models``."""
    return clean(f"{', '.join(store.hosts)}: {store.first.cache}")


def _heading(store: Store) -> Text:
    listing = store.first
    about = f" ({listing.fstype} {listing.source}), {format_bytes(listing.free)} free of {format_bytes(listing.total)}"
    return Text.assemble((place_of(store), "bold"), clean(about) if listing.root else ": there is none yet")


def _uses(row: Snapshot) -> str:
    kept = [use for use in row.uses if not use.current]
    lines = [f"{use.service}@{use.host} {use.release}" for use in row.uses if use.current]
    lines += [f"{use.service}@{use.host} {use.release} (kept)" for use in kept]
    return clean("\n".join(lines)) or "–"


def _name(row: Snapshot) -> str:
    of = [*row.variants, *(path for path in row.paths)] if row.state != "not ours" else []
    return clean("\n".join([row.repo, *(f"  {one}" for one in of[:3]), *(["  …"] if of[3:] else [])]))


def _size(row: Snapshot) -> str:
    if row.state in {"incomplete", "being pulled"} and row.total:
        return f"{format_bytes(row.bytes)}\nof {format_bytes(row.total)}"
    return format_bytes(row.bytes)


def _table(rows: tuple[Snapshot, ...]) -> Table:
    """Narrow enough for 80 columns; ``--json`` has more."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("repository", overflow="fold")
    table.add_column("commit", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("used by", overflow="fold")
    for row in rows:
        checked = f"\n{row.checked[:10]}" if row.checked and row.state == "complete" else ""
        style = "red" if row.state == "damaged" else ""
        table.add_row(
            Text(_name(row)), row.commit[:8] or "–", _size(row), str(row.files or "–"),
            Text(row.state + checked, style=style), Text(_uses(row)),
        )  # fmt: skip
    return table


def _notes(listing: Listing, rows: tuple[Snapshot, ...], inventory: str) -> Iterator[str]:
    for row in rows:
        if row.state == "damaged":
            wrong = ", ".join(row.wrong[:5]) + (f" and {len(row.wrong) - 5} more" if row.wrong[5:] else "")
            yield (
                f"damaged: {row.repo} {row.commit[:8]}: not as it was when it was checked: {wrong}. "
                f"`hermeion cache verify {inventory}` reads every byte; `pyinfra {inventory} deploys/hermes.py` "
                "fetches again what is wrong, and that alone."
            )
        elif row.state == "being pulled":
            yield f"{row.repo} {row.commit[:8]} is being pulled by {row.puller}"
        if row.note:
            yield f"{row.repo} is left alone: {row.note}"
    if not listing.is_whole:
        yield "some of it could not be read, or changed meanwhile"


def _pulls(store: Store) -> Iterator[str]:
    for listing in store.listings:
        for pull in listing.pulls:
            done = f"{format_bytes(pull.done)} of {format_bytes(pull.total)}" if pull.total else "just begun"
            yield f"{listing.host}: hermeion-{pull.job} runs: {done}"


def show_list(console: Console, shown: tuple[Show, ...], inventory: str) -> None:
    """Every store with a row for each snapshot; what a prune would free."""
    for store, rows, pruning in shown:
        console.print(_heading(store))
        if rows:
            console.print(_table(rows))
        for line in (*_notes(store.first, rows, inventory), *_pulls(store)):
            console.print(clean(f"  {line}"), markup=False, highlight=False, soft_wrap=True)
        if store.first.root:
            would = f"a prune would free {format_bytes(pruning.bytes)}" if not pruning.refusal else pruning.refusal
            blobs = {entry.inode: entry.size for entry in store.first.entries.values() if entry.kind == "f"}
            console.print(
                clean(f"  {format_bytes(sum(blobs.values()))} in all; {would}"), markup=False, highlight=False,
                soft_wrap=True,
            )  # fmt: skip


def removal_lines(removal: Removal) -> Iterator[str]:
    """What goes of a repository, in a line or a few."""
    repo = removal.folder.removeprefix("hub/models--").replace("--", "/", 1) or "leftovers of broken pulls"
    commits = ", ".join(commit[:8] for commit in removal.commits)
    parts = [f"commit {commits}, which no release names"] if commits else []
    if not commits and removal.names:
        parts.append(f"{len(removal.names)} set{'s' if removal.names[1:] else ''} of files that no release names")
    if removal.unlinked:
        parts.append(f"{format_bytes(removal.unlinked)} that nothing needs")
    if removal.unfinished:
        parts.append(f"{format_bytes(removal.unfinished)} unfinished")
    yield clean(f"  {repo}: {format_bytes(removal.bytes)}" + (f" ({'; '.join(parts)})" if parts else ""))


def show_prune(console: Console, pruning: Pruning) -> None:
    """What goes of a store, and what stays although nobody uses it."""
    console.print(place_of(pruning.store), style="bold", markup=False, highlight=False)
    lines = [line for removal in pruning.removals for line in removal_lines(removal)]
    lines += [clean(f"  stays: {what}: {why}") for what, why in pruning.kept.items()]
    for line in lines or ["  nothing to remove"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def verify_lines(host: str, result: Mapping[str, Any]) -> Iterator[str]:
    """What a deep check found on a host."""
    hashed, seconds = result["hashed"], result["seconds"]
    rate = f", {format_bytes(int(hashed / seconds))}/s" if seconds > 0 and hashed else ""
    yield f"{host}: {format_bytes(hashed)} hashed in {format_seconds(seconds)}{rate}"
    for name, found in result["names"].items():
        damaged, files = found["damaged"], f"{found['files']} file{'s' if found['files'] != 1 else ''}"
        state = f"{len(damaged)} of {files} damaged" if damaged else f"{files} right"
        if found["skipped"]:
            state = f"{state}; {found['skipped']}" if found["files"] else f"not checked: {found['skipped']}"
        if found["renewed"]:
            state += f"; {len(found['renewed'])} had another time or place on disk than recorded"
        yield clean(f"  {name}: {state}")
        for file in damaged:
            yield clean(f"    {file['path']}: promised {file['promised']}, found {file['found']}")
