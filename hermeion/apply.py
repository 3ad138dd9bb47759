"""From an inventory and a connected host to what has to be done there: the edge between core and pyinfra."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from hermeion import narration, presentation
from hermeion.answers import parse_answers
from hermeion.checks import check_plan
from hermeion.demands import check_inventory
from hermeion.drivers import check_image_cuda
from hermeion.errors import ApplyError, HermeionError, InventoryError, PlacementError
from hermeion.facts import HostProbe, run_or_fail
from hermeion.hosts import reconcile
from hermeion.inventory import HostSpec, parse_host_spec
from hermeion.model_files import model_question, read_model
from hermeion.named_files import read_locks, read_named
from hermeion.operations import Judgement
from hermeion.planner import make_plan, unread_models
from hermeion.plans import Plan, RuntimePlan, Service
from hermeion.probe import Probe
from hermeion.reports import refusal_json, seen_json, wanted_json
from hermeion.resources import share
from hermeion.runtime import decide_runtime
from hermeion.saved_hosts import canonical
from hermeion.scripts.service import answer_script
from hermeion.sources import (
    Sources,
    check_room,
    question_script,
    read_answers,
    settle,
)
from hermeion.stages import Stages, find_stages, has_engine
from hermeion.variants import ModelFacts


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the inventory wants of a host, with the texts of the files it names on this machine.

    Attributes:
        ca: Certificates of ``hermes_mirrors/ca``, or ``None``.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
        locks: Locked requirements of native engines, as text, by service.
        token: Token for the Hub from the environment variable HF_TOKEN, or ``None``.
    """

    spec: HostSpec
    ca: str | None
    keys: Mapping[str, str]
    locks: Mapping[str, str]
    token: str | None = field(repr=False)

    @classmethod
    def of(cls, inventory: Inventory, host: Host) -> Wanted:
        """Check the data of every host of the run, and read this host's.

        Raises:
            InventoryError: One line per problem, of all hosts.
        """
        problems: list[str] = []
        own: HostSpec | None = None
        for other in inventory:
            try:
                data: dict[str, object] = other.data.dict()  # type: ignore[no-untyped-call]
                spec = parse_host_spec(other.name, data)
                check_inventory(other.name, spec)
                _files(other.name, spec)
            except InventoryError as error:
                problems += str(error).splitlines()
                continue
            if other is host or other.name == host.name:
                own = spec
        if problems or own is None:
            raise InventoryError("\n".join(["the inventory cannot be used:", *dict.fromkeys(problems)]))
        ca, keys, locks = _files(host.name, own)
        return cls(spec=own, ca=ca, keys=keys, locks=locks, token=os.environ.get("HF_TOKEN"))

    def refused(self, host: Host, error: HermeionError) -> None:
        """Remember and show why a host is refused."""
        message = str(error)
        narration.NOTES[host.name] = message
        narration.keep(host, refusal_json(error))
        narration.say(host, presentation.refusal(message.removeprefix(f"{host.name}: ")))


def _files(host: str, spec: HostSpec) -> tuple[str | None, dict[str, str], dict[str, str]]:
    """Texts of the files that the inventory names: certificates, keys of repositories, locks of native engines."""
    mirrors = spec.hermes_mirrors
    ca = read_named(host, "hermes_mirrors/ca", mirrors.ca)
    keys = {}
    for kind, group in (("apt", mirrors.apt), ("rpm", mirrors.rpm)):
        for name in type(group).model_fields:
            path = getattr(getattr(group, name), "key", None)
            if (text := read_named(host, f"hermes_mirrors/{kind}/{name}/key", path)) is not None:
                keys[f"{kind}/{name}"] = text
    return ca, keys, read_locks(host, spec)


