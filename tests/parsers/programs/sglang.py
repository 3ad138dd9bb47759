"""SGLang's own parser and its merger of configuration files, out of an unpacked wheel."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.parsers.programs.lines import answer_lines, refusal_of
from tools.engine_tables.actions import describe
from tools.engine_tables.sglang_stubs import server_args

parser = argparse.ArgumentParser(prog="sglang serve")
server_args(Path(sys.argv[1])).add_cli_args(parser)
merger = import_module("sglang.srt.utils.server_args_config_parser").ConfigArgumentMerger


def parse(arguments: list[str]) -> None:
    """As ``prepare_server_args`` begins; what follows there looks at GPUs."""
    merged = merger(parser).merge_config_with_args(arguments) if "--config" in arguments else arguments
    parser.parse_args(merged)


def answer(question: dict[str, Any]) -> Any:
    """``{"describe": true}`` or ``{"arguments": […]}``."""
    if "describe" in question:
        return {"options": describe(parser)}
    return refusal_of(lambda: parse(question["arguments"]))


answer_lines(answer)
