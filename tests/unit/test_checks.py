"""Judging a plan without knowing how it was made."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.checks import Finding, check_plan
from hermeion.hosts import Host, reconcile
from hermeion.plans import Plan, Service
from tests.unit.builders import NAME, RTX_4090, final_plan, image_of, make_probe, uuid_of

HERMES = {"name": "hermes", "model": "hermes-3-8b", "gpus": 1}
SECOND = {"name": "second", "model": "hermes-3-8b", "gpus": 1, "port": 8001}
GPUS = (RTX_4090, RTX_4090)


def the_host(cards: tuple[str, ...] = GPUS, **answers: Any) -> Host:
    """A host with two GPUs."""
    return reconcile(NAME, make_probe(cards, **answers))


def the_plan(**changes: Any) -> Plan:
    """A plan with one service, changed as said."""
    plan = final_plan(HERMES, gpus=GPUS)
    return plan.model_copy(update={"services": (plan.services[0].model_copy(update=changes),)})


def service() -> Service:
    """The service of the plan as the planner made it."""
    return the_plan().services[0]


def test_good_plan() -> None:
    """A plan of two services that keep off each other has no finding."""
    assert () == check_plan(final_plan(HERMES, SECOND, gpus=GPUS), the_host())


@pytest.mark.parametrize(
    ("changes", "host", "subject", "message"),
    [
        ({}, the_host(()), "gpus", "no GPU at 0000:01:00.0 any more"),
        (
            {"gpus": (service().gpus[0].model_copy(update={"uuid": "GPU-old"}),)},
            the_host(),
            "gpus",
            f"the GPU at 0000:01:00.0 is {uuid_of(0)}, planned was GPU-old",
        ),
        (
            {"kv_needed": 10**12},
            the_host(),
            "memory",
            f"the KV cache has {service().memory.kv_cache} bytes, a context of {service().context} tokens needs "
            "1000000000000",
        ),
        (
            {"kv_tokens": 999999},
            the_host(),
            "kv_tokens",
            f"promises 999999 tokens, {service().memory.kv_tokens} fit",
        ),
        ({"revision": "main"}, the_host(), "revision", "not a commit: main"),
        (
            {"image": image_of(service()).model_copy(update={"digest": "latest"})},
            the_host(),
            "image",
            "not a digest: latest",
        ),
        (
            {"config": {**service().config, "trust-remote-code": True}},
            the_host(),
            "config",
            "trust-remote-code is never set",
        ),
        (
            {"config": {**service().config, "trust_remote_code": False}},
            the_host(),
            "config",
            "trust-remote-code is never set",
        ),
    ],
)
def test_one_wrong_thing(changes: dict[str, Any], host: Host, subject: str, message: str) -> None:
    """One wrong thing is one error, with its path."""
    expected = (Finding(severity="error", subject=f"gpu-1/hermes/{subject}", message=message),)

    assert expected == check_plan(the_plan(**changes), host)


def test_unresolved_plan() -> None:
    """What is not yet resolved is not wrong."""
    plan = the_plan(revision=None, image=image_of(service()).model_copy(update={"digest": None}))

    assert () == check_plan(plan, the_host(driver=None))


def test_services_in_each_others_way() -> None:
    """Two services on one GPU and one port are told, in order of their paths."""
    first = service()
    both = the_plan().model_copy(update={"services": (first, first.model_copy(update={"name": "second"}))})

    assert [
        ("gpu-1/second/gpus", "0000:01:00.0 belongs to hermes already"),
        ("gpu-1/second/port", "port 8000 belongs to hermes already"),
    ] == [(finding.subject, finding.message) for finding in check_plan(both, the_host())]
