"""A process of its own that reads an inventory as pyinfra does, connects to nobody, and prints what it wants as JSON.

``python -m hermeion.inventory_reader INVENTORY``: pyinfra patches sockets and threads when it is imported, and an
inventory is a program: neither has a place in the process of the command line.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from pyinfra.api.config import Config
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State
from pyinfra.context import ctx_config, ctx_state
from pyinfra_cli.exceptions import UnexpectedExternalError  # type: ignore[import-untyped]
from pyinfra_cli.inventory import make_inventory  # type: ignore[import-untyped]

MARK = "@inventory "
"""Begins the line of the answer: an inventory may print what it likes."""


def answer(inventory: str) -> str:
    """Name, groups and ``hermes_*`` data of every host, in the inventory's order, on one line."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    state = State()
    state.cwd = here
    ctx_state.set(state)  # type: ignore[no-untyped-call]
    ctx_config.set(Config())  # type: ignore[no-untyped-call]
    hosts = []
    for host in make_inventory(inventory, cwd=here):
        data = {key: value for key, value in host.data.dict().items() if key.startswith("hermes_")}
        for key, value in data.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                raise PyinfraError(f"{host.name}: {key}: {error}") from error
        hosts.append({"name": host.name, "groups": [*host.groups, "all"], "data": data})
    return MARK + json.dumps(hosts)


def explain(error: BaseException) -> str:
    """What went wrong in one line: where, and the error's own words."""
    if isinstance(error, UnexpectedExternalError):
        error = error.exception
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {error.filename}: {error.msg}"
    if isinstance(error, PyinfraError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"line {place.lineno} of {place.filename}: {type(error).__name__}: {error}"


if __name__ == "__main__":
    try:
        print(answer(sys.argv[1]))
    except Exception as error:  # an inventory may fail in any way
        sys.exit(explain(error))
