"""``hermeion/data/engines/*.json``: all releases of an engine in one file that reads well in a diff."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hermeion import spans
from tools.engine_tables.releases import Found, Release

FOLDER = Path(__file__).parents[2] / "hermeion" / "data" / "engines"
Number = tuple[int, ...]


def number(version: str) -> Number:
    """A version to sort by; ``b11669`` too, and ``.post1`` after the release itself."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def load(engine: str, folder: Path = FOLDER) -> dict[str, Release]:
    """Every release in an engine's file, oldest first; empty: there is no file yet."""
    path = folder / f"{engine}.json"
    return expand(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def with_image(release: Release, image: dict[str, Any]) -> Release:
    """A release whose own file says nothing of its image, with that of another one."""
    return replace(release, image=image | {"port": release.image.get("port", image.get("port"))})


def harmonise(releases: Mapping[str, Release]) -> dict[str, Release]:
    """The same options under the same names: as the newest release that has them calls them.

    SGLang's ``--tensor-parallel-size --tp-size`` had the first as its destination once, and has the second now.
    """
    found: dict[str, Release] = {}
    chosen: set[str] = set()
    for version in sorted(releases, key=number, reverse=True):
        release = releases[version]
        options = {}
        for name, option in release.options.items():
            better = [alias for alias in option.aliases if alias in chosen and alias not in release.options]
            if name not in chosen and better:
                aliases = tuple(sorted({*option.aliases, name} - {better[0]}))
                options[better[0]] = replace(option, aliases=aliases)
            else:
                options[name] = option
        chosen |= set(options)
        found[version] = replace(release, options=options)
    return {version: found[version] for version in sorted(found, key=number)}


def save(releases: Mapping[str, Release], folder: Path = FOLDER) -> Path:
    """Write all releases of one engine; the same releases give the same bytes."""
    data = compress(harmonise(releases))
    path = folder / f"{data['engine']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(layout(data), encoding="utf-8")
    return path


def expand(data: dict[str, Any]) -> dict[str, Release]:
    """The releases of a file."""
    versions = data["versions"]
    return {version: _release(data, versions, version) for version in versions}


def _release(data: dict[str, Any], versions: Sequence[str], version: str) -> Release:
    def values(key: str) -> dict[str, Any]:
        found = {name: spans.at(value, versions, version) for name, value in data[key].items()}
        return {name: value for name, value in found.items() if value is not None or key == "image"}

    return Release(
        engine=data["engine"],
        version=version,
        source=data["sources"][version],
        options={
            name: Found(
                spans.at(row["kind"], versions, version),
                spans.held(row.get("choices", ()), versions, version),
                spans.held(row.get("aliases", ()), versions, version),
                "deprecated" in row and spans.covers(row["deprecated"], versions, version),
            )
            for name, row in data["options"].items()
            if spans.covers(row.get("in", ""), versions, version)
        },
        tool_parsers=spans.held(data["tool_parsers"], versions, version),
        reasoning_parsers=spans.held(data["reasoning_parsers"], versions, version),
        defaults=values("defaults"),
        image=values("image"),
    )


def compress(releases: Mapping[str, Release]) -> dict[str, Any]:
    """What a file says of these releases of one engine."""
    versions = sorted(releases, key=number)
    rows = [releases[version] for version in versions]
    options = sorted({name for row in rows for name in row.options}, key=lambda name: (name.lower(), name))
    return {
        "engine": rows[0].engine,
        "versions": versions,
        "sources": {row.version: row.source for row in rows},
        "image": {name: _value(versions, [row.image.get(name) for row in rows]) for name in rows[-1].image},
        "defaults": {
            name: _value(versions, [row.defaults.get(name) for row in rows])
            for name in sorted({name for row in rows for name in row.defaults})
        },
        "tool_parsers": _names(versions, [row.tool_parsers for row in rows]),
        "reasoning_parsers": _names(versions, [row.reasoning_parsers for row in rows]),
        "options": {name: _option(versions, [row.options.get(name) for row in rows]) for name in options},
    }


def _value(versions: Sequence[str], values: Sequence[Any]) -> Any:
    """A value that never changed, or the spans of each."""
    distinct = [value for place, value in enumerate(values) if value not in values[:place]]
    if len(distinct) == 1:
        return distinct[0]
    return {
        "by": {spans.text([value == one for value in values], versions): one for one in distinct if one is not None}
    }


def _names(versions: Sequence[str], held: Sequence[Iterable[str] | None]) -> list[str] | dict[str, str]:
    """Names that are there whenever anything is, or the span of each. ``None``: the owner itself is not there."""
    sets = [None if names is None else set(names) for names in held]
    names = sorted({name for one in sets if one is not None for name in one})
    found = {}
    for name in names:
        inside = [one is not None and name in one for one in sets]
        whole = all(there for there, one in zip(inside, sets, strict=True) if one is not None)
        found[name] = "" if whole else spans.text(inside, versions)
    return names if not any(found.values()) else found


def _option(versions: Sequence[str], rows: Sequence[Found | None]) -> dict[str, Any]:
    def of(read: Callable[[Found], Any]) -> list[Any]:
        return [None if row is None else read(row) for row in rows]

    present = spans.text([row is not None for row in rows], versions)
    kinds = [kind for kind in of(lambda row: row.kind) if kind is not None]
    found: dict[str, Any] = {"kind": kinds[0] if len(set(kinds)) == 1 else _value(versions, of(lambda row: row.kind))}
    if present:
        found["in"] = present
    for key in ("choices", "aliases"):
        names = _names(versions, of(lambda row, key=key: getattr(row, key)))  # type: ignore[misc]
        if names:
            found[key] = names
    if any(row is not None and row.deprecated for row in rows):
        found["deprecated"] = spans.text([row is not None and row.deprecated for row in rows], versions)
    return found


def layout(data: dict[str, Any]) -> str:
    """JSON with one line for each option, parser, default and version."""
    lines = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            inner = ",\n".join(f"    {json.dumps(name)}: {json.dumps(one)}" for name, one in value.items())
            lines.append(f"  {json.dumps(key)}: {{\n{inner}\n  }}")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
