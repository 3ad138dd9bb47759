"""The states a lab host can be put into: one shell file each, with a sentence and directives at its top.

``NAME.sh`` begins with one comment line, the sentence; directives follow as ``# key: value``; then come two
functions, ``enter`` and ``leave``, which run on the host as root after the helpers in ``common.sh``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from hermeion.errors import LabError

from ..images.bases import SUITES

DEFAULT_SUITE = "trixie"
DEFAULT_GPUS = "1xL40S"
HELPERS = "common.sh"
_DIRECTIVE = re.compile(r"# ([a-z]+): (.+)")
_VALUES: dict[str, tuple[str, ...] | None] = {
    "gpus": None,
    "suite": tuple(SUITES),
    "from": None,
    "reboot": ("yes",),
    "pci": ("nouveau", "vfio-pci"),
    "leave": ("no",),
    "keep": ("yes",),
}


@dataclass(frozen=True)
class State:
    """What a state's file says about itself."""

    name: str
    sentence: str
    gpus: str | None = None
    """GPU set of a host that is made for this state; None: as its base says."""
    suite: str | None = None
    """The only suite it exists on; None: any, as its base says."""
    base: str | None = None
    """The state that is entered first."""
    reboot: bool = False
    """The host is rebooted after entering and after leaving."""
    pci: str | None = None
    """Kernel driver to which the GPUs are bound on the PCI bus."""
    can_leave: bool = True
    keep: bool = False
    """An image of a host in this state is kept, and hosts that need the state start from it."""


def parse_state(name: str, text: str) -> State:
    """Read the top of a state's file.

    Raises:
        LabError: The file has no sentence, or a directive that does not exist or has another value.
    """
    lines = text.splitlines()
    if not lines or not re.fullmatch(r"# [A-Za-z].*\.", lines[0]):
        message = f"{name}.sh: line 1 must be a comment with one sentence: '# The driver is healthy.'"
        raise LabError(message)
    found: dict[str, str] = {}
    for line in lines[1:]:
        match = _DIRECTIVE.fullmatch(line)
        if match is None:
            break
        key, value = match[1], match[2]
        allowed = _VALUES.get(key, ())
        if allowed is not None and value not in allowed:
            what = f"must be {' or '.join(allowed)}" if allowed else f"does not exist; there are {', '.join(_VALUES)}"
            message = f"{name}.sh: the directive {line!r} {what}."
            raise LabError(message)
        found[key] = value
    return State(
        name=name,
        sentence=lines[0].removeprefix("# "),
        gpus=found.get("gpus"),
        suite=found.get("suite"),
        base=found.get("from"),
        reboot="reboot" in found,
        pci=found.get("pci"),
        can_leave="leave" not in found,
        keep="keep" in found,
    )


@cache
def read_states() -> dict[str, State]:
    """Every state by name, in alphabetical order."""
    folder = resources.files(__name__)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sh") and entry.name != HELPERS)
    return {
        name.removesuffix(".sh"): parse_state(
            name.removesuffix(".sh"), folder.joinpath(name).read_text(encoding="utf-8")
        )
        for name in names
    }


def read_script(name: str) -> str:
    """The helpers and the state's functions, as the host's shell reads them."""
    folder = resources.files(__name__)
    parts = (HELPERS, f"{name}.sh")
    return "\n".join(folder.joinpath(part).read_text(encoding="utf-8") for part in parts)


def find_state(name: str) -> State:
    """The state called ``name``.

    Raises:
        LabError: There is none; names the nearest that exists.
    """
    states = read_states()
    if name not in states:
        near = difflib.get_close_matches(name, states, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        message = f"the lab has no state {name!r}.{hint} See: hermeion lab states"
        raise LabError(message)
    return states[name]


def chain_of(name: str) -> list[State]:
    """The state and what it is entered from, in the order in which they are entered."""
    state = find_state(name)
    return [*(chain_of(state.base) if state.base else ()), state]


def gpus_of(name: str) -> str:
    """GPU set of a host that is made for the state."""
    return next((state.gpus for state in reversed(chain_of(name)) if state.gpus), DEFAULT_GPUS)


def suite_of(names: Sequence[str]) -> str | None:
    """The suite that the states ask for; None: any will do.

    Raises:
        LabError: They ask for different ones.
    """
    wanted = {state.suite: state.name for name in names for state in chain_of(name) if state.suite}
    if len(wanted) > 1:
        said = " and ".join(f"{state} needs {suite}" for suite, state in sorted(wanted.items()))
        message = f"one host cannot be in all of these states: {said}."
        raise LabError(message)
    return next(iter(wanted), None)


def contained_in(names: Iterable[str]) -> set[str]:
    """Names of all states that a host in these states has been put into."""
    return {state.name for name in names for state in chain_of(name)}


def after_entering(current: Sequence[str], name: str) -> tuple[str, ...]:
    """What a host in the states ``current`` is in after entering ``name``; its bases are no longer named."""
    below = {state.name for state in chain_of(name)}
    return (*(state for state in current if state not in below), *((name,) if name != "bare" else ()))


def after_leaving(current: Sequence[str], name: str) -> tuple[str, ...]:
    """What a host in the states ``current`` is in after leaving ``name``.

    Raises:
        LabError: It is not in that state, another one stands on it, or it cannot be left.
    """
    state = find_state(name)
    if name not in current:
        on_top = [other for other in current if name in contained_in([other])]
        said = f"leave {on_top[0]} first, which stands on it" if on_top else f"it is in: {format_states(current)}"
        message = f"the host cannot leave {name}: {said}."
        raise LabError(message)
    if not state.can_leave:
        message = f"{name} cannot be left on a live host. Make the host anew: hermeion lab up with another state."
        raise LabError(message)
    rest = tuple(other for other in current if other != name)
    base = (state.base,) if state.base and state.base not in contained_in(rest) else ()
    return (*base, *rest)


def parse_states(text: str) -> tuple[str, ...]:
    """Read ``driver+docker-stopped``; ``bare`` and the empty string are no state.

    Raises:
        LabError: A state does not exist.
    """
    names = [part for part in text.split("+") if part]
    return tuple(find_state(name).name for name in names if name != "bare")


def format_states(names: Iterable[str]) -> str:
    """What ``parse_states`` reads; bare where there is no state."""
    return "+".join(names) or "bare"
