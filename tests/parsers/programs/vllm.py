"""vLLM's own parser of ``vllm serve``, as its command line builds it.

Since parser names pass the argument parser and fail when the server starts, they are checked as the server does.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from tests.parsers.programs.lines import answer_lines, refusal_of
from tools.engine_tables.actions import describe

asked = sys.argv[1:]
sys.argv = [sys.argv[0], "--help"]  # with it vLLM keeps the help texts, which say what is deprecated


def first(*names: str) -> Any:
    """The first of these modules that this release has."""
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ModuleNotFoundError(names)


cli_args = first(*(f"vllm.entrypoints.{folder}.cli_args" for folder in ("common", "launchers", "openai")))
FlexibleArgumentParser = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
tools = first("vllm.tool_parsers", "vllm.entrypoints.openai.tool_parsers").ToolParserManager
reasoning = import_module("vllm.reasoning").ReasoningParserManager

whole = FlexibleArgumentParser(prog="vllm")
serve = whole.add_subparsers(dest="subparser").add_parser("serve")
cli_args.make_arg_parser(serve)


def parse(arguments: list[str]) -> None:
    """As ``vllm serve ARGUMENTS``, until the engine would be started."""
    args = whole.parse_args(["serve", *arguments])
    cli_args.validate_parsed_serve_args(args)
    if args.enable_auto_tool_choice and args.tool_call_parser not in tools.list_registered():
        raise KeyError(f"invalid tool call parser: {args.tool_call_parser}")
    if args.reasoning_parser and args.reasoning_parser not in reasoning.list_registered():
        raise KeyError(f"invalid reasoning parser: {args.reasoning_parser}")


def answer(question: dict[str, Any]) -> Any:
    """``{"describe": true}`` or ``{"arguments": […]}``."""
    if "describe" in question:
        names = {"tool": sorted(tools.list_registered()), "reasoning": sorted(reasoning.list_registered())}
        return {"options": describe(serve)} | names
    return refusal_of(lambda: parse(question["arguments"]))


answer_lines(answer)
