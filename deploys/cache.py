"""The cache stage: weights at their commit, checked byte by byte."""

from functools import partial

from hermeion import operations
from hermeion.apply import Target
from hermeion.plans import Service
from hermeion.scripts.cache import cache_script


def _weights(target: Target, service: Service) -> str:
    wanted = target.wanted
    sources = target.sources[service.name]
    return cache_script(wanted.spec, target.probe, service, sources, ca=wanted.ca, keys=wanted.keys, token=wanted.token)


def apply(target: Target) -> None:
    """Pull the weights of every service that lacks them; what lies in a folder of the host's own is left alone."""
    for service in target.plan.services:
        if service.path or target.probe.weights.get(service.snapshot) == "complete":
            continue
        operations.job(
            name=f"Cache: weights of {service.name}",
            job=f"weights-{service.name}",
            label=f"weights of {service.variant}",
            script=partial(_weights, target, service),
        )
