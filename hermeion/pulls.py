"""The weights of a run: who pulls them, who copies them from whom, and the jobs that bring them.

One host of the run asks a source about a repository and pulls it; the others copy from hosts that have it
(:mod:`hermeion.routes`). What is decided here is decided from the drafts of all hosts, so every host decides the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pyinfra.api.state import State
from pyinfra.context import ctx_host

from hermeion import narration
from hermeion.answers import Answer, hub_url, parse_answers
from hermeion.drafts import Draft, ask_once, drafts, is_final
from hermeion.errors import ApplyError
from hermeion.facts import run, run_or_fail
from hermeion.jobs import Work, secrets_folder
from hermeion.operations import RUN
from hermeion.plans import Service
from hermeion.routes import Candidate, Route, find_routes, store_of
from hermeion.runtime import CA_PATH
from hermeion.s3 import is_bucket, parse_place, rclone_config
from hermeion.scripts.sharing import serve_script, stop_script
from hermeion.scripts.weights import job_name, weights_work
from hermeion.sources import HubFile, read_weights, source_of, weights_question

if TYPE_CHECKING:
    from hermeion.apply import Target

__all__ = ["ask", "begin", "ended", "expect", "job_name", "lacking", "register", "work"]

USER, PASSWORD = f"run-{RUN}", secrets.token_hex(24)
"""With which hosts of this run copy from each other; nobody needs them after the run."""


PATIENCE = 900
"""Seconds that a host waits for another one, besides the time that a reboot may take."""


class _Sharing(NamedTuple):
    """One snapshot in a run.

    Attributes:
        serving: By host, those that still copy from it; one that is left by all of them stops serving.
        opened: Hosts from which others may copy by now.
    """

    routes: dict[str, Route]
    serving: dict[str, set[str]]
    opened: set[str]


_TARGETS: dict[str, Target] = {}
_SHARINGS: dict[str, _Sharing] = {}
_QUESTIONS: dict[tuple[str, str, str | None], str] = {}
_ASKING: dict[str, list[Draft]] = {}
_EXPECTED: dict[tuple[str, str], dict[str, Route]] = {}
"""What is found out once: with 200 hosts each of them would find out the same of all others."""


def _question(draft: Draft, service: Service) -> str:
    key = (draft.host.name, service.name, service.revision)
    if key not in _QUESTIONS:
        wanted = draft.wanted
        _QUESTIONS[key] = weights_question(wanted.spec, service, ca=wanted.ca, token=wanted.token, access=wanted.access)
    return _QUESTIONS[key]


def has_weights(draft: Draft, service: Service) -> bool:
    """Whether a service's weights are on its host, complete, or in a folder that is served as it is."""
    return service.path is not None or bool(
        service.revision and draft.probe.weights.get(service.snapshot) == "complete"
    )


def _bytes_there(draft: Draft, service: Service) -> int:
    return sum(draft.probe.blobs.get(f"models--{service.repo.replace('/', '--')}", {}).values())


def _asking(state: State, script: str) -> list[Draft]:
    """The hosts that lack what a question is about: those that have most of it first, else in the inventory's order."""
    if script not in _ASKING:
        found = [
            (_bytes_there(draft, service), draft)
            for draft in drafts(state)
            for service in draft.plan.services
            if not has_weights(draft, service) and _question(draft, service) == script
        ]
        _ASKING[script] = [draft for _, draft in sorted(found, key=lambda pair: -pair[0])]
    return _ASKING[script]


def ask(state: State, draft: Draft, service: Service) -> tuple[str, tuple[HubFile, ...]]:
    """Commit and files of a service's weights: asked by one host for all that want the same.

    Raises:
        SourceError: The source refuses, lacks or contradicts what is wanted, or cannot be asked.
        ApplyError: The host could not ask at all.
    """
    script = _question(draft, service)
    what = f"asking for the weights of {service.name}"

    def first() -> list[Any]:
        return [asking.host for asking in _asking(state, script)] or [draft.host]

    answers: Mapping[str, Answer] = ask_once(f"weights {script}", state, first, script, what)
    if not is_final(dict(answers)):
        with ctx_host.use(draft.host):
            answers = parse_answers(run_or_fail(state, draft.host, script, what))
    return read_weights(draft.host.name, draft.wanted.spec, service, answers)


