"""Scripts as people and tests read them."""

from __future__ import annotations

import base64
import re


def decoded(script: str) -> str:
    """A script with the files that it writes behind it, as text."""
    rows = re.findall(r"^put (\S+) (\S+) \S+ (\S+)$", script, re.MULTILINE)
    files = [f"--- {path} {mode}\n{base64.b64decode(text).decode()}" for path, mode, text in rows]
    shown = re.sub(r"^(put \S+ \S+ \S+) \S+$", r"\1 …", script, flags=re.MULTILINE)
    return "\n".join([shown, *files])
