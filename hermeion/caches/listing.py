"""A host's answer about its cache, parsed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hermeion.errors import ProbeError


class Entry(NamedTuple):
    """A file, folder or link below the cache.

    Attributes:
        path: From the cache on: ``hub/models--org--name/blobs/…``.
        kind: ``f``, ``d``, ``l`` or another letter of ``find -printf %y``.
        mtime: Seconds since 1970 as ``find -printf %T@`` prints them.
        size: Bytes.
        links: Names that the file has; it takes no less room while one of them is left.
        target: Where a link leads.
    """

    path: str
    kind: str
    inode: str
    mtime: str
    size: int
    links: int
    target: str


class Release(NamedTuple):
    """What a release of a service names.

    Attributes:
        current: Whether it is the one that runs, or ran last.
        name: Of its weights in the cache, ``models--org--name@commit`` and ``+hash`` of single files.
        files: Single files of the repository; empty: all that were pulled.
        variant: For people.
    """

    service: str
    release: str
    current: bool
    name: str
    files: tuple[str, ...]
    variant: str


class Pull(NamedTuple):
    """A pull that runs on the host: bytes done and in all, 0 where it has not said."""

    job: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What one host says of its cache.

    Attributes:
        cache: Its folder, as the inventory has it.
        root: Where that really is, links resolved; ``""``: there is none yet.
        identity: Inode and time of change of that folder: hosts that see the same ones see the same folder.
        source: What is mounted there; ``fstype``: type of that filesystem; ``target``: its mount point.
        clock: Seconds since 1970 on the host.
        is_whole: Whether nothing of it was unreadable or went away while it was read.
        texts: What is in manifests, records, refs and listings of trees, by path.
        broken: Releases whose plan cannot be read: ``service/release``.
        python: An interpreter on the host, or ``""``.
    """

    host: str
    cache: str
    root: str = ""
    identity: str = ""
    source: str = ""
    fstype: str = ""
    target: str = ""
    total: int = 0
    free: int = 0
    clock: int = 0
    is_whole: bool = True
    entries: dict[str, Entry] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    releases: tuple[Release, ...] = ()
    broken: tuple[str, ...] = ()
    pulls: tuple[Pull, ...] = ()
    python: str = ""


def weights_name(repo: str, revision: str, files: Iterable[str]) -> str:
    """Name of weights in the cache; the same as a plan's ``Service.snapshot``."""
    name = f"models--{repo.replace('/', '--')}@{revision}"
    return f"{name}+{hashlib.sha256(chr(10).join(files).encode()).hexdigest()[:8]}" if files else name


def split_name(name: str) -> tuple[str, str]:
    """Folder of the repository and commit that a name in the cache is of."""
    folder, _, revision = name.rpartition("@")
    return folder, revision.partition("+")[0]


def _release(service: str, release: str, current: str, text: str) -> Release | None:
    """A release, or ``None``: its weights are in a folder of the host's own.

    Raises:
        ValueError: It cannot be read; also as ``KeyError`` and ``TypeError``.
    """
    plan = json.loads(text)
    if plan.get("path"):
        return None
    repo, revision, files = plan["repo"], plan["revision"], tuple(map(str, plan.get("files") or ()))
    if not isinstance(repo, str) or not isinstance(revision, str):
        raise TypeError("no repository")
    name = weights_name(repo, revision, files)
    return Release(service, release, current == "yes", name, files, str(plan.get("variant", "")))


FIELDS = {
    "none": 0, "root": 2, "mount": 1, "space": 1, "clock": 1, "entry": 7, "found": 1, "text": 2, "asked": 1,
    "release": 4, "pull": 2, "python": 1, "end": 0,
}  # fmt: skip
"""How many fields follow each word."""


def _rows(host: str, fields: list[str]) -> Iterator[tuple[str, list[str]]]:
    words = iter(fields)
    for word in words:
        if word not in FIELDS:
            raise ProbeError(f"{host}: its answer about the cache cannot be understood: {word[:40]!r}")
        try:
            yield word, [next(words) for _ in range(FIELDS[word])]
        except StopIteration:
            return
    return


def parse_listing(host: str, cache: str, answer: str) -> Listing:
    """Parse what ``listing_script`` printed.

    Args:
        cache: The folder that was asked about.

    Raises:
        ProbeError: It is not whole, or something else.
    """
    try:
        text = base64.b64decode(answer, validate=False).decode(errors="surrogateescape")
    except binascii.Error as error:
        raise ProbeError(f"{host}: its answer about the cache cannot be understood: {error}") from error
    said: dict[str, list[str]] = {}
    entries: dict[str, Entry] = {}
    texts: dict[str, str] = {}
    releases: list[Release] = []
    broken: list[str] = []
    pulls: list[Pull] = []
    try:
        for word, row in _rows(host, text.split("\0")[:-1]):
            if word == "entry":
                kind, inode, mtime, size, links, path, target = row
                entries[path] = Entry(path, kind, inode, mtime, int(size), int(links), target)
            elif word == "text":
                texts[row[0]] = row[1]
            elif word == "release":
                try:
                    releases += filter(None, [_release(*row)])
                except (ValueError, KeyError, TypeError, AttributeError):
                    broken.append(f"{row[0]}/{row[1]}")
            elif word == "pull":
                numbers = [int(number) for number in row[1].split()[:2]] or [0, 0]
                pulls.append(Pull(row[0], numbers[0], numbers[-1]))
            else:
                said[word] = row
        if "end" not in said:
            raise ProbeError(f"{host}: its answer about the cache breaks off. Run again.")
        root, identity = said.get("root", ("", ""))
        mount = [*said.get("mount", [""])[0].split(" "), "", "", ""]
        space = [int(number) for number in said.get("space", ["0 0"])[0].split()] or [0, 0]
        clock = int(said["clock"][0])
    except (ValueError, KeyError) as error:
        raise ProbeError(f"{host}: its answer about the cache cannot be understood: {error}") from error
    return Listing(
        host=host, cache=cache, root=root, identity=identity, source=mount[0], fstype=mount[1], target=mount[2],
        total=space[0], free=space[-1], clock=clock, entries=entries, texts=texts, releases=tuple(releases),
        is_whole=said.get("asked") == ["0"] and said.get("found", ["0"]) == ["0"],
        broken=tuple(broken), pulls=tuple(pulls), python=said.get("python", [""])[0],
    )  # fmt: skip
