"""Run as ``python -m tools.engine_tables.sglang_program FOLDER``: prints the options of an unpacked SGLang as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.engine_tables.actions import describe
from tools.engine_tables.sglang_stubs import server_args


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser()
    server_args(Path(sys.argv[1])).add_cli_args(parser)
    print(json.dumps(describe(parser)))  # what the other process reads


if __name__ == "__main__":
    main()
