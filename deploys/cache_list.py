"""One question to every host about its cache, for ``hermeion cache``. Changes nothing.

pyinfra INVENTORY deploys/cache_list.py --dry      asks, and leaves the answers in the file that HERMEION_REPORT names
"""

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host, inventory, state

from hermeion.errors import HermeionError, InventoryError
from hermeion.facts import run_or_fail
from hermeion.narration import NOTES, keep, narrate
from hermeion.scripts.housekeeping import listing_script
from hermeion.wanted import Wanted

narrate(state, host)

try:
    wanted = Wanted.of(inventory, host)
except InventoryError as error:
    raise DeployError(str(error)) from error

try:
    cache = wanted.spec.hermes_cache
    lines = run_or_fail(state, host, listing_script(cache), "asking about the cache")
    keep(host, {"cache": cache, "listing": "".join(lines)})
except HermeionError as error:
    NOTES[host.name] = str(error)
