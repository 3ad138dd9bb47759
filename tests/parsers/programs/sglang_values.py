"""What SGLang's own parser makes of a configuration file: every value, or its refusal."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.parsers.programs.lines import answer_lines, refusal_of
from tools.engine_tables.sglang_stubs import server_args

parser = argparse.ArgumentParser(prog="sglang serve")
server_args(Path(sys.argv[1])).add_cli_args(parser)
merger = import_module("sglang.srt.utils.server_args_config_parser").ConfigArgumentMerger


def answer(question: dict[str, Any]) -> Any:
    """``{"arguments": […], "wanted": […]}``: the refusal, or the wanted values as they arrived."""
    found: dict[str, Any] = {}

    def parse() -> None:
        found.update(vars(parser.parse_args(merger(parser).merge_config_with_args(question["arguments"]))))

    said = refusal_of(parse)
    return {"refusal": said, "values": {name: found.get(name) for name in question["wanted"]}}


answer_lines(answer)
