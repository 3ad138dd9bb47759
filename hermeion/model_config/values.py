"""One JSON object of a configuration, read key by key: what is missing, of a wrong type or absurd is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hermeion.errors import ModelError
from hermeion.records import Record

NEXT_STEP = "Correct it, or name a repository whose files the engine can load."

MOST: Mapping[str, int] = {
    "num_hidden_layers": 1_000,
    "depth": 1_000,
    "hidden_size": 1_000_000,
    "num_attention_heads": 10_000,
    "num_key_value_heads": 10_000,
    "head_dim": 10_000,
    "max_position_embeddings": 1_000_000_000,
    "original_max_position_embeddings": 1_000_000_000,
    "sliding_window": 1_000_000_000,
}
"""Larger numbers are no model's: ten times, or more, what the largest published ones have."""

MOST_ELSE = 10_000_000
MOST_SHOWN = 60
"""Characters of a value in a message."""


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "an object")


def shown(value: object) -> str:
    """A JSON value as it stands in the file, cut short."""
    text = json.dumps(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


class Settings(Record):
    """A JSON object, the file it is from, and where in it the object stands.

    Attributes:
        where: The file, as messages name it.
        values: The object.
        path: Keys on the way to it, each with a dot: ``text_config.``.
    """

    where: str
    values: dict[str, Any]
    path: str = ""

    def error(self, key: str, problem: str, next_step: str = NEXT_STEP) -> ModelError:
        """What is wrong with a key."""
        return ModelError(f"{self.where}: {self.path}{key} {problem}. {next_step}")

    def with_defaults(self, defaults: Mapping[str, Any]) -> Settings:
        """The same object, with values for keys that it does not have."""
        return Settings(where=self.where, values={**defaults, **self.values}, path=self.path)

    def has(self, key: str) -> bool:
        """Whether a key has a value: null is none."""
        return self.values.get(key) is not None

    def number(self, key: str, *, least: int = 1) -> int:
        """A whole number.

        Raises:
            ModelError: It is missing, no whole number, less than ``least``, or more than any model has.
        """
        value = self.values.get(key)
        if value is None:
            raise self.error(key, "is missing")
        most = MOST.get(key, MOST_ELSE)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(key, f"is {shown(value)}, and must be a whole number from {least} to {most}")
        return value

    def optional_number(self, key: str, *, least: int = 1) -> int | None:
        """A whole number, or ``None`` where the key is missing or null."""
        return self.number(key, least=least) if self.has(key) else None

    def factor(self, key: str, most: int = MOST_ELSE) -> float:
        """A positive number, with or without decimals."""
        value = self.values.get(key)
        if value is None:
            raise self.error(key, "is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise self.error(key, f"is {shown(value)}, and must be a number above 0 and up to {most}")
        return float(value)

    def flag(self, key: str) -> bool:
        """A truth value; no value is false."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, f"is {shown(value)}, and must be true or false")
        return bool(value)

    def text(self, key: str) -> str | None:
        """A text, or ``None`` where the key is missing or null."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"is {kind(value)}, and must be a text")
        return value

    def entries(self, key: str) -> list[Any] | None:
        """A list, or ``None`` where the key is missing or null."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, list):
            raise self.error(key, f"is {kind(value)}, and must be a list")
        return value

    def section(self, key: str) -> Settings | None:
        """An object inside this one, or ``None`` where the key is missing or null."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, f"is {kind(value)}, and must be an object")
        return Settings(where=self.where, values=value, path=f"{self.path}{key}.")


def read_object(text: str, where: str) -> Settings:
    """The JSON object of a file.

    Raises:
        ModelError: The text is not JSON, with line and column, or not an object.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{where} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}. Pull the file again."
        ) from error
    except (RecursionError, ValueError) as error:  # nested without end, or a number of thousands of digits
        raise ModelError(f"{where} is JSON that cannot be read: {error}. Pull the file again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{where} is {kind(value)}, and must be a JSON object. Pull the file again.")
    return Settings(where=where, values=value)
