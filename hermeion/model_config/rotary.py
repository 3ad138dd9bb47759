"""How long a context the rotary embedding was made for, and how many positions its caches hold.

The caches follow vLLM's ``rotary_embedding/__init__.py`` (0.19 to 0.33), one for each set of parameters, and the
longest context its ``_get_and_verify_max_len`` (0.32 and 0.33).
"""

from __future__ import annotations

from typing import NamedTuple

from hermeion.model_config.family import Family
from hermeion.model_config.values import Settings

KINDS = ("default", "dynamic", "linear", "llama3", "longrope", "mrope", "su", "yarn")
STRETCHED = ("dynamic", "linear")
"""Kinds with which a context is ``factor`` times ``max_position_embeddings``; elsewhere that is the stretched one."""


PART = "partial_rotary_factor"


class Rotary(NamedTuple):
    """What memory asks of rotary embeddings.

    ``positions``: in all caches together, or ``None``: as many as ``context``. ``dim``: rotated part of a head, or
    ``None``: all of it.
    """

    context: int
    positions: int | None
    dim: int | None


def _parameters(settings: Settings) -> list[Settings]:
    """Sets of parameters: one, or one for each kind of layer (``rope_parameters`` of Transformers 5)."""
    for key in ("rope_parameters", "rope_scaling"):
        found = settings.section(key)
        if found and found.values:
            if not all(isinstance(value, dict) or value is None for value in found.values.values()):
                return [found]
            each = [found.section(name) for name in found.values]
            distinct: list[Settings] = []
            for own in each:
                if own and own.values not in [other.values for other in distinct]:
                    distinct.append(own)
            return distinct
    return []


def _kind(parameters: Settings) -> str:
    key = "rope_type" if parameters.has("rope_type") else "type"
    kind = parameters.text(key) or "default"
    if kind not in KINDS:
        raise parameters.error(key, f"is {kind!r}, and must be one of {', '.join(KINDS)}")
    return kind


def _positions(parameters: Settings, kind: str, settings: Settings, family: Family) -> int:
    """Positions of one cache."""
    longest = settings.number("max_position_embeddings")
    if kind in STRETCHED and parameters.has("factor"):
        return round(longest * parameters.factor("factor"))
    original = (
        parameters.optional_number("original_max_position_embeddings")
        or settings.optional_number("original_max_position_embeddings")
        or longest
    )
    if kind in ("longrope", "su"):  # one cache for short texts, one for long ones
        return original + longest
    if kind == "yarn":
        longest = round(original * parameters.factor("factor"))
    return longest * (family.mrope_factor if parameters.has("mrope_section") else 1)


def rotary(settings: Settings, family: Family, head_dim: int) -> Rotary:
    """Context, positions and rotated part.

    Raises:
        ModelError: A kind of rotary embedding is not known, or a number is missing or absurd.
    """
    longest = settings.number("max_position_embeddings")
    found = _parameters(settings)
    kinds = [_kind(parameters) for parameters in found]
    positions = [_positions(own, kind, settings, family) for own, kind in zip(found, kinds, strict=True)] or [longest]
    if family.two_rotary_caches and len(positions) == 1:  # the sliding layers' is never stretched
        positions.append(longest)
    context = longest
    # Gemma 3's max_position_embeddings is the stretched one although its kind is linear.
    if not family.two_rotary_caches:
        for own, kind in zip(found, kinds, strict=True):
            if kind in STRETCHED and own.has("factor"):
                context = round(longest * own.factor("factor"))
    parts = [own.factor(PART, 1) for own in (*found, settings) if own.has(PART)]
    return Rotary(
        context=context,
        positions=sum(positions) if sum(positions) != context else None,
        dim=int(head_dim * parts[0]) if parts and parts[0] < 1 else None,
    )
