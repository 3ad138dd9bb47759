"""Work in caches that ``hermeion cache`` has decided: a deep check, a prune. A job on one host of each filesystem.

The file that HERMEION_ORDERS names holds, by host: ``job`` (its name), ``label``, ``script``, and ``result``, the file
on the host in which the job leaves what it found.
"""

import json
import os
from collections.abc import Generator
from pathlib import Path

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import DeployError
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.context import host, state

from hermeion import operations
from hermeion.errors import HermeionError
from hermeion.facts import run_or_fail
from hermeion.jobs import Work
from hermeion.narration import keep, narrate

narrate(state, host)

if "HERMEION_ORDERS" not in os.environ:
    raise DeployError("HERMEION_ORDERS names no file. `hermeion cache verify` and `hermeion cache prune` write it.")


@operation(is_idempotent=False)
def collect(result: str) -> Generator[StringCommand, None, None]:
    """Read what the job found."""
    yield StringCommand("true")
    if state.current_stage != StateStage.Execute:
        return
    try:
        keep(host, {"result": "\n".join(run_or_fail(state, host, f"cat {result}\n", "reading the result"))})
    except HermeionError as error:
        yield operations.fail_here(str(error))


order = json.loads(Path(os.environ["HERMEION_ORDERS"]).read_text()).get(host.name)
if order:
    operations.job(
        name=f"Cache: {order['label']}",
        job=order["job"],
        label=order["label"],
        work=lambda: Work(script=order["script"]),
    )
    collect(name="Cache: read the result", result=order["result"])
