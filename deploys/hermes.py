"""Bare hosts to served models: probe → plan → stages, top to bottom.

pyinfra INVENTORY deploys/hermes.py --dry      shows the plan, changes nothing
pyinfra INVENTORY deploys/hermes.py            asks, then applies it; run again: nothing to do
"""

import sys

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host, inventory, state

from hermeion.apply import Target, prepare
from hermeion.errors import HermeionError, InventoryError
from hermeion.narration import narrate
from hermeion.operations import refuse
from hermeion.resources import share
from hermeion.wanted import Wanted

sys.path.insert(0, str(share("deploys").parent))

from deploys import cache, container_runtime, driver, service

narrate(state, host)

# Every host's data is checked before any host is touched; one wrong key stops the whole run.
try:
    wanted = Wanted.of(inventory, host)
except InventoryError as error:
    raise DeployError(str(error)) from error

# Nothing has been changed yet. What cannot work is refused here, and the other hosts go on.
target: Target | None = None
try:
    target = prepare(state, host, wanted)
except HermeionError as error:
    wanted.refused(host, error)
    refuse(name="Refuse: what cannot work here")

# Weights and engines come while the driver is built, a reboot included; who needs them waits for them.
if target is not None and "cache" in target.pending:
    cache.begin(target)

if target is not None and target.docker_first:
    container_runtime.begin(target)

if target is not None and "service" in target.pending:
    service.begin(target)

if target is not None and "driver" in target.pending:
    driver.apply(target)

if target is not None and "runtime" in target.pending:
    container_runtime.apply(target)

if target is not None and "cache" in target.pending:
    cache.apply(target)

if target is not None and "service" in target.pending:
    service.apply(target)
