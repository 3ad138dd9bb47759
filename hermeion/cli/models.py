"""``hermeion models``: the catalogue, and what of it fits on which GPUs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from hermeion.errors import InventoryError
from hermeion.units import format_bytes
from hermeion.variants import Catalog, built_in_catalog
from hermeion.what_fits import Fit, what_fits


def _catalogue(catalog: Catalog) -> Table:
    """A line for each model with what all its variants share, and one for each variant."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, variants in catalog.items():
        first = variants[0]
        thinks = ", thinks on demand" if first.thinking_switch else ""
        about = f"{first.shape.max_context} tokens of context, {first.licence}, {first.prompt_format}{thinks}"
        table.add_row(f"[bold]{name}[/bold]", "", about)
        for v in variants:
            marks = [] if v.official else ["third party"]
            marks += [v.licence] if v.licence and v.licence != first.licence else []
            marks += ["by name only"] if v.only_by_name else []
            table.add_row(
                f"  {v.precision}", format_bytes(v.bytes), v.repo + (f" ({', '.join(marks)})" if marks else "")
            )
        table.add_row()
    return table


def _is_stored_only(fit: Fit) -> bool:
    """Whether it is worth a remark that the GPU does not compute in this precision; with GGUF it never does."""
    return fit.gpus > 0 and not fit.native and fit.engine != "llamacpp"


def _fits_table(title: str, found: Sequence[Fit]) -> Table:
    """Narrow enough for 80 columns; ``--json`` has more."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for column in ("weights", "GPUs", "context × req.", "FP8 KV", "tok/s"):
        table.add_column(column, justify="right", no_wrap=True)
    for fit in found:
        if fit.gpus:
            table.add_row(
                fit.variant + (" *" if _is_stored_only(fit) else ""),
                format_bytes(fit.bytes),
                str(fit.gpus),
                f"{fit.context} × {fit.sequences}",
                str(fit.fp8_context or "–"),
                f"≤ {fit.tokens_per_second}" if fit.tokens_per_second else "?",
            )
    return table


def _notes(found: Sequence[Fit]) -> list[str]:
    """What the table's signs mean, as far as they occur."""
    notes = []
    if any(_is_stored_only(fit) for fit in found):
        notes.append("*  weight-only: stored in this precision, computed in 16 bits; saves memory and not time")
    if any(fit.fp8_context for fit in found):
        notes.append("FP8 KV: the context with an FP8 KV cache (kv_precision = 'fp8')")
    if any(fit.gpus and fit.engine == "llamacpp" for fit in found):
        notes.append("GGUF (q8_0, q4_k_m …) is for llama.cpp, which divides its cache among its requests")
    return notes


def _refusals(found: Sequence[Fit]) -> list[str]:
    """Why what does not fit does not: a line for each variant, or one for a model of which nothing fits."""
    lines = []
    for model in dict.fromkeys(fit.model for fit in found):
        of_model = [fit for fit in found if fit.model == model]
        refused = [fit for fit in of_model if not fit.gpus]
        if len(refused) < len(of_model):
            lines += [f"no  {fit.variant}: {fit.reason}" for fit in refused]
        else:
            least = min(refused, key=lambda fit: fit.bytes)
            lines.append(f"no  {model}: nothing fits; the smallest, {least.variant}: {least.reason}")
    return lines


def models(
    fits: Annotated[
        str | None, typer.Option(metavar="GPUS", help="What fits on these GPUs, e.g. 2xL40S, 8xH100, RTX5090.")
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="With --fits: wanted context in tokens. Without it: as much as fits.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the models, or what of them fits on a set of GPUs with how much context, and why the others do not.

    Contexts are the planner's: each engine with its defaults, a margin kept. Tokens per second are a ceiling from
    memory bandwidth, for one request; an estimate.

    Example: `hermeion models --fits 2xL40S --context 32768 --model hermes-4.3-36b`
    """
    catalog = built_in_catalog()
    if unknown := set(model or ()) - set(catalog):
        raise InventoryError(f"--model: no model {min(unknown)!r}. There are: {', '.join(catalog)}.")
    catalog = {name: variants for name, variants in catalog.items() if not model or name in model}
    console = Console()
    if fits is None:
        if as_json:
            typer.echo(json.dumps([v.to_json() for variants in catalog.values() for v in variants], indent=2))
        else:
            console.print(_catalogue(catalog))
        return
    card, count, found = what_fits(catalog, fits, context)
    if as_json:
        gpus = {"model": card.name, "count": count, "memory": card.memory}
        typer.echo(json.dumps({"gpus": gpus, "variants": [fit.to_json() for fit in found]}, indent=2))
        return
    console.print(_fits_table(f"On {count} × {card.name} ({format_bytes(card.memory)} each)", found))
    for line in (*_notes(found), *_refusals(found)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
