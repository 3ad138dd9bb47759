"""One question a line, one answer a line: loading a parser takes seconds, asking it does not."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any


def refusal_of(parse: Callable[[], None]) -> str | None:
    """What a parser said when it refused; ``None``: it did not."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parse()
    except SystemExit:
        lines = said.getvalue().strip().splitlines()
        return lines[-1] if lines else "it exited"
    except Exception as error:  # any exception is how it refuses
        return f"{type(error).__name__}: {error}"
    return None


def answer_lines(answer: Callable[[dict[str, Any]], Any]) -> None:
    """Answer every line of standard input until it ends; whatever else prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()
