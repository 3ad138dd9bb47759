"""``served.json``: what a lab's services container serves; its reader is ``services.catalog``."""

from __future__ import annotations

import fcntl
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .paths import StatePaths, cache_root, write_json

CACHE_INSIDE = Path("/cache")
"""Where the cache is in the container."""
SERVING_INSIDE = Path("/lab/serving")
"""Where the state's folder ``serving`` is in the container."""


@contextmanager
def changed(state: StatePaths) -> Iterator[dict[str, Any]]:
    """What is served, to be changed in place; written when the block ends well. One change at a time."""
    state.serving.mkdir(parents=True, exist_ok=True)
    file = state.serving / "served.json"
    with (state.serving / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        served = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        before = json.dumps(served)
        yield served
        if json.dumps(served) != before:  # who writes it makes the server read every folder again
            write_json(file, served)


def serve_apt(state: StatePaths, apt: Path) -> None:
    """Serve this repository from now on, beside everything else that is served already."""
    with changed(state) as served:
        served["apt"] = _inside(apt)


def serve_wheels(state: StatePaths, index: Sequence[Path]) -> None:
    """Serve these folders of wheels, if no others are served already."""
    with changed(state) as served:
        served["index"] = served.get("index") or [_inside(folder) for folder in index]


def serve_supplies(
    state: StatePaths,
    *,
    apt: Path,
    index: Sequence[Path],
    files: Path | None,
    models: Sequence[tuple[str, str, Path]],
) -> None:
    """Serve what the lab itself makes, each folder in the cache; what was published beside it stays.

    Args:
        index: Folders of wheels; a wheel that is in several is the first one's.
        models: Repository, revision and folder.
    """
    own = [{"repo": repo, "revision": revision, "path": _inside(folder)} for repo, revision, folder in models]
    with changed(state) as served:
        served |= {"apt": _inside(apt), "index": [_inside(folder) for folder in index]}
        served["files"] = _inside(files) if files else None
        published = [model for model in served.get("models", []) if "published" in model]
        served["models"] = _ordered(published + own)


def add_model(state: StatePaths, entry: dict[str, Any], *, main: bool) -> None:
    """Serve one more revision: the one at which ``main`` stands, or an older one; if it is served, move it there."""
    with changed(state) as served:
        others = [model for model in served.get("models", []) if not _same(model, entry)]
        new = entry | {"published": "main" if main else "older"}
        served["models"] = _ordered([new, *others] if main else [*others, new])


def remove_models(state: StatePaths, repo: str) -> list[str]:
    """Serve nothing of ``repo`` that was published; the folders, as they are in the container."""
    with changed(state) as served:
        gone = [model for model in served.get("models", []) if model["repo"] == repo and "published" in model]
        served["models"] = [model for model in served.get("models", []) if model not in gone]
    return [model["path"] for model in gone]


def add_bucket(state: StatePaths, bucket: str, folder: str) -> None:
    """Serve a bucket from a folder, as it is in the container."""
    with changed(state) as served:
        served["buckets"] = served.get("buckets", {}) | {bucket: folder}


def remove_bucket(state: StatePaths, bucket: str) -> list[str]:
    """Serve the bucket no longer; its folder, as it is in the container, if there was one."""
    with changed(state) as served:
        folder = served.get("buckets", {}).pop(bucket, None)
    return [folder] if folder else []


def ensure_keys(state: StatePaths) -> tuple[str, str]:
    """The key pair that opens the buckets: its name and its secret, made for this lab alone."""
    with changed(state) as served:
        if "s3" not in served:
            # The shapes of AWS's own: 20 capitals and digits, and 40 characters.
            served["s3"] = {"access_key": f"AKIA{secrets.token_hex(8).upper()}", "secret_key": secrets.token_hex(20)}
        return served["s3"]["access_key"], served["s3"]["secret_key"]


def _same(model: dict[str, Any], other: dict[str, Any]) -> bool:
    return (model["repo"], model["revision"]) == (other["repo"], other["revision"])


def _ordered(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a repository's revisions, those published as main come first, and those published as older last."""
    place = {"main": 0, "older": 2}
    return sorted(models, key=lambda model: place.get(model.get("published", ""), 1))


def _inside(path: Path) -> str:
    return str(CACHE_INSIDE / path.relative_to(cache_root()))