@dataclass(slots=True)
class Target:
    """One host with its plan and what is left to do.

    ``plan`` gains the GPUs' UUIDs once a driver answers: :meth:`refresh` makes it anew and compares.
    """

    state: State
    host: Host
    wanted: Wanted
    probe: Probe
    plan: Plan
    stages: Stages
    sources: dict[str, Sources]
    facts: dict[str, ModelFacts]

    @property
    def pending(self) -> dict[str, tuple[str, ...]]:
        """Stages with something to do."""
        return self.stages.pending

    def _plan(self) -> Plan:
        return make_plan(self.host.name, self.wanted.spec, self.probe, self.facts, self.wanted.locks)

    def refresh(self) -> str | None:
        """Probe again and make the plan again; ``None`` if every decision is the same, else both sides."""
        self.probe = observe(self.host, self.wanted.spec)
        try:
            plan = _settled(self._plan(), self.sources)
        except HermeionError as error:
            return str(error)
        for old, new in zip(self.plan.services, plan.services, strict=True):
            for key, value in old.decisions.items():
                if new.decisions[key] != value:
                    return (
                        f"{self.host.name}: {old.name}: the driver contradicts the plan: {key} was planned as "
                        f"{value}, with the driver it is {new.decisions[key]}. Nothing of the service was changed. "
                        "Run again: the next plan is made from what the driver says."
                    )
        self.plan = plan
        return None

    def judge(self) -> Judgement:
        """Probe again and decide about the driver again: it is well, a reboot is due, or must not be."""
        self.probe = observe(self.host, self.wanted.spec)
        try:
            driver = self._plan().driver
        except HermeionError as error:
            return Judgement(refusal=str(error))
        return Judgement() if driver.action == "leave alone" else Judgement(due=driver.reboot or driver.reason)

    def decide_runtime(self, *, driver_changes: bool) -> RuntimePlan:
        """What has to be done to Docker and the toolkit, from what the host was last seen to be like."""
        uuids = frozenset(gpu.uuid for service in self.plan.services for gpu in service.gpus if gpu.uuid)
        spec = self.wanted.spec
        return decide_runtime(self.host.name, spec, self.probe, uuids=uuids, driver_changes=driver_changes)

    def serving(self) -> dict[str, str]:
        """Services of ours that run on the host, each with a script that ends with 0 once it answers."""
        scripts = {}
        for name in self.probe.serving:
            try:
                scripts[name] = answer_script(Service.model_validate(self.probe.releases[name][1]))
            except (KeyError, ValidationError):  # written by another version of Hermeion
                scripts[name] = f"systemctl is-active --quiet hermeion-{name}.service"
        return scripts

    def final(self) -> Iterable[Service]:
        """The services, every choice made.

        Raises:
            ApplyError: Something is still unresolved.
        """
        for service in self.plan.services:
            if not service.is_final:
                raise ApplyError(f"{self.host.name}: {service.name}: the plan is not final")
        return self.plan.services


def observe(host: Host, spec: HostSpec) -> Probe:
    """The probe of a host, fresh.

    Raises:
        PlacementError: The host gave no answer that can be read.
    """
    probe: Probe | None = host.get_fact(HostProbe, cache=spec.hermes_cache, _ignore_errors=True)
    if not isinstance(probe, Probe):
        raise PlacementError(f"{host.name}: the probe gave no answer. Log in and look whether `sh` works there.")
    return probe


def read_models(state: State, host: Host, wanted: Wanted, probe: Probe) -> dict[str, ModelFacts]:
    """What the files of own models say, for those that the plan needs and the inventory does not describe.

    Raises:
        HermeionError: A model cannot be read, is broken, or is of no known kind.
    """
    spec = wanted.spec
    entries = {entry.name: entry for entry in spec.hermes_catalog}
    facts = {}
    for name in unread_models(host.name, spec, probe, wanted.locks):
        script = model_question(spec, entries[name], ca=wanted.ca, token=wanted.token)
        lines = run_or_fail(state, host, script, f"asking about {name}")
        facts[name] = read_model(host.name, spec, entries[name], parse_answers(lines))
    return facts


def _settled(plan: Plan, sources: dict[str, Sources]) -> Plan:
    services = tuple(
        settle(service, sources[service.name]) if service.name in sources else service for service in plan.services
    )
    return plan.model_copy(update={"services": services})


def _with_remarks(plan: Plan, remarks: tuple[str, ...]) -> Plan:
    """The plan with more to say about its driver, each thing once."""
    said = tuple(dict.fromkeys((*plan.driver.remarks, *remarks)))
    return plan.model_copy(update={"driver": plan.driver.model_copy(update={"remarks": said})})


def prepare(state: State, host: Host, wanted: Wanted) -> Target:
    """Probe, plan, judge, and ask the sources where something is to be pulled. Changes nothing.

    Raises:
        HermeionError: This host cannot have what is wanted; the message says why and what to do.
    """
    spec = wanted.spec
    narration.see(host, {"wanted": wanted_json(spec)})
    probe = observe(host, spec)
    narration.see(host, seen_json(host.name, probe))
    facts = read_models(state, host, wanted, probe)
    narration.see(host, {"models": canonical(facts)})
    plan = make_plan(host.name, spec, probe, facts, wanted.locks)
    for finding in check_plan(plan, reconcile(host.name, probe)):
        if finding.severity == "error":
            raise PlacementError(f"{finding.subject}: {finding.message}")
    sources: dict[str, Sources] = {}
    for service in plan.services:
        complete = service.path is not None or probe.weights.get(service.snapshot) == "complete"
        if service.revision and complete and has_engine(service, probe):
            continue
        script = question_script(spec, service, ca=wanted.ca, token=wanted.token)
        lines = run_or_fail(state, host, script, "asking the Hub and the registry")
        sources[service.name] = read_answers(host.name, spec, service, parse_answers(lines))
    plan = _settled(plan, sources)
    for service in plan.services:
        if found := sources.get(service.name):
            remarks = check_image_cuda(host.name, service, found.cuda, found.requires, plan.driver)
            plan = _with_remarks(plan, remarks)
            check_room(host.name, service, found, probe)
    stages = find_stages(spec, plan, probe, templates=share("templates"), ca=wanted.ca)
    narration.keep(host, {"plan": plan.to_json(), "pending": stages.pending})
    narration.say(host, presentation.plan_text(plan, stages))
    return Target(state, host, wanted, probe, plan, stages, sources, facts)
