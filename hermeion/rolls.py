"""One host of a service at a time: what a run takes out of service is back before the next one goes.

Every host of a run has its own greenlet of the same process, so a lock by service is all that is needed. A host that
serves nothing waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from gevent.lock import RLock

_LOCKS: dict[str, RLock] = {}
STOPPED: dict[str, str] = {}
"""By service, the host that did not come back: no other host of that service is taken out in this run."""


@contextmanager
def turn(services: Iterable[str]) -> Iterator[None]:
    """Wait until no other host of these services is out, and keep them from going out meanwhile.

    The locks are taken in one order by everybody, so nobody waits in a circle.
    """
    with ExitStack() as stack:
        for service in sorted(services):
            stack.enter_context(_LOCKS.setdefault(service, RLock()))
        yield


def who_stopped(services: Iterable[str]) -> tuple[str, str] | None:
    """A service of these that is short of a host, and that host."""
    return next(((service, STOPPED[service]) for service in sorted(services) if service in STOPPED), None)


def stop(services: Iterable[str], host: str) -> None:
    """Remember that this host did not come back with these services."""
    for service in services:
        STOPPED.setdefault(service, host)
