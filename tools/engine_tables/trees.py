"""The files of a release: a source archive, a wheel, or a folder."""

from __future__ import annotations

import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Protocol


class Tree(Protocol):
    """Text files by their path in the release."""

    def read(self, path: str) -> str | None:
        """Text of a file; ``None``: there is none."""


class Files:
    """Files that are in memory."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def read(self, path: str) -> str | None:
        """Text of a file; ``None``: there is none."""
        return self.texts.get(path)


class Folder:
    """Files of an unpacked release."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> str | None:
        """Text of a file; ``None``: there is none."""
        place = self.root / path
        return place.read_text(encoding="utf-8") if place.is_file() else None


def _wanted(path: str) -> bool:
    return path.endswith((".py", "Dockerfile", ".go"))


@cache
def open_tree(path: Path) -> Tree:
    """The Python files and Dockerfiles of a release.

    Raises:
        ValueError: It is neither a folder, nor a wheel, nor a ``.tar.gz``.
    """
    if path.is_dir():
        return Folder(path)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _wanted(name)]
            return Files({name: archive.read(name).decode() for name in names})
    if path.name.endswith(".tar.gz"):
        texts = {}
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and _wanted(member.name) else None
                if file:  # the first folder of a source archive is NAME-VERSION
                    texts[member.name.partition("/")[2]] = file.read().decode(errors="replace")
        return Files(texts)
    message = f"{path} is neither a folder, nor a wheel (.whl), nor a source archive (.tar.gz)"
    raise ValueError(message)
