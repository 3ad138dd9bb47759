"""What each version of an engine knows: options, parsers, defaults, and its image.

The data (``data/engines/*.json``) was read out of the releases themselves by ``scripts/engine-tables``; each file says
which release every version was read from. ``docs/engine-versions.md`` says how the next version is added.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from packaging.version import InvalidVersion, Version

from hermeion import spans
from hermeion.errors import InventoryError
from hermeion.records import Record

LABELS = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp", "ollama": "Ollama"}
BUILD = re.compile(r"b(\d+)")
"""A version of llama.cpp."""


class Option(Record):
    """One option at one version.

    Attributes:
        name: As a configuration file spells it, ``max-model-len``; of Ollama, the environment variable.
        kind: What it takes. A ``flag`` is a boolean switch, ``json`` a JSON text or a YAML mapping, ``list`` one or
            more values.
        choices: Values that the parser takes; empty: any.
        aliases: Other spellings without dashes in front: ``tp``, ``no-enable-prefix-caching`` (the opposite of a
            flag), ``LLAMA_ARG_CTX_SIZE`` (an environment variable).
        since: First version that has it; ``None``: the oldest known one has it.
        until: Last version that has it; ``None``: the newest known one has it.
        deprecated: Version from which on it is said to go away; ``None``: not at this version.
    """

    name: str
    kind: Literal["flag", "int", "float", "str", "json", "list"]
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    deprecated: str | None = None


class ImageFacts(Record):
    """What an official image is like.

    Attributes:
        entrypoint: Empty: none of its own, so that the command is the whole command line.
        user: ``uid:gid`` that it is made to run as; ``None``: root alone.
        cuda: CUDA that it is built on; ``None``: not known.
        capabilities: Compute capabilities that it has code for, ``8.9``; empty: not known.
        port: Port that the engine listens on if nobody says.
    """

    entrypoint: tuple[str, ...]
    user: str | None
    cuda: str | None
    capabilities: tuple[str, ...]
    port: int


class Table(Record):
    """One engine at one version.

    Attributes:
        version: The table's version.
        asked: The version that was asked for.
        tool_parsers: Values of ``tool-call-parser``; empty: the engine has no such option.
        defaults: What the engine does if nobody says, by option, of what plans rely on. A list of mappings has one
            ``value`` for each size of GPU from ``memory`` GiB on, the largest first, ``but`` those GPUs.
        warning: One sentence if the version is not one that was read, else ``None``.
    """

    engine: str
    version: str
    asked: str
    options: dict[str, Option]
    tool_parsers: tuple[str, ...]
    reasoning_parsers: tuple[str, ...]
    defaults: dict[str, Any]
    image: ImageFacts
    warning: str | None = None

    def find(self, name: str) -> Option | None:
        """The option of a name or alias; dashes, underscores and dashes in front make no difference.

        The opposite of a flag (``no-…``) finds the flag where the engine's own parser has it.
        """
        return _spellings(self.engine, self.version).get(_plain(name))

    def nearest(self, name: str) -> str | None:
        """The known option whose name or alias is most like this one; ``None``: none is."""
        known = _spellings(self.engine, self.version)
        near = get_close_matches(_plain(name), known, n=1, cutoff=0.6)
        return known[near[0]].name if near else None


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


@cache
def _data(engine: str) -> dict[str, Any]:
    if engine not in LABELS:
        message = f"no engine {engine!r}; known: {', '.join(LABELS)}"
        raise InventoryError(message)
    loaded: dict[str, Any] = json.loads(files("hermeion.data").joinpath("engines", f"{engine}.json").read_text())
    return loaded


@cache
def versions(engine: str) -> tuple[str, ...]:
    """Versions whose options were read, oldest first.

    Raises:
        InventoryError: There is no such engine.
    """
    return tuple(_data(engine)["versions"])


def _number(engine: str, version: str) -> tuple[int, ...]:
    """A version as numbers: release and, of a post-release, its number."""
    if engine == "llamacpp":
        found = BUILD.fullmatch(version)
        if found is None:
            raise ValueError(version)
        return (int(found[1]),)
    parsed = Version(version)
    return (*parsed.release, *([0] * (3 - len(parsed.release))), 0 if parsed.post is None else parsed.post)


@cache
def table(engine: str, version: str) -> Table:
    """What a version knows. One between two known versions is taken for the next older one.

    Raises:
        InventoryError: It is older than the oldest known version, or not a version, or there is no such engine.
    """
    known, label = versions(engine), LABELS[engine]
    span = f"this release knows {known[0]} to {known[-1]}" if len(known) > 1 else f"this release knows {known[0]}"
    try:
        number = _number(engine, version)
    except (ValueError, InvalidVersion):
        example = "b11669" if engine == "llamacpp" else "0.32.0"
        message = f"{label} {version!r} is not a version such as {example}; {span}"
        raise InventoryError(message) from None
    # Patch releases add no options: 0.14.0 is 0.14.1. SGLang's third number is a minor release, .post1 its patch.
    precision = {"llamacpp": 1, "sglang": 3}.get(engine, 2)
    same = [one for one in known if _number(engine, one)[:precision] == number[:precision]]
    older = [one for one in known if _number(engine, one) <= number]
    if not same and not older:
        message = f"{label} {version} is older than any that is known; {span}"
        raise InventoryError(message)
    taken = ([one for one in same if one in older] or same or older)[-1]
    warning = None
    if not same and taken == known[-1]:
        warning = f"{label} {version} is newer than the newest this release knows ({taken}): planned as {taken}"
    elif not same:
        warning = f"{label} {version} is not among the versions that this release knows: planned as {taken}"
    return _read(engine, taken).model_copy(update={"asked": version, "warning": warning})


@cache
def _read(engine: str, version: str) -> Table:
    data, known = _data(engine), versions(engine)

    def names(key: str) -> tuple[str, ...]:
        return spans.held(data[key], known, version)

    defaults = {name: spans.at(value, known, version) for name, value in data["defaults"].items()}
    return Table(
        engine=engine,
        version=version,
        asked=version,
        options={
            name: _option(name, row, known, version)
            for name, row in data["options"].items()
            if spans.covers(row.get("in", ""), known, version)
        },
        tool_parsers=names("tool_parsers"),
        reasoning_parsers=names("reasoning_parsers"),
        defaults={name: value for name, value in defaults.items() if value is not None},
        image=ImageFacts(**{name: spans.at(value, known, version) for name, value in data["image"].items()}),
    )


def _option(name: str, row: dict[str, Any], known: tuple[str, ...], version: str) -> Option:
    since, until = spans.bounds(row.get("in", ""), known, version)
    deprecated = None
    if "deprecated" in row and spans.covers(row["deprecated"], known, version):
        deprecated = spans.bounds(row["deprecated"], known, version)[0] or known[0]
    return Option(
        name=name,
        kind=spans.at(row["kind"], known, version),
        choices=spans.held(row.get("choices", ()), known, version),
        aliases=spans.held(row.get("aliases", ()), known, version),
        since=since,
        until=until,
        deprecated=deprecated,
    )


@cache
def _spellings(engine: str, version: str) -> dict[str, Option]:
    """Every option by each of its spellings; a name goes before an alias of another option."""
    options = _read(engine, version).options
    found = {_plain(alias): option for option in options.values() for alias in option.aliases}
    return found | {_plain(name): option for name, option in options.items()}
