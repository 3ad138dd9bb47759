"""Static folders: wheels as a PEP 503 index, and files as they are."""

from __future__ import annotations

import hashlib
import html
import re
from functools import cache
from pathlib import Path

from .answers import Answer, FileAnswer, json_answer

_SEPARATORS = re.compile(r"[-_.]+")


def normalize(project: str) -> str:
    """A project's name as PEP 503 compares it."""
    return _SEPARATORS.sub("-", project).lower()


def static(root: Path | None, name: str) -> Answer:
    """The file ``name`` below ``root``; 404 for everything else, folders and ways out included."""
    if root is not None:
        path = (root / name).resolve()
        if path.is_file() and path.is_relative_to(root.resolve()):
            return FileAnswer(200, {"Content-Type": "application/octet-stream"}, path=path)
    return json_answer(404, {"error": f"no {name}"})


def answer(root: Path | None, name: str) -> Answer:
    """``""`` lists projects, ``project/`` its files with sha256 fragments, ``project/file`` is the file."""
    wheels = sorted(root.glob("*.whl")) if root is not None else []
    by_project: dict[str, list[Path]] = {}
    for wheel in wheels:
        by_project.setdefault(normalize(wheel.name.split("-")[0]), []).append(wheel)
    if not name:
        return _page([(f"{project}/", project) for project in sorted(by_project)])
    project, _, file = name.partition("/")
    if file:
        return static(root, file)
    found = by_project.get(normalize(project))
    if not found:
        return json_answer(404, {"error": f"no project {project}"})
    # Absolute, so that it works with and without a slash at the end of the page's address.
    return _page([(f"/simple/{normalize(project)}/{p.name}#sha256={_sha256(p)}", p.name) for p in found])


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _page(links: list[tuple[str, str]]) -> Answer:
    rows = "".join(f'<a href="{html.escape(target)}">{html.escape(text)}</a><br>\n' for target, text in links)
    page = f"<!DOCTYPE html><html><head><title>Lab index</title></head><body>\n{rows}</body></html>\n"
    return Answer(200, {"Content-Type": "text/html"}, page.encode())
