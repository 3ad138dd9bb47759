"""The cache stage: weights at their commit, checked byte by byte. They come while other stages are at work."""

from functools import partial

from hermeion import operations, pulls
from hermeion.apply import Target


def begin(target: Target) -> None:
    """Start what brings the weights to this host, and what gives them to others; nobody waits for it here."""
    operations.begin(name="Cache: begin with the weights", scripts=partial(pulls.begin, target))


def apply(target: Target) -> None:
    """Wait for the weights of every service that lacks them; what lies in a folder of the host's own is left alone."""
    for service in pulls.lacking(target):
        operations.job(
            name=f"Cache: weights of {service.name}",
            job=pulls.job_name(service),
            label=f"weights of {service.variant}",
            work=partial(pulls.work, target, service),
            once=True,
            ended=partial(pulls.ended, target, service),
        )
