"""Options of ``vllm serve`` from vLLM's source: its code is read, not run.

What is read: ``make_arg_parser`` and ``FrontendArgs`` (``cli_args.py``), ``EngineArgs.add_cli_args``
(``engine/arg_utils.py``), the configuration classes that their arguments come from (``config/*.py``), the tables of
parsers (``tool_parsers/__init__.py``, ``reasoning/__init__.py``) and ``docker/Dockerfile``.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from tools.engine_tables import dockerfile
from tools.engine_tables.hints import Modules, values_of
from tools.engine_tables.releases import Found, Release
from tools.engine_tables.trees import Tree
from tools.engine_tables.vllm_arguments import Argument
from tools.engine_tables.vllm_parser import ParserReader

CLI_ARGS = ("common", "launchers", "openai")
"""Folders of ``vllm/entrypoints`` that ``cli_args.py`` has been in, newest first."""

ARG_UTILS = "vllm.engine.arg_utils"
DEFAULTS = ("gpu-memory-utilization", "kv-cache-dtype", "port", "shutdown-timeout", "generation-config")
_DEVICE_MEMORY = re.compile(r"device_memory >= (\d+) \* GiB_bytes")


def extract(tree: Tree, version: str, source: str) -> Release:
    """Everything that the tables say of one release.

    Raises:
        ValueError: The source does not look as it has since 0.12.
    """
    modules = Modules(tree)
    module = next((f"vllm.entrypoints.{name}.cli_args" for name in CLI_ARGS if _has(modules, name)), None)
    if module is None:
        message = f"vLLM {version} has no vllm/entrypoints/*/cli_args.py in {', '.join(CLI_ARGS)}"
        raise ValueError(message)
    arguments = ParserReader(modules).function(module, "make_arg_parser")
    defaults = {name: arguments[name].default for name in DEFAULTS if name in arguments}
    return Release(
        engine="vllm",
        version=version,
        source=source,
        options={name: _found(argument) for name, argument in arguments.items()},
        tool_parsers=_parsers(modules, ("vllm.tool_parsers", "vllm.entrypoints.openai.tool_parsers"), "_TOOL_PARSERS"),
        reasoning_parsers=_parsers(modules, ("vllm.reasoning",), "_REASONING_PARSERS"),
        defaults=defaults | batch_defaults(modules),
        image=dockerfile.vllm(tree.read("docker/Dockerfile")) | {"port": defaults.get("port")},
    )


def _has(modules: Modules, folder: str) -> bool:
    return modules.parse(f"vllm.entrypoints.{folder}.cli_args") is not None


def _found(argument: Argument) -> Found:
    return Found(
        argument.kind,
        tuple(sorted({str(value) for value in argument.choices if value is not None})),
        tuple(sorted(argument.aliases)),
        argument.deprecated,
    )


def _parsers(modules: Modules, places: tuple[str, ...], prefix: str) -> tuple[str, ...]:
    """Names in ``_TOOL_PARSERS_TO_REGISTER`` or its like."""
    for place in places:
        found = modules.define(place, f"{prefix}_TO_REGISTER")
        if found:
            return tuple(sorted({str(name) for name in values_of(modules, *found)}))
    message = f"no table {prefix}_TO_REGISTER in {' or '.join(places)}"
    raise ValueError(message)


def batch_defaults(modules: Modules) -> dict[str, Any]:
    """``max-num-seqs`` and ``max-num-batched-tokens`` of the server by device memory (GiB), the largest first.

    Each row: ``memory`` from which it counts, ``value``, and ``but``, names of GPUs that it does not count for.
    """
    tree = modules.parse(ARG_UTILS)
    method = next(
        (node for node in ast.walk(tree or ast.Module([], [])) if getattr(node, "name", "") == "get_batch_defaults"),
        None,
    )
    if not isinstance(method, ast.FunctionDef):
        message = f"no get_batch_defaults in {ARG_UTILS}"
        raise ValueError(message)
    rows: dict[str, list[dict[str, Any]]] = {"max-num-seqs": [], "max-num-batched-tokens": []}
    chain = next(node for node in method.body if isinstance(node, ast.If) and _memory(node) is not None)
    branch: ast.If | None = chain
    while branch is not None:
        but = re.findall(r"'(\w+)' not in device_name|not is_(\w+)", ast.unparse(branch.test))
        names = [first or second for first, second in but]
        _add(rows, branch.body, {"memory": _memory(branch)} | ({"but": names} if names else {}))
        rest, branch = branch.orelse, None
        if len(rest) == 1 and isinstance(rest[0], ast.If):
            branch = rest[0]
        else:
            _add(rows, rest, {"memory": 0})
    return rows


def _memory(node: ast.If) -> int | None:
    found = _DEVICE_MEMORY.search(ast.unparse(node.test))
    return int(found[1]) if found else None


def _add(rows: dict[str, list[dict[str, Any]]], body: list[ast.stmt], row: dict[str, Any]) -> None:
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id.removeprefix("default_").replace("_", "-")
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Attribute) and key.attr == "OPENAI_API_SERVER":
                    rows[name].append(row | {"value": ast.literal_eval(value)})
