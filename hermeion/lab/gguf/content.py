"""What the GGUF files are called, and the vocabulary in them. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAME = "tiny-llama"
FILES = {"F16": f"{NAME}-F16.gguf", "Q8_0": f"{NAME}-Q8_0.gguf"}
"""By the precision of their matrices."""

# Token types of the GGUF specification.
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary as GGUF holds it: lists by token number, and merges in the order of their rank."""

    tokens: list[str]
    types: list[int]
    merges: list[str]


def read_vocabulary(tokenizer: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a ``tokenizer.json`` with a byte-level BPE.

    An added token that is not special becomes one of the user's: control tokens are left out of an answer's text,
    where the parsers of tool calls and thoughts look for their marks.

    Raises:
        ValueError: The numbers of the tokens have a gap.
    """
    model = tokenizer["model"]
    tokens: dict[int, str] = {number: token for token, number in model["vocab"].items()}
    types = dict.fromkeys(tokens, NORMAL)
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    if sorted(tokens) != list(range(len(tokens))):
        message = f"{len(tokens)} tokens are not numbered from 0 to {len(tokens) - 1}"
        raise ValueError(message)
    numbers = range(len(tokens))
    return Vocabulary(
        [tokens[number] for number in numbers],
        [types[number] for number in numbers],
        [" ".join(merge) for merge in model["merges"]],
    )
