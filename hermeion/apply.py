"""From an inventory and a connected host to what has to be done there: the edge between core and pyinfra."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from hermeion import narration, presentation, pulls
from hermeion.answers import parse_answers
from hermeion.checks import check_plan
from hermeion.drafts import Draft, draft, observe
from hermeion.drivers import check_image_cuda
from hermeion.errors import ApplyError, HermeionError, PlacementError
from hermeion.facts import run_or_fail
from hermeion.hosts import reconcile
from hermeion.jobs import Work, start_script
from hermeion.operations import RUN, Judgement
from hermeion.planner import make_plan
from hermeion.plans import Plan, RuntimePlan, Service
from hermeion.probe import Probe
from hermeion.registry import ImageFacts, image_question, read_image
from hermeion.resources import share
from hermeion.rooms import check_room
from hermeion.runtime import decide_runtime, gpu_access
from hermeion.scripts.service import answer_script
from hermeion.sources import Sources, combine, settle
from hermeion.stages import Stages, find_stages, has_engine
from hermeion.wanted import Wanted


@dataclass(slots=True)
class Target:
    """One host with its plan and what is left to do.

    ``plan`` gains the GPUs' UUIDs once a driver answers: :meth:`refresh` makes it anew and compares.

    Attributes:
        draft: As it was found when the run began.
        probe: As it was seen last.
        works: By job, those that go on while other stages are at work.
        again: Scripts that a reboot undoes, besides.
    """

    state: State
    draft: Draft
    probe: Probe
    plan: Plan
    stages: Stages
    sources: dict[str, Sources]
    works: dict[str, Work] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)

    @property
    def host(self) -> Host:
        """The host."""
        return self.draft.host

    @property
    def wanted(self) -> Wanted:
        """What the inventory wants of it."""
        return self.draft.wanted

    @property
    def pending(self) -> dict[str, tuple[str, ...]]:
        """Stages with something to do."""
        return self.stages.pending

    def _plan(self) -> Plan:
        return make_plan(self.host.name, self.wanted.spec, self.probe, self.draft.facts, self.wanted.locks)

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

    def once(self, job: str, make: Callable[[], Work]) -> Work:
        """What a job does that is begun now and waited for later: the same both times, whatever was learnt between."""
        if job not in self.works:
            self.works[job] = make()
        return self.works[job]

    def begin(self, job: str, make: Callable[[], Work]) -> str:
        """What starts such a job."""
        return start_script(job, self.once(job, make), run=RUN)

    def begun(self) -> tuple[str, ...]:
        """What starts all of them again, after a reboot."""
        return (*(start_script(job, work, run=RUN) for job, work in self.works.items()), *self.again)

    @property
    def docker_first(self) -> bool:
        """Whether Docker is installed before the driver, so that images come while the driver is built.

        Not where it changes what runs, or hands out GPUs by a runtime of the toolkit, which comes with the driver.
        """
        lacks = any(service.image and not has_engine(service, self.probe) for service in self.plan.services)
        bare = self.probe.docker is None and gpu_access(self.probe) == "cdi"
        return bool(lacks and bare and {"driver", "runtime"} <= set(self.pending))

    @property
    def images_can_come(self) -> bool:
        """Whether Docker can pull before the runtime stage, and is not restarted by it."""
        return self.docker_first or "runtime" not in self.pending

    def docker_alone(self) -> RuntimePlan:
        """The part of the runtime that needs no driver."""
        whole = self.decide_runtime(driver_changes=True)
        return whole.model_copy(update={"toolkit": (), "remove": (), "specification": False})

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


def _settled(plan: Plan, sources: dict[str, Sources]) -> Plan:
    services = tuple(
        settle(service, sources[service.name]) if service.name in sources else service for service in plan.services
    )
    return plan.model_copy(update={"services": services})


def _with_remarks(plan: Plan, remarks: tuple[str, ...]) -> Plan:
    """The plan with more to say about its driver, each thing once."""
    said = tuple(dict.fromkeys((*plan.driver.remarks, *remarks)))
    return plan.model_copy(update={"driver": plan.driver.model_copy(update={"remarks": said})})


def _ask(state: State, own: Draft, service: Service) -> Sources | None:
    """What the sources say about a service; ``None``: all that it needs is on the host."""
    host, wanted = own.host, own.wanted
    complete = pulls.has_weights(own, service)
    if complete and has_engine(service, own.probe):
        return None
    image = None if has_engine(service, own.probe) else service.image
    revision, files = (str(service.revision), ()) if complete else pulls.ask(state, own, service)
    found = ImageFacts(digest=service.image.digest) if service.image else ImageFacts()
    if image:
        lines = run_or_fail(state, host, image_question(service, ca=wanted.ca), "asking the registry")
        found = read_image(host.name, service, parse_answers(lines))
    return combine(revision, files, found)


def prepare(state: State, host: Host, wanted: Wanted) -> Target:
    """Probe, plan, judge, and ask the sources where something is to be pulled. Changes nothing.

    Raises:
        HermeionError: This host cannot have what is wanted; the message says why and what to do.
    """
    own = draft(state, host)
    host = own.host
    spec, probe = wanted.spec, own.probe
    for finding in check_plan(own.plan, reconcile(host.name, probe)):
        if finding.severity == "error":
            raise PlacementError(f"{finding.subject}: {finding.message}")
    asked = {service.name: _ask(state, own, service) for service in own.plan.services}
    sources = {name: found for name, found in asked.items() if found}
    plan = _settled(own.plan, sources)
    ways: dict[str, str] = {}
    for before, service in zip(own.plan.services, plan.services, strict=True):
        if not (found := sources.get(service.name)):
            continue
        remarks = check_image_cuda(host.name, service, found.cuda, found.requires, plan.driver)
        plan = _with_remarks(plan, remarks)
        route = None if pulls.has_weights(own, service) else pulls.expect(state, own, before, service)
        check_room(host.name, service, found, probe, pulls=route is not None and route.kind != "shared")
        if route:
            ways[service.variant] = pulls.route_text(route)
    stages = find_stages(spec, plan, probe, templates=share("templates"), ca=wanted.ca)
    narration.keep(host, {"plan": plan.to_json(), "pending": stages.pending})
    narration.say(host, presentation.plan_text(plan, stages, ways))
    target = Target(state, own, probe, plan, stages, sources)
    pulls.register(target)
    return target
