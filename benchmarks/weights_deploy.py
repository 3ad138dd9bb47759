"""The cache stage of deploys/hermes.py alone, for benchmarks/weights.py: probe, plan, ask, pull."""

import sys

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host, inventory, state

from hermeion.apply import prepare
from hermeion.errors import HermeionError
from hermeion.narration import narrate
from hermeion.resources import share
from hermeion.wanted import Wanted

sys.path.insert(0, str(share("deploys").parent))

from deploys import cache

narrate(state, host)
try:
    target = prepare(state, host, Wanted.of(inventory, host))
except HermeionError as error:
    raise DeployError(str(error)) from error
if "cache" in target.pending:
    cache.begin(target)
    cache.apply(target)
