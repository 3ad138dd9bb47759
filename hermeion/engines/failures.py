"""Why an engine does not run, from its log: patterns with a sentence each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Failure(NamedTuple):
    """One way to fail.

    Attributes:
        pattern: What the log says; its groups ``a``, ``b`` … stand in the sentence.
        sentence: What it means, with the inventory key that helps where there is one.
    """

    pattern: str
    sentence: str


def failure_of(log: str, failures: Sequence[Failure]) -> str | None:
    """The sentence of the first that the log shows, the most telling first; ``None``: it shows none."""
    for failure in failures:
        if match := re.search(failure.pattern, log):
            return failure.sentence.format_map({name: str(value).strip() for name, value in match.groupdict().items()})
    return None
