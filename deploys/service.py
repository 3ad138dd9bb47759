"""The service stage: image, release, start, answer."""

from functools import partial

from hermeion import operations
from hermeion.apply import Target
from hermeion.plans import Service
from hermeion.render import render_files
from hermeion.resources import share
from hermeion.scripts.service import activate_script, image_script, release_script


def _final(target: Target, name: str) -> Service:
    return next(service for service in target.final() if service.name == name)


def _image(target: Target, service: Service) -> str:
    return image_script(service, target.sources[service.name].image_bytes)


def _release(target: Target, name: str) -> str:
    service = _final(target, name)
    return release_script(service, render_files(service, share("templates")))


def _activate(target: Target, name: str) -> str:
    return activate_script(_final(target, name))


def apply(target: Target) -> None:
    """Pull and write everything first; what runs is touched last, and only the services that are not as planned."""
    services = [service for service in target.plan.services if service.name in target.stages.services]
    for service in services:
        if service.image.reference not in target.probe.images:
            operations.job(
                name=f"Service: image of {service.name}",
                job=f"image-{service.name}",
                label=f"image {service.image.repository}:{service.image.tag}",
                script=partial(_image, target, service),
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
        )
