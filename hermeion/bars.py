"""A GPU's memory as a bar in a terminal, and its legend.

A bar is made of letters where there is no colour, and of coloured blocks with names in them where there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from hermeion.memory_terms import Term
from hermeion.units import format_bytes

COLOURS: Mapping[str, str] = {
    "weights": "#6cb6ff",
    "scales": "#96d0ff",
    "rotary cache": "#9adbd0",
    "activations": "#f6b26b",
    "non-torch": "#d9c7a3",
    "NCCL": "#c9a6f2",
    "CUDA graphs": "#f2a0c8",
    "KV cache": "#7fd38a",
    "margin": "#f2dc6d",
    "left alone": "#c4c8cc",
}
"""Light enough for black letters on them."""


def cells(terms: Sequence[Term], width: int) -> list[int]:
    """How many of ``width`` cells each part gets: by its share, and at least one."""
    sizes = [max(0, term.bytes) for term in terms]
    total = sum(sizes) or 1
    ideal = [size * width / total for size in sizes]
    given = [max(1, int(share)) for share in ideal]
    # What is over or short goes to, or comes from, those whose cells are furthest from their share.
    while sum(given) < width:
        given[max(range(len(given)), key=lambda i: ideal[i] - given[i])] += 1
    while sum(given) > max(width, len(given)):
        shrinkable = [i for i in range(len(given)) if given[i] > 1]
        given[max(shrinkable, key=lambda i: given[i] - ideal[i])] -= 1
    return given


def bar(terms: Sequence[Term], width: int, *, plain: bool) -> Text:
    """A GPU's memory, ``width`` cells wide."""
    text = Text("[" if plain else "", no_wrap=True)
    for term, count in zip(terms, cells(terms, width - (2 if plain else 0)), strict=True):
        if plain:
            text.append(term.letter * count)
        else:
            label = term.name if len(term.name) + 2 <= count else term.letter
            text.append(label.center(count)[:count], style=f"black on {COLOURS.get(term.name, 'white')}")
    return text.append("]" if plain else "")


def legend(terms: Sequence[Term], width: int, *, plain: bool) -> list[Text]:
    """Letter, name and bytes of each part, as many on a line as there is room for."""
    lines = [Text()]
    for term in terms:
        style = "" if plain else f"black on {COLOURS.get(term.name, 'white')}"
        item = Text.assemble(
            (term.letter if plain else f" {term.letter} ", style), f" {term.name} {format_bytes(term.bytes)}"
        )
        if lines[-1] and len(lines[-1]) + 3 + len(item) > width:
            lines.append(Text())
        lines[-1].append("   " if lines[-1] else "").append_text(item)
    return lines
