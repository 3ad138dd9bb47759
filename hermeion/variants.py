"""Models and the variants of their weights.

The catalogue is ``data/variants.toml``; ``hermes_catalog`` in an inventory adds own models.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field

from hermeion.records import Record

Precision = Literal["bf16", "fp8"]


class Shape(Record):
    """What of a model's architecture decides its memory."""

    layers: int = Field(description="Transformer layers.", gt=0)
    hidden: int = Field(description="Hidden size.", gt=0)
    intermediate: int = Field(description="Feed-forward size.", gt=0)
    heads: int = Field(description="Attention heads.", gt=0)
    kv_heads: int = Field(description="Key/value heads.", gt=0)
    head_dim: int = Field(description="Size of one attention head.", gt=0)
    vocab: int = Field(description="Vocabulary size in tokens.", gt=0)
    max_context: int = Field(description="Longest context the model was made for, in tokens.", gt=0)
    tied_embeddings: bool = Field(default=False, description="Whether input and output embeddings are one matrix.")
    qkv_bias: bool = Field(default=False, description="Whether query, key and value have a bias.")

    def kv_bytes_per_token(self, tensor_parallel: int = 1, element_bytes: int = 2) -> int:
        """Bytes of KV cache that one token takes on each GPU. KV heads are replicated beyond their number."""
        heads = self.kv_heads // tensor_parallel if tensor_parallel <= self.kv_heads else 1
        return 2 * self.layers * heads * self.head_dim * element_bytes


class Variant(Record):
    """One downloadable set of weights.

    Attributes:
        name: Short name, unique in the catalogue: ``hermes-4-14b-fp8``.
        model: The model it is a variant of: ``hermes-4-14b``.
        repo: Repository on the Hub.
        revision: Commit (40 hexadecimal digits), or ``None``: resolved once and recorded in the plan.
        bytes: Size of the weights in bytes.
        tool_parser: vLLM's name of the tool-call parser, or ``None``.
        reasoning_parser: vLLM's name of the reasoning parser, or ``None``.
        sampling: Sampling defaults of the model card.
    """

    name: str
    model: str
    repo: str
    revision: str | None
    precision: Precision
    bytes: int
    shape: Shape
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    sampling: dict[str, int | float] = Field(default={})


class CatalogEntry(Shape):
    """An own model, as ``hermes_catalog`` in an inventory describes it."""

    name: str = Field(description="Name that `hermes_services` uses.", pattern=r"^[\w.-]+$", examples=["my-llama"])
    repo: str = Field(
        description="Repository on the Hub (or the mirror).",
        pattern=r"^[\w.-]+/[\w.-]+$",
        examples=["me/my-llama"],
    )
    revision: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit, 40 hexadecimal digits. None: `main` is resolved once and recorded in the plan.",
    )
    precision: Precision = Field(default="bf16", description="Precision of the weights.")
    bytes: int = Field(description="Size of the repository's files in bytes.", gt=0)
    parameters: int | None = Field(default=None, description="Number of parameters; shown, not used.")
    tool_parser: str | None = Field(default="hermes", description="vLLM's tool-call parser. None: no tool calls.")
    reasoning_parser: str | None = Field(
        default="deepseek_v3",
        description="vLLM's reasoning parser. `deepseek_v3` splits `<think>` off when the template's "
        "`thinking` is true. None: no splitting.",
    )
    sampling: dict[str, int | float] = Field(
        default={}, description="Sampling defaults.", examples=[{"temperature": 0.6, "top_p": 0.95}]
    )

    def to_variant(self) -> Variant:
        """The same as a member of the catalogue."""
        own = set(Shape.model_fields)
        data = self.model_dump(exclude={"parameters"})
        shape = {key: data.pop(key) for key in own}
        return Variant(model=self.name, shape=Shape.model_validate(shape), **data)


Catalog = Mapping[str, tuple[Variant, ...]]
"""Variants by model name, in the order in which the planner tries them: most bits first."""


@cache
def built_in_catalog() -> Catalog:
    """The Hermes models."""
    table = tomllib.loads(files("hermeion.data").joinpath("variants.toml").read_text())
    shapes = {name: Shape.model_validate(row) for name, row in table["shape"].items()}
    catalog: dict[str, tuple[Variant, ...]] = {}
    for model in table["model"]:
        common: dict[str, Any] = {key: model.get(key) for key in ("tool_parser", "reasoning_parser") if model.get(key)}
        variants = [
            Variant(
                name=f"{model['name']}-{row['precision']}",
                model=model["name"],
                repo=row["repo"],
                revision=row.get("revision"),
                precision=row["precision"],
                bytes=row["bytes"],
                shape=shapes[model["shape"]],
                sampling=model.get("sampling", {}),
                **common,
            )
            for row in model["variant"]
        ]
        catalog[model["name"]] = tuple(variants)
    return catalog


def merge_catalog(own: Sequence[CatalogEntry]) -> Catalog:
    """The built-in catalogue and own models; an own model hides a built-in one of the same name."""
    return {**built_in_catalog(), **{entry.name: (entry.to_variant(),) for entry in own}}