def _candidate(draft: Draft, service: Service) -> Candidate:
    store, shared = store_of(draft.host.name, draft.probe.disks[service.cache])
    return Candidate(
        host=draft.host.name,
        store=store,
        shared=shared,
        addresses=draft.probe.addresses,
        complete=draft.probe.weights.get(service.snapshot) == "complete",
        sharing=draft.wanted.spec.hermes_sharing,
    )


def _routes(state: State, service: Service, script: str, wants: Callable[[Draft], bool]) -> dict[str, Route]:
    """How each host that wants or has a service's weights comes to them."""
    candidates = [
        _candidate(draft, service.model_copy(update={"cache": draft.wanted.spec.hermes_cache}))
        for draft in drafts(state)
        if wants(draft) or draft.probe.weights.get(service.snapshot) == "complete"
    ]
    origin = next((asking.host.name for asking in _asking(state, script)), None)
    routes = find_routes(candidates, origin)
    for draft in drafts(state):
        route = routes.get(draft.host.name)
        if route and route.kind == "peers" and _has_folder(draft, service):
            # What lies on the host itself is nearer than any other host.
            routes[draft.host.name] = route.model_copy(update={"kind": "source", "upstreams": ()})
    return routes


def _has_folder(draft: Draft, service: Service) -> bool:
    source = source_of(draft.wanted.spec, service)
    return source is not None and not is_bucket(source)


def expect(state: State, draft: Draft, unsettled: Service, settled: Service) -> Route:
    """How a host will come to a service's weights, as far as can be said before every host has been judged."""
    script = _question(draft, unsettled)

    def wants(other: Draft) -> bool:
        return any(
            service.path is None and (service.snapshot == settled.snapshot or _question(other, service) == script)
            for service in other.plan.services
        )

    key = (script, settled.snapshot)
    if key not in _EXPECTED:
        _EXPECTED[key] = _routes(state, settled, script, wants)
    return _EXPECTED[key][draft.host.name]


def register(target: Target) -> None:
    """Tell that a host takes part: it was planned, judged, and not refused."""
    _TARGETS[target.host.name] = target


def lacking(target: Target) -> list[Service]:
    """The services whose weights have to come, one for each snapshot."""
    services = {
        service.snapshot: service
        for service in reversed(target.plan.services)
        if service.path is None and target.draft.probe.weights.get(service.snapshot) != "complete"
    }
    return [service for service in target.plan.services if service in services.values()]


def _sharing(target: Target, service: Service) -> _Sharing:
    """How the hosts that take part come to a snapshot: decided once."""
    if service.snapshot not in _SHARINGS:
        unsettled = next(own for own in target.draft.plan.services if own.name == service.name)
        taking = {
            name
            for name, other in _TARGETS.items()
            if any(own.snapshot == service.snapshot and own.path is None for own in other.plan.services)
        }
        routes = _routes(
            target.state, service, _question(target.draft, unsettled), lambda draft: draft.host.name in taking
        )
        serving: dict[str, set[str]] = {}
        for host, route in routes.items():
            for upstream in route.upstreams:
                serving.setdefault(upstream.host, set()).add(host)
        _SHARINGS[service.snapshot] = _Sharing(routes, serving, set())
    return _SHARINGS[service.snapshot]


def route_text(route: Route) -> str:
    """Where a host's weights come from, for people."""
    if route.kind == "shared":
        return f"{route.waits_for} writes them into the same filesystem"
    if route.kind == "peers":
        first = route.upstreams[0]
        return f"copied from {first.host} ({first.address}), which has or gets them"
    return f"pulled{f': {route.remark}' if route.remark else ''}"


def _origin(target: Target, service: Service) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """The source itself: as the puller's job names it, its secrets, and the programs it needs."""
    wanted, folder = target.wanted, secrets_folder(job_name(service))
    source = source_of(wanted.spec, service)
    if is_bucket(source):
        place = parse_place(str(source))
        bucket = {"kind": "bucket", "remote": f"s3://{place.bucket}/{place.prefix}".rstrip("/")}
        config = rclone_config(wanted.spec, wanted.access)
        bucket["config_file"] = f"{folder}/rclone.conf"
        return bucket | {"ca": CA_PATH if wanted.ca is not None else None}, {"rclone.conf": config}, ("rclone",)
    if source:
        return {"kind": "folder", "path": source}, {}, ()
    if wanted.token is None:
        return _hub(target), {}, ()
    return _hub(target) | {"token_file": f"{folder}/token"}, {"token": wanted.token}, ()


