"""One probe of every host, for ``hermeion probe``. Changes nothing.

pyinfra INVENTORY deploys/probe.py --dry      asks, and leaves the answers in the file that HERMEION_REPORT names
"""

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host, inventory, state

from hermeion.drafts import observe, read_models, real
from hermeion.errors import HermeionError, InventoryError
from hermeion.narration import NOTES, keep, narrate
from hermeion.saved_hosts import dump_host
from hermeion.wanted import Wanted

narrate(state, host)

try:
    wanted = Wanted.of(inventory, host)
except InventoryError as error:
    raise DeployError(str(error)) from error

try:
    probe = observe(real(state, host), wanted.spec)
    facts, unread = {}, None
    try:
        facts = read_models(state, real(state, host), wanted, probe)
    except HermeionError as error:  # a host that cannot reach a model's files is still worth saving
        unread = str(error)
    keep(host, {"saved": dump_host(host.name, probe, facts), "unread": unread})
except HermeionError as error:
    NOTES[host.name] = str(error)
