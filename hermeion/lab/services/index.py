"""Static folders: wheels as a PEP 503 index, and files as they are."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from .answers import Answer, FileAnswer, json_answer

_SEPARATORS = re.compile(r"[-_.]+")


def normalize(project: str) -> str:
    """A project's name as PEP 503 compares it."""
    return _SEPARATORS.sub("-", project).lower()


def static(roots: Sequence[Path], name: str) -> Answer:
    """The file ``name`` below the first of ``roots`` that has it; 404 for all else, folders and ways out included."""
    for root in roots:
        path = (root / name).resolve()
        if path.is_file() and path.is_relative_to(root.resolve()):
            return FileAnswer(200, {"Content-Type": "application/octet-stream"}, path=path)
    return json_answer(404, {"error": f"no {name}"})


def answer(roots: Sequence[Path], name: str) -> Answer:
    """``""`` lists projects, ``project/`` its files with sha256 fragments, ``project/file`` is the file."""
    wheels = {wheel.name: wheel for root in reversed(roots) for wheel in root.glob("*.whl")}
    by_project: dict[str, list[Path]] = {}
    for _, wheel in sorted(wheels.items()):
        by_project.setdefault(normalize(wheel.name.split("-")[0]), []).append(wheel)
    if not name:
        return _page([(f"{project}/", project) for project in sorted(by_project)])
    project, _, file = name.partition("/")
    if file:
        return static(roots, file)
    found = by_project.get(normalize(project))
    if not found:
        return json_answer(404, {"error": f"no project {project}"})
    # Absolute, so that it works with and without a slash at the end of the page's address.
    return _page([(f"/simple/{normalize(project)}/{p.name}#sha256={_sha256(p)}", p.name) for p in found])


@cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _page(links: list[tuple[str, str]]) -> Answer:
    rows = "".join(f'<a href="{html.escape(target)}">{html.escape(text)}</a><br>\n' for target, text in links)
    page = f"<!DOCTYPE html><html><head><title>Lab index</title></head><body>\n{rows}</body></html>\n"
    return Answer(200, {"Content-Type": "text/html"}, page.encode())
