"""Stop the pulls that run; what has come stays, and the next run goes on from there.

pyinfra INVENTORY deploys/cache_cancel.py --limit gpu-1
"""

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.context import host, state

from hermeion import operations
from hermeion.errors import HermeionError
from hermeion.facts import run_or_fail
from hermeion.narration import keep, narrate
from hermeion.scripts.housekeeping import cancel_script

narrate(state, host)


@operation(is_idempotent=False)
def cancel() -> Generator[StringCommand, None, None]:
    """Stop them, and remember how far they were."""
    yield StringCommand("true")
    if state.current_stage != StateStage.Execute:
        return
    try:
        keep(host, {"stopped": run_or_fail(state, host, cancel_script(), "stopping pulls")})
    except HermeionError as error:
        yield operations.fail_here(str(error))


cancel(name="Cache: stop pulls")
