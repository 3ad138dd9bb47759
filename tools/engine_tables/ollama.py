"""Environment variables of Ollama from ``envconfig/config.go``."""

from __future__ import annotations

import re
from typing import Any

from tools.engine_tables.releases import Found, Release

_ENTRY = re.compile(r'"(\w+)":\s*(?:EnvVar)?\{"\1", ([^"]*(?:"\1"\)\(\))?[^"]*), "')
_ENTRY_SET = re.compile(r'ret\["(\w+)"\] = EnvVar\{"\1", (.*?), "')
_DECLARED = re.compile(r'(\w+)\s*= (Bool|BoolWithDefault|Uint|Uint64|String)\("(\w+)"(?:, (\d+))?\)')
_KINDS = {"Bool": "flag", "BoolWithDefault": "flag", "Uint": "int", "Uint64": "int", "String": "str"}

# Facts of the image: Dockerfile of Ollama (ENV OLLAMA_HOST=0.0.0.0:11434, ENTRYPOINT, CMD serve); it runs as root.
IMAGE = {"entrypoint": ["/bin/ollama"], "user": None, "cuda": None, "capabilities": [], "port": 11434}
CHOICES = {"OLLAMA_KV_CACHE_TYPE": ("f16", "q4_0", "q8_0")}
"""What docs/faq.mdx names; the source takes any word and falls back to f16."""


def extract(text: str, version: str, source: str) -> Release:
    """Everything that the tables say of one release. ``text``: ``envconfig/config.go``."""
    declared = {name: (kind, default) for _, kind, name, default in _DECLARED.findall(text)}
    names = [name for name, _ in _ENTRY.findall(text) + _ENTRY_SET.findall(text) if not name.lower().endswith("_proxy")]
    defaults: dict[str, Any] = {
        name: int(declared[name][1]) for name in names if name in declared and declared[name][1]
    }
    minutes = re.findall(r"= (\d+) \* time\.Minute\s+if s := Var\(\"(\w+)\"", text)
    defaults |= {name: f"{count}m" for count, name in minutes}
    return Release(
        "ollama",
        version,
        source,
        {name: Found(_KINDS.get(declared.get(name, ("", ""))[0], "str"), CHOICES.get(name, ())) for name in names},
        defaults=dict(sorted(defaults.items())),
        image=IMAGE,
    )
