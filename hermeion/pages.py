"""A plan as one self-contained page: no network, no script, readable on paper."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from hermeion.errors import RenderError
from hermeion.memory_terms import Term
from hermeion.pictures import ESTIMATES, bytes_of, cache_text
from hermeion.units import format_bytes
from hermeion.views import Fleet, ServiceView

NAMED = 0.13
"""A part of a bar as wide as this carries its name, below it its letter."""

LETTERED = 0.02


def part_class(name: str) -> str:
    """``KV cache`` as a class of the style sheet: ``part-kv-cache``."""
    return "part-" + re.sub(r"[^a-z]+", "-", name.lower())


def is_named(term: Term, whole: int) -> bool:
    """Whether a part of a bar is wide enough for its name and size."""
    return term.bytes >= NAMED * whole


def label(term: Term, whole: int) -> str:
    """What stands in a part of a bar: its name, its letter, or nothing."""
    if is_named(term, whole):
        return term.name
    return term.letter if term.bytes >= LETTERED * whole else ""


def described(service: ServiceView) -> str:
    """A bar in words, for who does not see it."""
    parts = ", ".join(f"{term.name} {format_bytes(term.bytes)}" for term in service.terms)
    return f"Memory of one GPU of {service.name}, {format_bytes(service.device_bytes)}: {parts}"


def share(count: int, whole: int) -> str:
    """A part of a whole in per cent, for the style sheet and for people."""
    return f"{100 * max(0, count) / whole:.3f}" if whole > 0 else "0"


def grouped(count: int) -> str:
    """``1234567`` as ``1 234 567``, with spaces that do not break."""
    return f"{count:,}".replace(",", "\u202f")


@cache
def _environment(templates: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": format_bytes, "grouped": grouped, "part_class": part_class}
    environment.globals |= {
        "ESTIMATES": ESTIMATES,
        "bytes_of": bytes_of,
        "cache_text": cache_text,
        "described": described,
        "is_named": is_named,
        "label": label,
        "share": share,
    }
    return environment


def render_page(fleet: Fleet, templates: Path, *, inventory: str, made: str) -> str:
    """The page.

    Args:
        inventory: What was planned, for the heading.
        made: When, for the heading.

    Raises:
        RenderError: The template names something that is not there.
    """
    try:
        template = _environment(templates).get_template("plan.html.j2")
        return template.render(fleet=fleet, inventory=inventory, made=made)
    except UndefinedError as error:
        raise RenderError(f"templates/plan.html.j2: {error}") from error
