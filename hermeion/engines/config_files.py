"""Configuration files as engines read them.

vLLM and SGLang make a command line of their YAML and parse that: a value that begins with a dash, ``False`` and a
mapping do not arrive everywhere as they were written. Here they are written so that they do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from packaging.version import Version

from hermeion.engines.tables import Table

VLLM_READS_MAPPINGS = Version("0.16")
"""Before it, ``load_config_file`` wrote a mapping as Python does, and no parser reads that (sdists 0.12 to 0.16)."""

BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
"""What YAML 1.1 takes for the end of a line, or for none of the text."""


class _Dumper(yaml.SafeDumper):
    """Writes every text so that it is read back as it was."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if BREAKS.search(value) else None)


_Dumper.add_representer(str, _text)


def dump_yaml(options: Mapping[str, object]) -> str:
    """Options as YAML, sorted: the same options are the same bytes."""
    return yaml.dump(dict(options), Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True)


def vllm_yaml(options: Mapping[str, Any], known: Table) -> str:
    """Options as ``vllm serve --config`` reads them at a version.

    A flag with ``False`` is its opposite with ``True``: vLLM drops ``False`` without a word (``load_config_file`` looks
    for the opposite in the parser above that of ``serve``). What begins with a dash is written as part of the option's
    name, ``root-path=-x: true``, which becomes one word of the command line.
    """
    written: dict[str, Any] = {}
    for name, value in options.items():
        option = known.find(name)
        if value is False:
            if option is not None and any(alias.startswith(("no-", "disable-", "enable-")) for alias in option.aliases):
                written[f"no-{name}"] = True
        elif isinstance(value, Mapping) and Version(known.version) < VLLM_READS_MAPPINGS:
            written[name] = json.dumps(value, ensure_ascii=False, sort_keys=True)
        elif isinstance(value, str | float) and re.match(r"-(?!\d+$).", str(value), re.DOTALL):
            written[f"{name}={value}"] = True
        else:
            written[name] = value
    return dump_yaml(written)


def sglang_yaml(options: Mapping[str, Any]) -> str:
    """Options as ``sglang.launch_server --config`` reads them: a mapping is JSON text, which every version takes."""
    return dump_yaml(
        {
            name: json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, Mapping) else value
            for name, value in options.items()
        }
    )
