"""Options of ``llama-server`` from what ``llama-server --help`` prints."""

from __future__ import annotations

import re

from tools.engine_tables.releases import Found, Release

_SPELLING = re.compile(r"^(--?[A-Za-z][\w.-]*)(,\s*|\s+|$)")
_ENVIRONMENT = re.compile(r"\(env: (\w+)\)")
_ALLOWED = re.compile(r"allowed values: ([\w, .+-]+?)(?: \(|$)")
_BRACED = re.compile(r"^[{\[]([\w|,.+-]+)[}\]]$")
_NUMBERS = frozenset({"N", "SEED", "SECONDS", "PORT", "INDEX"})
_BULLET = re.compile(r"(?:^| )- ([a-z][\w+-]*)(?: \(default\))?:")
_WORD_DEFAULT = re.compile(r"\(default: '?([a-z][\w+-]*)'?\)")
_DECIMALS = re.compile(r"\(default: -?\d+\.\d+|probability|^temperature|scale factor")
_COLUMN = 40
"""Where the description begins."""

# Facts of the image: .devops/cuda.Dockerfile of llama.cpp.
IMAGE = {"entrypoint": ["/app/llama-server"], "user": None, "cuda": "12.8.1", "capabilities": []}


def extract(text: str, version: str, source: str) -> Release:
    """Everything that the tables say of one build. ``text``: standard output of ``llama-server --help``."""
    options: dict[str, Found] = {}
    for head, description in _entries(text):
        named = _option(head, description)
        if named:
            options.setdefault(named[0], named[1])
    defaults = {name: _default(text, name) for name in ("port", "cache-ram", "fit-target", "fit-ctx", "parallel")}
    return Release("llamacpp", version, source, options, defaults=defaults, image=IMAGE | {"port": defaults["port"]})


def _entries(text: str) -> list[tuple[str, str]]:
    """Spellings and description of every option."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("-") and not line.startswith("-----"):
            # A head that reaches the description's column has its description on the next line.
            head, description = (
                (line, "") if line[_COLUMN - 1 : _COLUMN] not in {"", " "} else (line[:_COLUMN], line[_COLUMN:])
            )
            found.append((head.strip(), description.strip()))
        elif line.startswith(" ") and found:
            head, description = found[-1]
            found[-1] = head, f"{description} {line.strip()}".strip()
    return found


def _option(head: str, description: str) -> tuple[str, Found] | None:
    strings: list[str] = []
    rest = head
    while match := _SPELLING.match(rest):
        strings.append(match[1])
        rest = rest[match.end() :]
    if "has been removed" in description or strings[:1] == ["-h"]:
        return None
    long = [text[2:] for text in strings if text.startswith("--")]
    # The last long spelling is the one that the documentation uses, but for --no-x and the former name of the UI.
    positive = [text for text in long if not text.startswith("no-") and "webui" not in text] or long
    name = positive[-1]
    aliases = {text.lstrip("-") for text in strings} - {name}
    aliases |= set(_ENVIRONMENT.findall(description))
    return name, Found(
        _kind(rest.strip(), description),
        _choices(rest.strip(), description),
        tuple(sorted(aliases)),
        "DEPRECATED" in description,
    )


def _kind(value: str, description: str) -> str:
    if not value:
        return "flag"
    if value in _NUMBERS:
        return "float" if _DECIMALS.search(description) else "str" if "'auto'" in description else "int"
    return "json" if value == "JSON" or "valid json" in description.lower() else "str"


def _choices(value: str, description: str) -> tuple[str, ...]:
    braced, allowed = _BRACED.match(value), _ALLOWED.search(description)
    if braced:
        return tuple(sorted(re.split(r"[|,]", braced[1])))
    if allowed:
        return tuple(sorted(re.split(r",\s*", allowed[1].strip())))
    named = set(_BULLET.findall(description)) if value in {"MODE", "TYPE", "FORMAT"} else set()
    return tuple(sorted(named | set(_WORD_DEFAULT.findall(description)))) if named else ()


def _default(text: str, name: str) -> int | None:
    entry = next((description for head, description in _entries(text) if f"--{name} " in f"{head} "), "")
    found = re.search(r"default: (-?\d+)", entry)
    return int(found[1]) if found else None
