"""Types of class fields, read from the syntax tree: a release's code is not run.

A hint is ``("bool",)``, ``("literal", values)``, ``("list", element)`` and so on: as much of a type as decides
how vLLM's ``get_kwargs`` makes an argument of a field.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from tools.engine_tables.trees import Tree

Hint = tuple[Any, ...]

_SCALARS = {"bool", "int", "float", "str", "None"}
_CONTAINERS = {"list", "tuple", "set", "dict", "List", "Tuple", "Set", "Dict", "Mapping", "Sequence"}


class Modules:
    """Python modules of a tree, parsed once."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._parsed: dict[str, ast.Module | None] = {}

    def path(self, module: str) -> str | None:
        """File of a dotted module name."""
        base = module.replace(".", "/")
        return next((path for path in (f"{base}.py", f"{base}/__init__.py") if self.tree.read(path) is not None), None)

    def parse(self, module: str) -> ast.Module | None:
        """Syntax tree of a module; ``None``: it is not in this tree."""
        if module not in self._parsed:
            path = self.path(module)
            text = self.tree.read(path) if path else None
            self._parsed[module] = ast.parse(text) if text is not None else None
        return self._parsed[module]

    def statements(self, module: str) -> Iterator[ast.stmt]:
        """Top-level statements that run: the ``else`` of ``if TYPE_CHECKING``."""
        tree = self.parse(module)
        yield from _running(tree.body) if tree else ()

    def define(self, module: str, name: str, depth: int = 0) -> tuple[str, ast.AST] | None:
        """Module and node (class, function or value) that a name of a module stands for, imports followed."""
        found: tuple[str, ast.AST] | None = None
        for node in self.statements(module):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                found = module, node
            elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                found = module, node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                found = (module, node.value) if node.value else found
            elif isinstance(node, ast.ImportFrom) and depth < 8:
                for alias in node.names:
                    if alias.name == "*":
                        found = self.define(self._origin(module, node), name, depth + 1) or found
                    elif (alias.asname or alias.name) == name:
                        origin = self._origin(module, node)
                        found = self.define(origin, alias.name, depth + 1) or found
        return found

    def _origin(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        path = self.path(module) or ""
        parts = module.split(".") if path.endswith("__init__.py") else module.split(".")[:-1]
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, *([node.module] if node.module else [])])


def _running(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _running(node.orelse if "TYPE_CHECKING" in ast.unparse(node.test) else node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _running(node.body)
        else:
            yield node


def values_of(modules: Modules, module: str, node: ast.AST) -> list[Any]:
    """Values of a list, a ``Literal[…]``, a sum of them, or a name of one; what cannot be read is left out."""
    match node:
        case ast.Constant():
            return [node.value]
        case ast.Name():
            found = modules.define(module, node.id)
            return values_of(modules, *found) if found else []
        case ast.Subscript():
            return values_of(modules, module, node.slice) if _last(node.value) in {"Literal", "Annotated"} else []
        case ast.Tuple() | ast.List() | ast.Set():
            return [value for item in node.elts for value in values_of(modules, module, item)]
        case ast.Starred():
            return values_of(modules, module, node.value)
        case ast.Dict():
            return [value for key in node.keys if key for value in values_of(modules, module, key)]
        case ast.BinOp(op=ast.Add() | ast.BitOr()):
            return values_of(modules, module, node.left) + values_of(modules, module, node.right)
        case ast.Call() if _last(node.func) in {"get_args", "list", "sorted", "tuple", "set"} and node.args:
            return values_of(modules, module, node.args[0])
        case ast.Call(func=ast.Attribute(attr="keys", value=value)):
            return values_of(modules, module, value)
    return []


def _last(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def hints_of(modules: Modules, module: str, node: ast.AST, depth: int = 0) -> set[Hint]:
    """Every type that an annotation allows."""
    match node:
        case ast.Constant(value=None):
            return {("None",)}
        case ast.Constant(value=str() as text):
            return hints_of(modules, module, ast.parse(text, mode="eval").body, depth)
        case ast.BinOp(op=ast.BitOr()):
            return hints_of(modules, module, node.left, depth) | hints_of(modules, module, node.right, depth)
        case ast.Subscript():
            return _subscripted(modules, module, node, depth)
        case ast.Attribute():
            return {("other", node.attr)}
        case ast.Name(id=name) if name in _SCALARS:
            return {(name,)}
        case ast.Name(id=name) if name in _CONTAINERS:
            return {(name.lower(), ("other", "Any"))}
        case ast.Name():
            found = modules.define(module, node.id)
            if found is None or depth > 8:
                return {("other", node.id)}
            where, value = found
            if isinstance(value, ast.ClassDef):
                return {_class_hint(value)}
            return hints_of(modules, where, value, depth + 1)
    return {("other", ast.unparse(node))}


def _class_hint(node: ast.ClassDef) -> Hint:
    decorators = {_last(item.func if isinstance(item, ast.Call) else item) for item in node.decorator_list}
    bases = {_last(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases}
    if bases & {"dict"}:
        return ("dict", ("other", "Any"))
    return ("dataclass" if decorators & {"config", "dataclass"} else "other", node.name)


def _subscripted(modules: Modules, module: str, node: ast.Subscript, depth: int) -> set[Hint]:
    name = _last(node.value)
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return {("literal", tuple(values_of(modules, module, node)))}
    if name == "Optional":
        return hints_of(modules, module, items[0], depth) | {("None",)}
    if name == "Union":
        return {hint for item in items for hint in hints_of(modules, module, item, depth)}
    if name in {"Annotated", "SkipValidation", "InitVar", "Final", "ClassVar"}:
        return hints_of(modules, module, items[0], depth)
    if name in _CONTAINERS:
        inner = hints_of(modules, module, items[0], depth)
        return {(name.lower(), next(iter(inner)) if len(inner) == 1 else ("str",))}
    return {("other", name)}