def _hub(target: Target) -> dict[str, Any]:
    """The Hub, asked by nobody in particular."""
    ca = CA_PATH if target.wanted.ca is not None else None
    return {"kind": "hub", "endpoint": hub_url(target.wanted.spec), "ca": ca, "token_file": None}


def work(target: Target, service: Service) -> Work:
    """What brings a service's weights to this host.

    Raises:
        ApplyError: Nobody said which files there are.
    """
    route = _sharing(target, service).routes[target.host.name]
    packages: Sequence[str] = ()
    secret: dict[str, str] = {}
    # Whoever is waited for may reboot meanwhile.
    patience = target.wanted.spec.hermes_driver.reboot_timeout + PATIENCE
    if route.kind == "peers":
        folder = secrets_folder(job_name(service))
        peers = [upstream.to_json() for upstream in route.upstreams]
        given = {"kind": "peers", "peers": peers, "password_file": f"{folder}/peers", "patience": patience}
        secret, packages = {"peers": f"{USER}:{PASSWORD}"}, ("rsync",)
        # Where no token is in the run, the last way out is open: nobody's secret goes where it should not.
        public = target.wanted.token is None and not source_of(target.wanted.spec, service)
        entries = [given, *([_hub(target)] if public else [])]
    elif route.kind == "shared":
        entries = [{"kind": "shared", "host": route.waits_for, "patience": patience}]
    else:
        entry, secret, packages = _origin(target, service)
        entries = [entry]
    found = target.sources.get(service.name)
    if found is None:
        raise ApplyError(f"{target.host.name}: {service.name}: nobody was asked for the files of {service.repo}")
    wanted = target.wanted
    return weights_work(
        wanted.spec,
        target.draft.probe,
        service,
        found.files,
        entries,
        ca=wanted.ca,
        keys=wanted.keys,
        secrets=secret,
        packages=packages,
    )


def begin(target: Target) -> Sequence[str]:
    """What starts the jobs that bring this host's weights; and others may copy them from here from now on.

    A host that has the weights and nothing to do itself is opened by whoever copies from it.

    Raises:
        ApplyError: Nobody can copy from a host, or nobody said which files there are.
    """
    scripts: list[str] = []
    for service in lacking(target):
        sharing = _sharing(target, service)
        route = sharing.routes[target.host.name]
        narration.say(target.host, f"  weights of {service.variant}: {route_text(route)}")
        for name in (target.host.name, *(upstream.host for upstream in route.upstreams)):
            _open(target, service, name)
        scripts.append(target.begin(job_name(service), partial(work, target, service)))
    return scripts


def _draft_of(target: Target, name: str) -> Draft:
    return next(draft for draft in drafts(target.state) if draft.host.name == name)


def _module(service: Service) -> str:
    return f"models--{service.repo.replace('/', '--')}"


def _open(target: Target, service: Service, name: str) -> None:
    """See that a host gives its weights to those that copy from it; once a run."""
    sharing = _sharing(target, service)
    doors = sharing.routes[name].serves
    if not doors or name in sharing.opened:
        return
    sharing.opened.add(name)
    draft = _draft_of(target, name)
    script = serve_script(
        draft.wanted.spec,
        draft.probe,
        doors,
        cache=draft.wanted.spec.hermes_cache,
        module=_module(service),
        user=USER,
        password=PASSWORD,
        keys=draft.wanted.keys,
    )
    if name in _TARGETS:
        _TARGETS[name].again.append(script)
    with ctx_host.use(draft.host):
        ok, lines, error = run(target.state, draft.host, script)
    if not ok:
        said = next((line[8:] for line in lines if line.startswith("##error ")), error.strip() or "no output")
        raise ApplyError(f"{name}: {said}")


def ended(target: Target, service: Service) -> None:
    """A host has its weights, or will not get them: whoever served it alone stops serving."""
    sharing = _sharing(target, service)
    for upstream in sharing.routes[target.host.name].upstreams:
        left = sharing.serving[upstream.host]
        left.discard(target.host.name)
        if not left:
            host = _draft_of(target, upstream.host).host
            script = stop_script(sharing.routes[upstream.host].serves, module=_module(service), user=USER)
            with ctx_host.use(host):
                run(target.state, host, script)
