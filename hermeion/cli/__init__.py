"""The ``hermeion`` command: thin; what it applies, plain pyinfra applies too."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from hermeion.cli.budget import budget
from hermeion.cli.cache import app as cache
from hermeion.cli.eject import eject
from hermeion.cli.explain import explain
from hermeion.cli.models import models
from hermeion.cli.plan import plan
from hermeion.cli.probe import probe
from hermeion.cli.verify import verify
from hermeion.errors import HermeionError

app = typer.Typer(
    name="hermeion",
    help="Bare GPU hosts to a verified endpoint for Hermes and other Hugging Face models.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(plan)
app.command()(explain)
app.command()(probe)
app.command()(models)
app.command()(budget)
app.command()(verify)
app.command()(eject)
app.add_typer(cache, name="cache")


def main() -> None:
    """Run the command line; a user's mistake ends with one message and its exit code, never a traceback."""
    # The Docker SDK is slow to import and only the lab needs it.
    if not {"plan", "explain", "probe", "models", "budget", "verify", "eject", "cache"} & set(sys.argv[1:2]):
        from hermeion.cli import lab  # noqa: PLC0415
        from hermeion.cli.demo import demo  # noqa: PLC0415

        app.add_typer(lab.app, name="lab")
        app.command()(demo)
    try:
        app()
    except HermeionError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(error.exit_code)
