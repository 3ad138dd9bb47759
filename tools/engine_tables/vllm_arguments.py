"""One argument of vLLM's parser: from a configuration class's field, and from an ``add_argument`` call."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import Any

from tools.engine_tables.actions import DEPRECATED
from tools.engine_tables.hints import Hint, Modules, values_of


@dataclass
class Argument:
    """One argument, as far as it is known yet."""

    kind: str = "str"
    choices: list[Any] = field(default_factory=list)
    default: Any = None
    aliases: tuple[str, ...] = ()
    deprecated: bool = False
    switchable: bool = False
    """A flag that also has a ``--no-`` spelling."""


def argument_of(hints: set[Hint]) -> Argument:
    """What ``get_kwargs`` makes of a field's types; the order of the questions is vLLM's."""
    kinds = {hint[0] for hint in hints}
    literals = [value for hint in hints if hint[0] == "literal" for value in hint[1]]
    if "dataclass" in kinds:
        return Argument("json")
    if kinds == {"bool", "str", "None"}:
        return Argument("str")
    if "bool" in kinds:
        return Argument("flag", switchable=True)
    if literals:
        kind = "int" if all(isinstance(value, int) for value in literals) else "str"
        return Argument(kind, [] if "str" in kinds else literals)
    for container in ("tuple", "list", "set"):
        inner = next((hint[1] for hint in hints if hint[0] == container), None)
        if inner is not None:
            return Argument("list", list(inner[1]) if inner[0] == "literal" else [])
    kind = next((kind for kind in ("int", "float") if kind in kinds), "json" if "dict" in kinds else "str")
    return Argument(kind)


def default_of(modules: Modules, module: str, node: ast.AST | None) -> Any:
    """A default that is written down; ``None``: it is computed, or there is none."""
    if isinstance(node, ast.Call):  # Field(default=…)
        node = next((item.value for item in node.keywords if item.arg == "default"), None)
    values = values_of(modules, module, node) if isinstance(node, ast.Constant | ast.Name) else []
    return values[0] if len(values) == 1 else None


def is_deprecated(modules: Modules, module: str, node: ast.AST) -> bool:
    """Whether a help text says that the option goes away."""
    return any(DEPRECATED.search(str(value)) for value in values_of(modules, module, node))


def unpacked(call: ast.Call) -> tuple[ast.expr | None, list[ast.expr]]:
    """What an ``add_argument`` call takes over with ``**``, and the help texts that it puts in its place."""
    for keyword in call.keywords:
        if keyword.arg is None and isinstance(keyword.value, ast.Dict):  # **{**kwargs["x"], "help": TEXT}
            pairs = list(zip(keyword.value.keys, keyword.value.values, strict=True))
            helps = [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "help"]
            return next((value for key, value in pairs if key is None), None), helps
        if keyword.arg is None:
            return keyword.value, []
    return None, []


def from_call(modules: Modules, module: str, call: ast.Call, base: Argument | None) -> tuple[list[str], str, Argument]:
    """Spellings, destination, and what an ``add_argument`` call says over what it took from a field."""
    argument = replace(base, choices=list(base.choices), aliases=()) if base else Argument()
    dest = ""
    for keyword in call.keywords:
        value, text = keyword.value, ast.unparse(keyword.value)
        if keyword.arg == "dest":
            dest = str(ast.literal_eval(value))
        elif keyword.arg == "action" and ("store_" in text or "BooleanOptional" in text):
            argument.kind, argument.switchable = "flag", "BooleanOptional" in text
        elif (keyword.arg == "action" and "append" in text) or (keyword.arg == "nargs" and text in {"'+'", "'*'"}):
            argument.kind = "list"
        elif keyword.arg == "type" and text in {"int", "float"}:
            argument.kind = text
        elif keyword.arg == "type" and "json.loads" in text:
            argument.kind = "json"
        elif keyword.arg == "choices":
            argument.choices = values_of(modules, module, value)
        elif keyword.arg == "default":
            argument.default = default_of(modules, module, value)
        elif keyword.arg == "help":
            argument.deprecated |= is_deprecated(modules, module, value)
        elif keyword.arg == "deprecated":
            argument.deprecated |= text == "True"
    strings = [str(item.value) for item in call.args if isinstance(item, ast.Constant)]
    long = next((item for item in strings if item.startswith("--")), "")
    return strings, dest or long[2:].replace("-", "_"), argument
