"""Models and the variants of their weights.

The catalogue is ``data/variants.toml``; ``hermes_catalog`` in an inventory adds own models.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hermeion.precisions import PRECISIONS, Precision
from hermeion.records import Record
from hermeion.shapes import Shape

PromptFormat = Literal["chatml", "llama3"]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


def _known_precision(name: str) -> str:
    if name not in PRECISIONS:
        raise ValueError(f"no precision {name!r}; there are {', '.join(PRECISIONS)}")
    return name


PrecisionName = Annotated[str, AfterValidator(_known_precision)]


class Variant(Record):
    """One downloadable set of weights.

    Attributes:
        name: Short name, unique in the catalogue: ``hermes-4-14b-fp8``.
        model: The model it is a variant of: ``hermes-4-14b``.
        repo: Repository on the Hub; for a local folder its name.
        path: Folder on the host that holds the weights, or ``None``: they come from the Hub.
        revision: Commit (40 hexadecimal digits), or ``None``: resolved once and recorded in the plan.
        precision: Key of ``PRECISIONS``.
        files: Files to pull of a GGUF repository; empty: all safetensors of the top folder.
        bytes: Size of the weights in bytes.
        source: Where ``bytes`` is from.
        licence: SPDX name, or the name that the repository gives.
        gated: Whether the Hub asks for a token and consent.
        official: Whether it comes from the model's own makers.
        only_by_name: Whether ``auto`` passes it over: nobody who answers for it has checked it.
        prompt_format: ``chatml`` or ``llama3``; the tokenizer's template decides, this is for people.
        tool_parsers: Name of the tool-call parser by engine.
        reasoning_parsers: Name of the reasoning parser by engine.
        thinking_switch: Variable of the chat template that switches thinking on, or ``None``: it cannot think.
        sampling: Sampling defaults of the model card.
        quant_method: ``quant_method`` of its ``config.json`` where it matters to an engine, or ``None``.
    """

    name: str
    model: str
    repo: str
    path: str | None = None
    revision: str | None
    precision: PrecisionName
    files: tuple[str, ...] = ()
    bytes: int
    source: str = ""
    shape: Shape
    licence: str | None = None
    gated: bool = False
    official: bool = True
    only_by_name: bool = False
    prompt_format: PromptFormat | None = None
    tool_parsers: dict[str, str] = Field(default={})
    reasoning_parsers: dict[str, str] = Field(default={})
    thinking_switch: str | None = None
    sampling: dict[str, int | float] = Field(default={})
    quant_method: str | None = None

    @property
    def format(self) -> Precision:
        """Bytes of its elements and scales."""
        return PRECISIONS[self.precision]


class ModelFacts(Record):
    """What a model's own files say about it: read from the Hub or from a folder on the host.

    Attributes:
        revision: Commit, or for a local folder a hash of its listing.
        bytes: Size of the weights in bytes.
    """

    revision: str | None
    precision: PrecisionName
    bytes: int
    shape: Shape
    quant_method: str | None = None


def gguf_pattern(file: str) -> str:
    """Pattern of all parts of a GGUF file: ``x-*-of-00003.gguf`` for ``x-00001-of-00003.gguf``, else the file."""
    return re.sub(r"-00001-of-(\d{5}\.gguf)$", r"-*-of-\1", file)


class CatalogEntry(Record):
    """An own model, as ``hermes_catalog`` in an inventory describes it."""

    name: str = Field(description="Name that `hermes_services` uses.", pattern=r"^[\w.][\w.-]*$", examples=["my-llama"])
    repo: str | None = Field(
        default=None,
        description="Repository on the Hub (or the mirror). None: `path` says where the weights are.",
        pattern=r"^[\w.][\w.-]*/[\w.-]+$",
        examples=["me/my-llama"],
    )
    source: str | None = Field(
        default=None,
        description="Where the files of `repo` come from in place of the Hub: `s3://bucket/prefix` (of "
        "`hermes_mirrors.s3`), or a folder on the host that they are copied from into `hermes_cache`. It must hold "
        "`SHA256SUMS`, as `sha256sum` makes it. None: the Hub.",
        pattern=r"^(s3:/(/[\w.][\w.+-]*)+|(/[\w.+-]+)+)/?$",
        examples=["s3://models/my-llama"],
    )
    path: str | None = Field(
        default=None,
        description="Folder on the host with the weights, in place of `repo`. Absolute.",
        pattern=r"^/[\w./+-]+$",
        examples=["/srv/models/local/my-llama"],
    )
    revision: Commit | None = Field(
        default=None,
        description="Commit, 40 hexadecimal digits; with `source` the first 40 that the plan shows, a hash of the "
        "wanted lines of `SHA256SUMS`. None: resolved once (the Hub's `main`) and recorded in the plan.",
    )
    file: str | None = Field(
        default=None,
        description="The GGUF file of the repository or folder, the first of a split one. None: safetensors.",
        pattern=r"^[\w./+-]+\.gguf$",
        examples=["my-llama-Q4_K_M.gguf"],
    )
    precision: PrecisionName | None = Field(
        default=None, description="Precision of the weights. None: read from the model's own files."
    )
    bytes: int | None = Field(
        default=None, description="Size of the weights in bytes. None: read from the model's own files.", gt=0
    )
    shape: Shape | None = Field(
        default=None,
        description="The architecture's numbers, with the keys below. None: read from the model's `config.json`, or "
        "from the header of its GGUF file.",
    )
    tool_parser: str | None = Field(default="hermes", description="vLLM's tool-call parser. None: no tool calls.")
    reasoning_parser: str | None = Field(
        default="deepseek_v3",
        description="vLLM's reasoning parser. `deepseek_v3` splits `<think>` off when the template's "
        "`thinking` is true. None: no splitting.",
    )
    sampling: dict[str, int | float] = Field(
        default={}, description="Sampling defaults.", examples=[{"temperature": 0.6, "top_p": 0.95}]
    )

    @model_validator(mode="after")
    def _one_place(self) -> CatalogEntry:
        if self.source and not self.repo:
            raise ValueError("source needs repo: the weights are served from the cache, under this name")
        if (self.repo is None) == (self.path is None):
            raise ValueError("give either repo or path")
        if self.source and ".." in self.source.split("/"):
            raise ValueError(f"source must not lead upwards: {self.source}")
        if self.path and self.revision:
            raise ValueError("a folder has no revision")
        if self.precision and (PRECISIONS[self.precision].container == "gguf") != bool(self.file):
            if self.file:
                raise ValueError(f"precision {self.precision} is not one of GGUF files, and {self.file} is such a file")
            raise ValueError(f"precision {self.precision} is one of GGUF files: name the file")
        return self

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be read from the model's own files."""
        return self.shape is not None and self.bytes is not None and self.precision is not None

    @property
    def _files(self) -> tuple[str, ...]:
        if not self.file:
            return ()
        return (self.file if self.path else gguf_pattern(self.file),)  # a folder is served as it is

    def to_variant(self, facts: ModelFacts | None = None) -> Variant | None:
        """The same as a member of the catalogue; ``None`` while the model's own files were not read.

        Args:
            facts: What its own files say; what the inventory says stands before it.
        """
        shape = self.shape or (facts.shape if facts else None)
        size = self.bytes or (facts.bytes if facts else None)
        precision = self.precision or (facts.precision if facts else None)
        if shape is None or size is None or precision is None:
            return None
        sglang = {"sglang": self.reasoning_parser.replace("_", "-")} if self.reasoning_parser else {}
        return Variant(
            name=self.name,
            model=self.name,
            repo=self.repo or str(self.path),
            path=self.path,
            revision=self.revision or (facts.revision if facts else None),
            precision=precision,
            files=self._files,
            bytes=size,
            source="hermes_catalog" if self.is_complete else "the model's own files",
            shape=shape,
            tool_parsers={"vllm": self.tool_parser, "sglang": self.tool_parser} if self.tool_parser else {},
            reasoning_parsers={"vllm": self.reasoning_parser, **sglang} if self.reasoning_parser else {},
            thinking_switch="thinking" if self.reasoning_parser else None,
            sampling=self.sampling,
            quant_method=facts.quant_method if facts else None,
        )


