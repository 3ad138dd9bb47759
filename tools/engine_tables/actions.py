"""Options of a live ``argparse`` parser as plain data. Imported by the programs that run a release's own code."""

from __future__ import annotations

import argparse
import re
from typing import Any

_JSON = {"loads", "parse_dataclass", "json_list_type", "parse_cuda_graph_config_arg", "union_dict_and_str"}
_INT = {"int", "human_readable_int", "human_readable_int_or_auto"}
# "is deprecated", "[DEPRECATED] …", "(Deprecated) …", "Deprecated: …"; not "deprecated quantization methods".
DEPRECATED = re.compile(r"^\W*deprecated\b|\[deprecated\]|\b(is|are|been) deprecated\b", re.IGNORECASE)


def _unwrapped(function: Any) -> Any:
    """The function inside ``optional_type(parse_type(function))``."""
    while closure := getattr(function, "__closure__", None):
        names = function.__code__.co_freevars
        inner = dict(zip(names, (cell.cell_contents for cell in closure), strict=True)).get("return_type")
        if inner is None:
            break
        function = inner
    return function


def kind_of(action: argparse.Action) -> str:
    """Kind of an option, as :data:`tools.engine_tables.releases.KINDS` has them."""
    appends = type(action).__name__ == "_AppendAction"
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return "flag"
    if appends or action.nargs in {"+", "*"} or isinstance(action.nargs, int):
        return "list"
    name = getattr(_unwrapped(action.type), "__name__", "str")
    if name in _JSON:
        return "json"
    return "int" if name in _INT else "float" if name == "float" else "str"


def describe(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Every option but ``--help``: spellings, destination, kind, choices, default, and whether it is deprecated."""
    found = []
    spellings: dict[int, set[str]] = {}
    for string, action in parser._option_string_actions.items():  # some parsers hide old spellings from the action
        spellings.setdefault(id(action), set()).add(string)
    for action in parser._actions:  # there is no public list of them
        if not action.option_strings or isinstance(action, argparse._HelpAction | argparse._VersionAction):
            continue
        deprecated = (
            action in getattr(parser, "_deprecated", ())
            or "deprecated" in type(action).__name__.lower()
            or bool(DEPRECATED.search(action.help or ""))
        )
        found.append(
            {
                "strings": [*action.option_strings, *sorted(spellings[id(action)] - set(action.option_strings))],
                "dest": action.dest,
                "kind": kind_of(action),
                "choices": sorted({str(choice) for choice in action.choices or ()} - {"None"}),
                "default": action.default if isinstance(action.default, str | int | float | bool) else None,
                "deprecated": deprecated or bool(getattr(action, "deprecated", False)),
            }
        )
    return found
