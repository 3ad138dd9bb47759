"""The edge between core and pyinfra: what stops a host between its stages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hermeion import apply, facts
from hermeion.apply import Target
from hermeion.drafts import Draft
from hermeion.errors import ApplyError
from hermeion.planner import make_plan
from hermeion.probe import Probe, parse_probe
from hermeion.stages import Stages
from hermeion.wanted import Wanted
from tests.unit.builders import H100, NAME, RTX_4090, bare_text, make_probe, make_sources, make_spec, uuid_of


def target(monkeypatch: pytest.MonkeyPatch, then: Probe, cards: tuple[str, ...] = (RTX_4090,)) -> Target:
    """A bare host that was planned, and that answers ``then`` once its driver is there."""
    spec = make_spec()
    before = parse_probe(bare_text(cards).splitlines())
    plan = make_plan(NAME, spec, before)
    sources = {service.name: make_sources(service) for service in plan.services}
    plan = apply._settled(plan, sources)
    monkeypatch.setattr(apply, "observe", lambda *_: then)
    host: Any = SimpleNamespace(name=NAME)
    state: Any = SimpleNamespace()
    wanted = Wanted(spec=spec, ca=None, keys={}, locks={}, token="secret")
    return Target(state, Draft(host, wanted, before, {}, plan), before, plan, Stages(), sources)


def test_driver_completes_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the driver answers, the plan has its UUIDs and is final."""
    it = target(monkeypatch, make_probe())

    assert None is it.refresh()
    assert [uuid_of(0)] == [gpu.uuid for service in it.final() for gpu in service.gpus]


def test_plan_is_not_final_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """No release is written from a plan that is not final."""
    with pytest.raises(ApplyError) as caught:
        target(monkeypatch, make_probe()).final()

    assert "gpu-1: hermes: the plan is not final" == str(caught.value)


def test_driver_contradicts_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card with less memory than its model has is found before the service is touched, both sides shown."""
    it = target(monkeypatch, make_probe(totals={0: 23000}))

    assert (
        "gpu-1: hermes: the driver contradicts the plan: gpus was planned as [{'pci_address': '0000:01:00.0', 'uuid': "
        "None, 'model': 'NVIDIA GeForce RTX 4090', 'memory': 25757220864}], with the driver it is [{'pci_address': "
        "'0000:01:00.0', 'uuid': None, 'model': 'NVIDIA GeForce RTX 4090', 'memory': 24117248000}]. Nothing of the "
        "service was changed. Run again: the next plan is made from what the driver says." == it.refresh()
    )


def test_gpu_fell_off_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the driver sees fewer GPUs than the bus had, that is the message."""
    full = make_probe((H100, H100))
    it = target(monkeypatch, full.model_copy(update={"smi": (full.smi or ())[:1]}), (H100, H100))

    assert (it.refresh() or "").startswith("gpu-1: the driver sees 1 GPUs (0000:01:00.0), the PCI bus has 2 ")


def test_token_is_not_printed() -> None:
    """What is wanted can be printed without the token."""
    assert "secret" not in repr(Wanted(spec=make_spec(), ca=None, keys={}, locks={}, token="secret"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("mktemp: No space left\n", "gpu-1: asking failed: mktemp: No space left"),
        ("", "gpu-1: asking failed: no output"),
    ],
)
def test_question_that_fails(monkeypatch: pytest.MonkeyPatch, error: str, message: str) -> None:
    """A script that fails on the host is told with its own words."""
    monkeypatch.setattr(facts, "run", lambda *_, **__: (False, [], error))
    host: Any = SimpleNamespace(name=NAME)
    state: Any = SimpleNamespace()
    with pytest.raises(ApplyError) as caught:
        facts.run_or_fail(state, host, "true", "asking")

    assert message == str(caught.value)
