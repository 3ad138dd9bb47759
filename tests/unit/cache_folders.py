"""Caches as Hermeion's puller leaves them, small, in any folder; and how hosts are asked about them here."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hermeion.caches import Listing, parse_listing
from hermeion.caches.listing import weights_name
from hermeion.scripts.housekeeping import listing_script

COMMITS = tuple(digit * 40 for digit in "123456789")
REPO = "org/model"
OLD = 1_700_000_000
"""Long ago, in seconds since 1970."""

FILES = {"config.json": b"{}", "model-00001-of-00002.safetensors": b"a" * 1000, "my [big] file.bin": b"b" * 500}


def blob_of(content: bytes) -> str:
    """SHA-256, as of a large file."""
    return hashlib.sha256(content).hexdigest()


def line_of(path: Path, name: str) -> str:
    """A manifest's line."""
    found = path.stat()
    seconds, rest = divmod(found.st_mtime_ns, 10**9)
    return f"{found.st_ino} {seconds}.{rest:09d}0 {found.st_size} {name}"


def lay_out(
    cache: Path, commit: str = COMMITS[0], files: Mapping[str, bytes] = FILES, *, repo: str = REPO,
    single: tuple[str, ...] = (), record: bool = True, old: bool = True,
) -> str:  # fmt: skip
    """Lay out a snapshot; its name.

    Args:
        single: It was pulled for these files alone.
        record: Whether Hermeion pulled it, or else somebody else.
        old: Whether that was long ago.
    """
    folder = cache / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    blobs = folder / "blobs"
    lines, rows = [], []
    for name, content in files.items():
        blob = blobs / blob_of(content)
        blobs.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            blob.write_bytes(content)
            os.utime(blob, (OLD, OLD))
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(blob, link.parent))
        lines.append(line_of(blob, name))
        rows.append({"path": name, "size": len(content), "sha256": blob.name, "oid": None})
    for kind, text in (("refs", commit), ("trees", "{}")):
        path = folder / kind / ("main" if kind == "refs" else f"{commit}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    name = weights_name(repo, commit, single)
    if record:
        beside = cache / "hermeion"
        beside.mkdir(exist_ok=True)
        about = {
            "repo": repo, "revision": commit, "name": name, "files": rows, "checked": "2026-11-21T18:03:00+00:00",
            "host": "gpu-1", "source": "the Hub https://huggingface.co", "bytes": 0, "seconds": 1.0,
        }  # fmt: skip
        manifest = beside / f"{name}.manifest"
        manifest.with_suffix(".json").write_text(json.dumps(about))
        manifest.write_bytes(b"".join(sorted(line.encode() + b"\n" for line in lines)))
        for path in (manifest, manifest.with_suffix(".json")) if old else ():
            os.utime(path, (OLD, OLD))
    return name


def release(
    opt: Path, commit: str, *, service: str = "hermes", release_id: str = "abc", repo: str = REPO,
    files: tuple[str, ...] = (), current: bool = True,
) -> None:  # fmt: skip
    """A release that names weights, in what stands for ``/opt/hermeion``."""
    folder = opt / service / "releases" / release_id
    folder.mkdir(parents=True)
    plan = {"repo": repo, "revision": commit, "files": list(files), "path": None, "variant": "model-bf16"}
    (folder / "plan.json").write_text(json.dumps(plan, indent=1))
    if current:
        (opt / service / "current").unlink(missing_ok=True)
        (opt / service / "current").symlink_to(f"releases/{release_id}")


def here(script: str, tmp_path: Path) -> str:
    """A host's script for this machine: its folders are in ``tmp_path``."""
    return script.replace("/opt/hermeion", f"{tmp_path}/opt").replace("/run/hermeion", f"{tmp_path}/run")


def run(script: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a host's script here."""
    command = ["sh", "-s"]
    text = here(script, tmp_path)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def listed(cache: Path, tmp_path: Path, host: str = "gpu-1") -> Listing:
    """What a host that sees this cache says of it."""
    return parse_listing(host, str(cache), run(listing_script(str(cache)), tmp_path).stdout)
