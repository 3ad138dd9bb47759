"""Which engines a service may get for which variants: the rounds in which the planner tries them."""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.engines import ENGINES
from hermeion.engines.protocol import Engine
from hermeion.inventory import ServiceSpec
from hermeion.variants import Variant

Pair = tuple[Engine, Variant]

GGUF_ENGINES = ("llamacpp", "ollama")
"""Engines that read GGUF files, and nothing else."""

BINDING = ("engine_version", "image", "requirements", "archive", "extra_args")
"""Keys that are written for one engine: another one would not understand them."""


def bound_keys(spec: ServiceSpec) -> tuple[str, ...]:
    """Those of :data:`BINDING` that the inventory gives: with any of them ``engine="auto"`` tries one engine alone."""
    return tuple(key for key in BINDING if getattr(spec, key) != ServiceSpec.model_fields[key].default)


def engine_meant(spec: ServiceSpec, *, gguf: bool) -> Engine:
    """The engine for which a service's version, image, options and package are written.

    Args:
        gguf: Whether the model or variant that the inventory names is a GGUF file.
    """
    if spec.engine != "auto":
        return ENGINES[spec.engine]
    return ENGINES["llamacpp" if gguf or spec.archive else "vllm"]


def rounds_for(spec: ServiceSpec, variants: Sequence[Variant]) -> list[list[Pair]]:
    """Engine and variant as the inventory allows them; a round is tried where nothing of the one before it fits.

    ``engine="auto"`` is vLLM, and llama.cpp for variants in GGUF files; SGLang and Ollama are taken by name alone. Of a
    whole model's variants those that an engine does not read are not even tried.
    """
    files = [variant for variant in variants if variant.format.container == "gguf"]
    folders = [variant for variant in variants if variant.format.container != "gguf"]
    if spec.engine != "auto":
        readable = files if spec.engine in GGUF_ENGINES else folders
        return [[(ENGINES[spec.engine], variant) for variant in readable or variants]]
    rounds: list[list[Pair]] = [
        [(ENGINES[name], variant) for variant in readable]
        for name, readable in (("vllm", folders), ("llamacpp", files))
        if readable
    ]
    if not bound_keys(spec):
        return rounds
    # Of the engines of `auto`, llama.cpp alone is installed from an archive.
    return rounds[-1:] if spec.archive else rounds[:1]
