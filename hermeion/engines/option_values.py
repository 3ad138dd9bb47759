"""What an option takes: whether a value is of its kind, and which spelling of a flag is its opposite."""

from __future__ import annotations

import json
import re
from typing import Any

from hermeion.engines.tables import Option

WHOLE = re.compile(r"-?\d+")
WITH_SUFFIX = re.compile(r"\d+(\.\d+)?[kmgt]|\d+[KMGT]")
"""``25.6k`` is 25,600 and ``128K`` 131,072."""

SUFFIXED = frozenset(
    {
        "kv-cache-memory-bytes",
        "max-num-batched-tokens",
        "max-num-queued-tokens",
        "max-num-scheduled-tokens",
        "safetensors-prefetch-block-size",
    }
)
"""Options of vLLM whose numbers may have a suffix (``get_kwargs`` in ``arg_utils.py`` of 0.33)."""

SWITCHES = frozenset({"0", "1", "true", "false"})
"""A flag as an environment variable has it (Ollama)."""

UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters but tab and line feed, and halves of characters: no command line or UTF-8 file carries them."""


def plain(name: str) -> str:
    """A name without dashes in front and with dashes within."""
    return name.lstrip("-").replace("_", "-")


def is_opposite(option: Option, name: str) -> bool:
    """Whether a spelling of a flag switches it off: ``no-enforce-eager``, ``disable-prefix-caching``."""
    own, spelled = option.name, plain(name).lower().removeprefix("llama-arg-")
    if option.kind != "flag" or spelled == own:
        return False
    if own.startswith("no-"):
        return spelled == own.removeprefix("no-")
    swapped = {
        there + own.removeprefix(here)
        for here, there in (("enable-", "disable-"), ("disable-", "enable-"))
        if own.startswith(here)
    }
    return spelled.startswith("no-") or spelled in swapped


def wrong_value(option: Option, value: Any) -> str | None:
    """``None`` if the option takes the value, else what it takes, as the rest of a sentence about it."""
    if isinstance(value, str) and (found := UNWRITABLE.search(value)):
        return f"has a character that no file or command line carries: {found[0]!r}"
    return _WRONG[option.kind](option, value)


def _flag(option: Option, value: Any) -> str | None:
    from_environment = option.name.isupper() and str(value).lower() in SWITCHES
    return None if isinstance(value, bool) or from_environment else f"is a switch: True or False, not {value!r}"


def _int(option: Option, value: Any) -> str | None:
    is_whole = isinstance(value, int) or (isinstance(value, str) and WHOLE.fullmatch(value))
    is_whole = is_whole or (option.name in SUFFIXED and WITH_SUFFIX.fullmatch(str(value)))
    if isinstance(value, bool) or not is_whole:
        return f"takes a whole number, not {value!r}"
    return _choice(option, value)


def _float(option: Option, value: Any) -> str | None:
    try:
        if isinstance(value, bool):
            raise ValueError
        float(value)
    except ValueError:
        return f"takes a number, not {value!r}"
    return _choice(option, value)


def _text(option: Option, value: Any) -> str | None:
    return f"takes text, not {value!r}" if isinstance(value, bool) else _choice(option, value)


def _choice(option: Option, value: Any) -> str | None:
    if not option.choices or str(value) in option.choices:
        return None
    return f"takes {', '.join(option.choices)}; not {value!r}"


def _json(option: Option, value: Any) -> str | None:  # noqa: ARG001  # one form for all kinds
    if not isinstance(value, str):
        return f"takes JSON as text, not {value!r}"
    try:
        json.loads(value)
    except json.JSONDecodeError as error:
        return f"takes JSON, and {value!r} is none: {error.msg} (character {error.pos})"
    return None


_WRONG = {"flag": _flag, "int": _int, "float": _float, "str": _text, "json": _json, "list": _text}
