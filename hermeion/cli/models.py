"""``hermeion models``: the catalogue, and what of it fits on which GPUs."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hermeion.units import format_bytes
from hermeion.variants import Catalog, built_in_catalog
from hermeion.what_fits import what_fits


def _catalogue(catalog: Catalog) -> Table:
    table = Table("model", "variant", "repository", "weights", "context", title="Models", title_justify="left")
    for variants in catalog.values():
        for v in variants:
            table.add_row(v.model, v.precision, v.repo, format_bytes(v.bytes), str(v.shape.max_context))
    return table


def models(
    fits: Annotated[
        str | None, typer.Option(metavar="GPUS", help="What fits on these GPUs, e.g. 2xL40S, 8xH100, RTX5090.")
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="With --fits: wanted context in tokens. Without it: as much as fits.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the models, or what of them fits on a set of GPUs with how much context, and why the others do not.

    The context is that of the planner: vLLM with its defaults, a margin kept. Decoding is a ceiling from memory
    bandwidth, for one request; an estimate.

    Example: `hermeion models --fits 2xL40S --context 32768`
    """
    catalog = built_in_catalog()
    console = Console()
    if fits is None:
        if as_json:
            typer.echo(json.dumps([v.to_json() for variants in catalog.values() for v in variants], indent=2))
        else:
            console.print(_catalogue(catalog))
        return
    model, count, found = what_fits(catalog, fits, context)
    if as_json:
        gpus = {"model": model.name, "count": count, "memory": model.memory}
        typer.echo(json.dumps({"gpus": gpus, "variants": [fit.to_json() for fit in found]}, indent=2))
        return
    title = f"On {count} × {model.name} ({format_bytes(model.memory)} each)"
    table = Table("variant", "weights", "GPUs", "context", "KV tokens", "tokens/s ≤", title=title, title_justify="left")
    for fit in found:
        if fit.gpus:
            speed = str(fit.tokens_per_second)
            row = (fit.variant, format_bytes(fit.bytes), str(fit.gpus), str(fit.context), str(fit.kv_tokens), speed)
            table.add_row(*row)
    console.print(table)
    for fit in found:
        if not fit.gpus:
            console.print(f"no  {fit.variant}: {fit.reason}", markup=False, highlight=False, soft_wrap=True)