Catalog = Mapping[str, tuple[Variant, ...]]
"""Variants by model name, most bits first."""


def _sorted(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    return tuple(sorted(variants, key=lambda v: (-v.format.bits, v.name)))


@cache
def built_in_catalog() -> Catalog:
    """The Hermes models."""
    table = tomllib.loads(files("hermeion.data").joinpath("variants.toml").read_text())
    shapes = {name: Shape.model_validate(row) for name, row in table["shape"].items()}
    catalog: dict[str, tuple[Variant, ...]] = {}
    for model in table["model"]:
        common: dict[str, Any] = {key: value for key, value in model.items() if key not in {"name", "shape", "variant"}}
        variants = [
            Variant.model_validate(
                {
                    **common,
                    "name": f"{model['name']}-{row['precision']}",
                    "model": model["name"],
                    "revision": None,
                    "shape": shapes[model["shape"]],
                    **row,
                }
            )
            for row in model["variant"]
        ]
        catalog[model["name"]] = _sorted(variants)
    return catalog


def merge_catalog(own: Sequence[CatalogEntry], facts: Mapping[str, ModelFacts] | None = None) -> Catalog:
    """The built-in catalogue and own models; an own model hides a built-in one of the same name.

    Args:
        facts: What own models' files say, by name. An own model that is not complete without them has no variants yet.
    """
    added = {entry.name: entry.to_variant((facts or {}).get(entry.name)) for entry in own}
    return {**built_in_catalog(), **{name: (variant,) if variant else () for name, variant in added.items()}}
