"""The service stage: image or native engine, release, start, answer."""

from functools import partial

from hermeion import operations
from hermeion.apply import Target
from hermeion.engines import ENGINES
from hermeion.plans import Service
from hermeion.render import render_files
from hermeion.resources import share
from hermeion.scripts.engine import engine_script
from hermeion.scripts.service import activate_script, image_script, release_script
from hermeion.stages import has_engine


def _final(target: Target, name: str) -> Service:
    return next(service for service in target.final() if service.name == name)


def _engine(target: Target, service: Service) -> str:
    if service.image:
        return image_script(service.image, target.sources[service.name].image_bytes)
    wanted = target.wanted
    lock = wanted.locks.get(service.name)
    return engine_script(wanted.spec, target.probe, service, ca=wanted.ca, keys=wanted.keys, lock=lock)


def _release(target: Target, name: str) -> str:
    service = _final(target, name)
    return release_script(service, render_files(service, share("templates")))


def _activate(target: Target, name: str) -> str:
    return activate_script(_final(target, name))


def _explain(service: Service, log: str) -> str | None:
    failure = ENGINES[service.engine].read_log(log).failure
    return f"{service.name}: {failure}" if failure else None


def apply(target: Target) -> None:
    """Pull and write everything first; what runs is touched last, and only the services that are not as planned."""
    services = [service for service in target.plan.services if service.name in target.stages.services]
    for service in services:
        if not has_engine(service, target.probe):
            operations.job(
                name=f"Service: engine of {service.name}",
                job=f"engine-{service.name}",
                label=f"{'image' if service.image else 'engine'} {service.runs_from}",
                script=partial(_engine, target, service),
            )
    for service in services:
        operations.job(
            name=f"Service: release of {service.name}",
            job=f"release-{service.name}",
            label="release",
            script=partial(_release, target, service.name),
        )
    for service in services:
        operations.job(
            name=f"Service: start {service.name} and wait until it answers",
            job=f"start-{service.name}",
            label=f"start of {service.name}",
            script=partial(_activate, target, service.name),
            explain=partial(_explain, service),
        )
