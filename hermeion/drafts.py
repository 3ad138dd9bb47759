"""What the hosts of a run tell each other before anything is changed.

Every host has its own greenlet, and only so many run at a time: nobody may wait for a host whose turn has not come.
So whoever needs to know something about another host finds it out himself; each thing is found out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gevent.lock import RLock
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from hermeion import narration
from hermeion.answers import Answer, parse_answers
from hermeion.errors import HermeionError, PlacementError
from hermeion.facts import HostProbe, run, run_or_fail
from hermeion.inventory import HostSpec
from hermeion.model_files import model_question, read_model
from hermeion.planner import make_plan, unread_models
from hermeion.plans import Plan
from hermeion.probe import Probe
from hermeion.reports import seen_json, wanted_json
from hermeion.saved_hosts import canonical
from hermeion.scripts.apt import LOCK_SECONDS, quiet_script
from hermeion.variants import ModelFacts
from hermeion.wanted import Wanted, all_wanted

FINAL = {200, 206, 401, 403, 404}
"""Answers that another host would get as well; what is a matter of the network or the hour is asked again."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A host that was probed and planned; commits and digests are still to be resolved."""

    host: Host
    wanted: Wanted
    probe: Probe
    facts: dict[str, ModelFacts]
    plan: Plan


_DRAFTS: dict[str, Draft | HermeionError] = {}
_ANSWERS: dict[str, dict[str, Answer]] = {}
_LOCKS: dict[str, RLock] = {}


def _lock(name: str) -> RLock:
    return _LOCKS.setdefault(name, RLock())


def observe(host: Host, spec: HostSpec) -> Probe:
    """The probe of a host, fresh.

    Raises:
        PlacementError: The host gave no answer that can be read.
    """
    with ctx_host.use(host):
        probe: Probe | None = host.get_fact(HostProbe, cache=spec.hermes_cache, _ignore_errors=True)
    if not isinstance(probe, Probe):
        raise PlacementError(f"{host.name}: the probe gave no answer. Log in and look whether `sh` works there.")
    return probe


def real(state: State, host: Host) -> Host:
    """The host itself: what a deploy file is given is whichever host the context says."""
    found: Host = state.inventory.get_host(host.name)
    return found


def hosts_of_run(state: State) -> list[Host]:
    """The connected hosts of the run, in the inventory's order."""
    active = set(state.inventory.get_active_hosts())
    return [host for host in state.inventory if host in active]


def ask_once(key: str, state: State, hosts: Callable[[], list[Host]], script: str, what: str) -> dict[str, Answer]:
    """The answers to a question that several hosts have, asked from the first of them.

    Args:
        key: The same question has the same key.
        hosts: Gives those that have the question, the one that is to ask first. Called once.

    Raises:
        ApplyError: The script failed; its error output is shown.
    """
    with _lock(key):
        if key in _ANSWERS:
            return _ANSWERS[key]
        first = hosts()[0]
        with ctx_host.use(first):
            answers = parse_answers(run_or_fail(state, first, script, what))
        _ANSWERS[key] = answers
        return answers


def is_final(answers: dict[str, Answer]) -> bool:
    """Whether other hosts need not ask: they would hear the same."""
    return bool(answers) and all(answer.status in FINAL for answer in answers.values())


def read_models(state: State, host: Host, wanted: Wanted, probe: Probe) -> dict[str, ModelFacts]:
    """What the files of own models say, for those that the plan needs and the inventory does not describe.

    What lies on the Hub is asked once for all hosts, from the first that has the model; a folder of the host's own, by
    each host.

    Raises:
        HermeionError: A model cannot be read, is broken, or is of no known kind.
    """
    spec = wanted.spec
    entries = {entry.name: entry for entry in spec.hermes_catalog}
    facts = {}
    for name in unread_models(host.name, spec, probe, wanted.locks):
        entry = entries[name]
        script = model_question(spec, entry, ca=wanted.ca, token=wanted.token, access=wanted.access)
        what = f"asking about {name}"

        def same(script: str = script, name: str = name) -> list[Host]:
            return [other for other in hosts_of_run(state) if _has_question(state, other, name, script)] or [host]

        alone = parse_answers(run_or_fail(state, host, script, what)) if entry.path else None
        answers = alone or ask_once(f"model {script}", state, same, script, what)
        if not alone and not is_final(answers):
            answers = parse_answers(run_or_fail(state, host, script, what))
        facts[name] = read_model(host.name, spec, entry, answers)
    return facts


def _has_question(state: State, host: Host, name: str, script: str) -> bool:
    wanted = all_wanted(state.inventory)[host.name]
    spec = wanted.spec
    entry = next((entry for entry in spec.hermes_catalog if entry.name == name), None)
    if entry is None or all(service.model != name for service in spec.hermes_services):
        return False
    return script == model_question(spec, entry, ca=wanted.ca, token=wanted.token, access=wanted.access)


def draft(state: State, host: Host) -> Draft:
    """A host's draft, made when somebody asks for it for the first time.

    Raises:
        HermeionError: The host cannot have what is wanted; the same each time.
    """
    with _lock(f"draft {host.name}"):
        if host.name not in _DRAFTS:
            try:
                _DRAFTS[host.name] = _draft(state, real(state, host))
            except HermeionError as error:
                _DRAFTS[host.name] = error
        found = _DRAFTS[host.name]
    if isinstance(found, HermeionError):
        raise found
    return found


def _draft(state: State, host: Host) -> Draft:
    wanted = all_wanted(state.inventory)[host.name]
    narration.see(host, {"wanted": wanted_json(wanted.spec)})
    probe = observe(host, wanted.spec)
    if probe.broken_packages:
        # Within a transaction packages look as if it had failed; it may be that of a job of ours that goes on.
        narration.say(host, "packages are half-configured: looking again once no package manager is at work")
        with ctx_host.use(host):
            run(state, host, quiet_script(), timeout=LOCK_SECONDS + 60)
        probe = observe(host, wanted.spec)
    narration.see(host, seen_json(host.name, probe))
    facts = read_models(state, host, wanted, probe)
    narration.see(host, {"models": canonical(facts)})
    return Draft(host, wanted, probe, facts, make_plan(host.name, wanted.spec, probe, facts, wanted.locks))


def drafts(state: State) -> Iterator[Draft]:
    """The drafts of all hosts of the run that serve something, in the inventory's order; refused ones are left out."""
    for host in hosts_of_run(state):
        if all_wanted(state.inventory)[host.name].spec.hermes_services:
            try:
                yield draft(state, host)
            except HermeionError:
                continue
