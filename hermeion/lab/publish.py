"""Repositories and buckets of a lab that come from a folder of this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hermeion.errors import LabError

from . import served
from .labfile import ModelEntry, read_lab_file
from .paths import StatePaths
from .progress import Report
from .services.content import Hashes, hash_content, list_files, revision_from

_REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_BUCKET = re.compile(r"s3://(?P<name>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])")
_SUMS = "SHA256SUMS"
_FIRST_PART = re.compile(r"-0*1-of-\d+\.gguf$")


def publish_model(
    lab: str, repo: str, folder: Path, report: Report, *, main: bool = False, xet: dict[str, Any] | None = None
) -> ModelEntry:
    """Serve a folder's files as a revision of ``repo``, named by their content; returns its catalogue entry.

    The files are hard links where that is possible: do not change them in place while they are served.

    Args:
        main: Let the branch ``main`` stand at it, if the repository has other revisions.
        xet: The Xet storage that has files of it too: ``{"cas": URL, "hashes": {path: "<64 hex>"}}``.

    Raises:
        LabError: There is no such lab, the folder has no files, or the name is none.
    """
    read_lab_file(lab)
    if not _REPO.fullmatch(repo):
        message = f"{repo!r} is not a repository: write ORG/NAME, or s3://BUCKET for a bucket."
        raise LabError(message)
    state = StatePaths.of(lab)
    part = _place(state, folder)
    try:
        with report.stage(f"hashing {folder}"):
            hashes = {path.relative_to(part).as_posix(): hash_content(path) for path in list_files(part)}
        revision = revision_from(hashes)
        place = _settle(part, f"{repo.replace('/', '--')}@{revision}")
    finally:
        shutil.rmtree(part, ignore_errors=True)
    entry: dict[str, Any] = {"repo": repo, "revision": revision, "path": str(_inside(place, state))}
    entry["hashes"] = {path: _note(place / path, known) for path, known in hashes.items()}
    if xet:
        entry["xet"] = xet
    served.add_model(state, entry, main=main)
    ggufs = [path for path in hashes if path.endswith(".gguf")]
    file = next((path for path in ggufs if _FIRST_PART.search(path)), ggufs[0] if ggufs else None)
    return ModelEntry(name=repo.partition("/")[2].lower(), repo=repo, revision=revision, file=file)


def publish_bucket(lab: str, address: str, folder: Path, report: Report) -> None:
    """Serve a folder's files as the bucket ``s3://NAME``, with ``SHA256SUMS`` if the folder has none.

    Raises:
        LabError: As ``publish_model``.
    """
    read_lab_file(lab)
    name = _bucket_of(address)
    state = StatePaths.of(lab)
    part = _place(state, folder)
    try:
        if not (part / _SUMS).exists():
            with report.stage(f"hashing {folder}"):
                lines = [f"{_sha256(path)}  {path.relative_to(part).as_posix()}\n" for path in list_files(part)]
            (part / _SUMS).write_text("".join(lines), encoding="utf-8")
        target = state.serving / "published" / f"s3--{name}"
        shutil.rmtree(target, ignore_errors=True)
        place = _settle(part, target.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    served.add_bucket(state, name, str(_inside(place, state)))


def unpublish(lab: str, what: str) -> bool:
    """Serve a published repository or bucket no longer; False if there is none of that name."""
    state = StatePaths.of(lab)
    if what.startswith("s3://"):
        folders = served.remove_bucket(state, _bucket_of(what))
    else:
        folders = served.remove_models(state, what)
    for folder in folders:
        shutil.rmtree(state.serving / Path(folder).relative_to(served.SERVING_INSIDE), ignore_errors=True)
    return bool(folders)


def _bucket_of(address: str) -> str:
    match = _BUCKET.fullmatch(address)
    if match is None:
        message = f"{address!r} is not a bucket: write s3://NAME, lower-case letters, digits, dots and hyphens."
        raise LabError(message)
    return match["name"]


def _place(state: StatePaths, folder: Path) -> Path:
    """A new folder that is served, with the files of ``folder``: what links stand for, and not the links."""
    files = list_files(folder) if folder.is_dir() else []
    if not files:
        message = f"{folder} has no files: name a folder of this machine whose files are to be served."
        raise LabError(message)
    root = state.serving / "published"
    root.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=root, prefix=".part-"))
    part.chmod(0o755)
    for file in files:
        target = part / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.resolve(), target)
        except OSError:  # another filesystem, or one without links
            shutil.copy2(file, target)
    return part


def _settle(part: Path, name: str) -> Path:
    """Give the folder its name; if there is one of that name and content, that is it."""
    place = part.parent / name
    return place if place.exists() else part.rename(place)


def _note(file: Path, hashes: Hashes) -> list[Any]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, hashes.git_oid, hashes.sha256]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inside(place: Path, state: StatePaths) -> Path:
    return served.SERVING_INSIDE / place.relative_to(state.serving)
