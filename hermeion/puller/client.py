"""The Hub's own client: it lists the repository into the cache, and has the last word on whether it is complete."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .job import File, Job
from .layout import Layout
from .sources import Refused, Retry
from .talk import note


def prepare_client(home: Path) -> None:
    """Set what the client reads when it is imported: nothing outside the private folder, no telemetry, no shared blobs.

    With its store of blobs for all repositories a repository's folder would lead out of itself.
    """
    os.environ.update(
        HF_HOME=str(home),
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_UPDATE_CHECK="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_SHARED_BLOBS="1",
        HF_XET_TELEMETRY_ENABLED="0",
        HF_XET_CHUNK_CACHE_SIZE_BYTES="0",  # the cache is where the files go
    )
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        os.environ.pop(name, None)


def list_online(job: Job, endpoint: str, token: str | None) -> None:
    """Let the client write its listing of the commit; every file is there, so it fetches none."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # reads its environment at import

    reason = "it gives no listing"
    try:
        within(  # the client itself tries again after 429 and 5xx
            job.stall_seconds,
            lambda: snapshot_download(
                job.repo,
                revision=job.revision,
                cache_dir=job.cache / "hub",
                allow_patterns=patterns(job),
                endpoint=endpoint,
                token=token or False,
            ),
        )
    except Exception as error:  # the bytes are there and right: its own listing is made instead
        reason = str(error) if isinstance(error, Retry) else type(error).__name__
    if not (job.folder / "trees" / f"{job.revision}.json").exists():
        note(f"the Hub at {endpoint} does not list {job.repo} ({reason}); the listing has the fetched files alone")


def keep_tree(job: Job, layout: Layout) -> None:
    """See that the client's listing of the commit is there, names every wanted file, and can be read by engines.

    Without it readers that are offline do not notice that a file is missing. The client writes it for itself alone.
    """
    from huggingface_hub import _tree_cache as trees  # noqa: PLC0415

    folder = str(job.folder)
    entries = dict(trees.read_tree_cache(folder, job.revision) or {}) if layout.tree.exists() else {}
    lacking = [file for file in job.files if file.path not in entries]
    if lacking:
        entries |= {
            file.path: trees.TreeCacheEntry(
                size=file.size,
                blob_id=git_oid(file),
                lfs_sha256=file.sha256,
                lfs_size=file.size if file.sha256 else None,
                xet_hash=file.xet,
            )
            for file in lacking
        }
        trees.write_tree_cache(folder, job.revision, entries)
    if layout.tree.exists() and os.access(layout.tree, os.W_OK):
        layout.tree.chmod(layout.record.parent.stat().st_mode & 0o666 | 0o644)


def prove(job: Job) -> None:
    """Ask the client, offline, whether it has everything.

    Raises:
        Refused: It has not.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    try:
        snapshot_download(
            job.repo,
            revision=job.revision,
            cache_dir=job.cache / "hub",
            allow_patterns=patterns(job),
            local_files_only=True,
        )
    except Exception as error:
        raise Refused(
            f"{job.repo}: the Hub's client does not find it complete in {job.cache}: {error}; take {job.snapshot} away "
            "and run again: blobs that are right stay."
        ) from error


def patterns(job: Job) -> list[str]:
    """Exactly the wanted names, as the client's patterns."""
    return ["".join(f"[{sign}]" if sign in "*?[" else sign for sign in file.path) for file in job.files]


def git_oid(file: File) -> str:
    """Of the file as git has it; of a large one that is the pointer to it."""
    if file.oid:
        return file.oid
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{file.sha256}\nsize {file.size}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()


def within(seconds: float, act: Callable[[], Any]) -> Any:
    """What ``act`` returns or raises; it runs in a thread that is left behind if it takes longer.

    Raises:
        Retry: It takes longer.
    """
    ended: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            ended.append((act(), None))
        except BaseException as error:  # raised again by the one that waits
            ended.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise Retry(f"nothing came for {seconds:g} s")
    value, error = ended[0]
    if error is not None:
        raise error
    return value
