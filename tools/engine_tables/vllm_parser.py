"""How vLLM's parser would be filled: the statements that build it are followed, without running them."""

from __future__ import annotations

import ast
from itertools import permutations
from typing import Any

from tools.engine_tables.actions import DEPRECATED
from tools.engine_tables.hints import Modules, hints_of, values_of
from tools.engine_tables.releases import canonical
from tools.engine_tables.vllm_arguments import Argument, argument_of, default_of, from_call, is_deprecated, unpacked

Fields = dict[str, Argument]


class ParserReader:
    """Follows ``add_argument`` calls.

    Attributes:
        found: Every argument so far, by name.
    """

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self.found: Fields = {}
        self._frontend: dict[str, Fields] = {}
        # Since 0.33 a flag --enable-x also has --disable-x, and the other way round.
        self._pairs = modules.define("vllm.utils.argparse_utils", "EnableDisableAction") is not None

    def function(self, module: str, name: str) -> Fields:
        """Every argument that a function adds to its parser, by name.

        Raises:
            ValueError: There is no such function.
        """
        found = self.modules.define(module, name)
        if found is None or not isinstance(found[1], ast.FunctionDef):
            message = f"no function {name} in {module}"
            raise ValueError(message)
        self._body(found[0], found[1].body, {})
        return self.found

    def _define_class(self, module: str, name: str) -> tuple[str, ast.ClassDef] | None:
        found = self.modules.define(module, name)
        return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None

    def fields(self, module: str, name: str) -> Fields:
        """Arguments of a configuration class's fields, those of its bases first."""
        place = self._define_class(module, name)
        if place is None:
            return {}
        where, node = place
        found: Fields = {}
        for base in node.bases:
            if isinstance(base, ast.Name):
                found |= self.fields(where, base.id)
        for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                argument = argument_of(hints_of(self.modules, where, statement.annotation))
                argument.default = default_of(self.modules, where, statement.value)
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    argument.deprecated = bool(DEPRECATED.search(str(after.value.value).strip()))
                found[statement.target.id] = argument
        return found

    def _body(self, module: str, body: list[ast.stmt], known: dict[str, Any]) -> None:
        for node in body:
            match node:
                case ast.If():
                    self._body(module, node.body + node.orelse, known)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    known[name] = self._value(module, value, known) or known.get(name)
                case ast.Assign(targets=[ast.Subscript() as target], value=value):
                    self._set(module, target, value, known)
                case ast.AugAssign(target=ast.Subscript() as target, value=value):
                    self._set(module, target, value, known, adds=True)
                case ast.Expr(value=ast.Call() as call):
                    self._call(module, call, known)

    def _value(self, module: str, node: ast.AST, known: dict[str, Any]) -> Any:
        match node:
            case ast.Call(func=ast.Name(id="get_kwargs"), args=[ast.Name(id=name)]):
                return self._frontend.get(name) or self.fields(module, name)
            case ast.Call(func=ast.Attribute(attr="add_cli_args", value=ast.Name(id=name))):
                self._class(module, name)
            case ast.Subscript(value=inner, slice=ast.Constant(value=key)):
                table = self._value(module, inner, known)
                return table.get(key) if isinstance(table, dict) else None
            case ast.Name(id=name):
                return known.get(name)
        return None

    def _class(self, module: str, name: str) -> None:
        """``FrontendArgs`` turns all its fields into arguments; the engine's classes say each one."""
        place = self._define_class(module, name)
        if place is None:
            return
        where, node = place
        if name.endswith("EngineArgs"):
            own = next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "add_cli_args")
            self._body(where, own.body, {})
            return
        fields = self._frontend[name] = self.fields(where, name)
        for each in self._lineage(where, node):
            for item in each.body:
                if isinstance(item, ast.FunctionDef) and item.name in {"_customize_cli_kwargs", "add_cli_args"}:
                    changes = [part for part in item.body if not isinstance(part, ast.Expr)]
                    self._body(where, changes, {"frontend_kwargs": fields})
        for key, argument in fields.items():
            self._add([f"--{key.replace('_', '-')}"], key, argument)

    def _lineage(self, module: str, node: ast.ClassDef) -> list[ast.ClassDef]:
        """A class and its bases, these first."""
        found = [node]
        for base in node.bases:
            place = self._define_class(module, base.id) if isinstance(base, ast.Name) else None
            if place:
                found = self._lineage(*place) + found
        return found

    def _set(
        self, module: str, target: ast.Subscript, value: ast.AST, known: dict[str, Any], *, adds: bool = False
    ) -> None:
        argument = self._value(module, target.value, known)
        if not isinstance(argument, Argument) or not isinstance(target.slice, ast.Constant):
            return
        if target.slice.value == "choices":
            more = values_of(self.modules, module, value)
            if "permutations(" in ast.unparse(value):  # pairs, comma in between: collect-detailed-traces until 0.20
                more = [f"{one},{other}" for one, other in permutations(argument.choices, 2)]
            argument.choices = argument.choices + more if adds else more
        elif target.slice.value == "type" and "json.loads" in ast.unparse(value):
            argument.kind = "json"

    def _call(self, module: str, call: ast.Call, known: dict[str, Any]) -> None:
        match call.func:
            case ast.Attribute(attr="remove", value=ast.Subscript(value=inner, slice=ast.Constant(value="choices"))):
                argument = self._value(module, inner, known)
                gone = values_of(self.modules, module, call.args[0])
                if isinstance(argument, Argument):
                    argument.choices = [value for value in argument.choices if value not in gone]
            case ast.Attribute(attr="add_argument"):
                taken, helps = unpacked(call)
                base = self._value(module, taken, known) if taken else None
                strings, dest, argument = from_call(
                    self.modules, module, call, base if isinstance(base, Argument) else None
                )
                argument.deprecated |= any(is_deprecated(self.modules, module, text) for text in helps)
                self._add(strings, dest, argument)

    def _add(self, strings: list[str], dest: str, argument: Argument) -> None:
        if argument.switchable:
            long = [item[2:] for item in strings if item.startswith("--")]
            strings = strings + [f"--no-{item}" for item in long]
            if self._pairs:
                strings += [f"--disable-{item[7:]}" for item in long if item.startswith("enable-")]
                strings += [f"--enable-{item[8:]}" for item in long if item.startswith("disable-")]
        named = canonical(strings, dest)
        if named:
            name, argument.aliases = named
            self.found.setdefault(name, argument)
