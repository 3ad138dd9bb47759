"""Weights on disk as a finished pull leaves them: blobs, links, and the manifest of what was checked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def lay(cache: Path, repo: str, files: Mapping[str, str], revision: str = "abc") -> Path:
    """A repository in the Hub's layout, with a blob for each file; its snapshot.

    Args:
        repo: Folder, ``models--org--name``.
    """
    folder = cache / "hub" / repo
    for path, content in files.items():
        blob, link = folder / "blobs" / f"blob of {path.replace('/', '_')}", folder / "snapshots" / revision / path
        for parent in (blob.parent, link.parent):
            parent.mkdir(parents=True, exist_ok=True)
        blob.write_text(content)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return folder / "snapshots" / revision


def record(cache: Path, snapshot: Path, mark: str = "", only: str = "*") -> Path:
    """The manifest that a finished pull writes, by GNU find itself.

    Args:
        mark: End of its name: ``+hash`` of single files.
        only: Pattern of the files' names.
    """
    command = ["find", "-L", str(snapshot), "-type", "f", "-name", only, "-printf", "%i %T@ %s %P\n"]
    found = subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
    manifest = cache / "hermeion" / f"{snapshot.parents[1].name}@{snapshot.name}{mark}.manifest"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_bytes(b"".join(line + b"\n" for line in sorted(found)))
    return manifest
