"""The service stage: image or native engine, release, start, answer."""

from collections.abc import Sequence
from functools import partial

from hermeion import operations
from hermeion.apply import Target
from hermeion.engines import ENGINES
from hermeion.jobs import Work
from hermeion.plans import Service
from hermeion.render import render_files
from hermeion.resources import share
from hermeion.scripts.engine import engine_script
from hermeion.scripts.service import activate_script, image_script, release_script
from hermeion.stages import has_engine


def _final(target: Target, name: str) -> Service:
    return next(service for service in target.final() if service.name == name)


def _lacking(target: Target) -> list[Service]:
    """The services that are to be changed and whose engine is not here yet."""
    services = [service for service in target.plan.services if service.name in target.stages.services]
    return [service for service in services if not has_engine(service, target.probe)]


def _engine(target: Target, service: Service) -> Work:
    if service.image:
        return Work(image_script(service.image, target.sources[service.name].image_bytes))
    wanted = target.wanted
    lock = wanted.locks.get(service.name)
    return Work(engine_script(wanted.spec, target.probe, service, ca=wanted.ca, keys=wanted.keys, lock=lock))


def _begin(target: Target) -> Sequence[str]:
    ready = [service for service in _lacking(target) if not service.image or target.images_can_come]
    return [target.begin(f"engine-{service.name}", partial(_engine, target, service)) for service in ready]


def _release(target: Target, name: str) -> Work:
    service = _final(target, name)
    return Work(release_script(service, render_files(service, share("templates"))))


def _activate(target: Target, name: str) -> Work:
    return Work(activate_script(_final(target, name)))


def _explain(service: Service, log: str) -> str | None:
    failure = ENGINES[service.engine].read_log(log).failure
    return f"{service.name}: {failure}" if failure else None


def begin(target: Target) -> None:
    """Start pulling images and installing engines, where it can be done yet; nobody waits for it here."""
    operations.begin(name="Service: begin with the engines", scripts=partial(_begin, target))


def apply(target: Target) -> None:
    """Pull and write everything first; what runs is touched last, and only the services that are not as planned."""
    services = [service for service in target.plan.services if service.name in target.stages.services]
    for service in _lacking(target):
        operations.job(
            name=f"Service: engine of {service.name}",
            job=f"engine-{service.name}",
            label=f"{'image' if service.image else 'engine'} {service.runs_from}",
            work=partial(target.once, f"engine-{service.name}", partial(_engine, target, service)),
            once=True,
        )
    for service in services:
        operations.job(
            name=f"Service: release of {service.name}",
            job=f"release-{service.name}",
            label="release",
            work=partial(_release, target, service.name),
        )
    for service in services:
        operations.job(
            name=f"Service: start {service.name} and wait until it answers",
            job=f"start-{service.name}",
            label=f"start of {service.name}",
            work=partial(_activate, target, service.name),
            explain=partial(_explain, service),
        )
