"""What vLLM's own parser of ``vllm serve`` makes of a configuration file: every value, or its refusal."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from tests.parsers.programs.lines import answer_lines, refusal_of

sys.argv = sys.argv[:1]
FlexibleArgumentParser = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
cli_args: Any = None
for folder in ("common", "launchers", "openai"):  # it has moved
    try:
        cli_args = import_module(f"vllm.entrypoints.{folder}.cli_args")
        break
    except ModuleNotFoundError:
        continue

whole = FlexibleArgumentParser(prog="vllm")
cli_args.make_arg_parser(whole.add_subparsers(dest="subparser").add_parser("serve"))


def answer(question: dict[str, Any]) -> Any:
    """``{"arguments": […], "wanted": […]}``: the refusal, or the wanted values as they arrived."""
    found: dict[str, Any] = {}
    said = refusal_of(lambda: found.update(vars(whole.parse_args(["serve", *question["arguments"]]))))
    return {"refusal": said, "values": {name: found.get(name) for name in question["wanted"]}}


answer_lines(answer)
