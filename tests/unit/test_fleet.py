"""From a report to what every face shows of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hermeion.errors import HermeionError, PlacementError, ProbeError
from hermeion.fleet import find_service, make_fleet, report_json
from hermeion.memory_terms import LETTERS
from hermeion.plans import MemoryBudget
from hermeion.reports import HostReport, refusal_json
from hermeion.views import Fleet
from tests.unit.builders import (
    L40S,
    OWN,
    RTX_4090,
    converged_answers,
    final_plan,
    make_probe,
    make_spec,
    uuid_of,
)
from tests.unit.planned import fleet, host, host_report, report


def test_states() -> None:
    """Hosts are planned, refused or not planned; from files nobody knows what is to do."""
    assert {
        "one": ("planned", None),
        "pipeline": ("planned", None),
        "weight-only": ("planned", None),
        "eight": ("planned", None),
        "refused": ("refused", None),
        "away": ("not planned", None),
    } == {view.name: (view.state, view.pending) for view in fleet().hosts}
    assert "could not connect" == host("away").message
    assert fleet().offline


@pytest.mark.parametrize(("pending", "state"), [({}, "nothing to do"), ({"cache": ["x is missing"]}, "to do")])
def test_states_of_hosts_that_were_looked_at(pending: dict[str, list[str]], state: str) -> None:
    """From hosts it is known whether anything is to do."""
    data = host_report("one", make_probe()) | {"pending": pending}
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0]

    assert (state, pending) == (view.state, {stage: list(reasons) for stage, reasons in (view.pending or {}).items()})


@pytest.mark.parametrize("name", ["one", "pipeline", "weight-only", "eight"])
def test_terms_add_up(name: str) -> None:
    """The parts of a GPU's memory are those of the plan, and add up to what CUDA sees of it."""
    for service in host(name).services:
        assert service.service.memory.device == service.device_bytes == sum(term.bytes for term in service.terms)
        assert {term.name: term.bytes for term in service.terms} == {
            name: size for name, size in service.service.memory.terms.items() if size
        }
        assert all(term.meaning.endswith(".") for term in service.terms)


def test_every_term_has_a_letter_of_its_own() -> None:
    """No part of a budget is without a letter, and no letter stands for two."""
    budget = MemoryBudget(device=2, usable=1, weights=1, activations=1, non_torch=1, margin=1, kv_per_token=1)

    assert list(budget.terms) == list(LETTERS)
    assert len(LETTERS) == len(set(LETTERS.values()))


def test_tokens() -> None:
    """Promised, fitting and expected tokens are the plan's, and so is the number of full-length requests."""
    view = host("pipeline").services[0]
    memory = view.service.memory

    assert (view.service.kv_tokens, memory.kv_tokens, memory.kv_tokens_expected) == (
        view.promised,
        view.fit,
        view.expected,
    )
    assert memory.kv_tokens // 65536 == view.full_requests == 2


def test_estimates() -> None:
    """How long the pull takes follows the link, decoding the card's bandwidth; each says from what."""
    slow, fast = (make_fleet(report(), bits).hosts[0].services[0].estimates for bits in (1e9, 1e10))

    assert ["pull", "start", "decode"] == list(slow)
    assert pytest.approx(10 * fast["pull"].value) == slow["pull"].value
    assert fast["decode"] == slow["decode"]
    assert "10 Gbit/s" in fast["pull"].basis
    assert "1008 GB/s" in fast["decode"].basis
    assert "about 2 min 08 s" == slow["pull"].text


@pytest.mark.parametrize(("pending", "pulled"), [({}, False), ({"cache": ["missing"]}, True), (None, True)])
def test_no_pull_of_what_is_there(pending: dict[str, list[str]] | None, pulled: bool) -> None:
    """Weights that are on the host already are not pulled, and nothing is said of it."""
    data = host_report("one", make_probe()) | {"pending": pending}
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0].services[0]

    assert pulled == ("pull" in view.estimates)


def test_estimates_of_an_own_model() -> None:
    """The shape of an own model is known from the inventory."""
    data = host_report("one", make_probe(), {"name": "hermes", "model": OWN["name"]}, hermes_catalog=[OWN])
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0]

    assert "decode" in view.services[0].estimates
    assert ["hermes_catalog"] == list(view.wanted)


def test_gpus() -> None:
    """Each GPU of a host is used by a service, free, partly taken by others, or unusable with the reason."""
    reset = f"{uuid_of(2)}, NVIDIA L40S, 00000000:03:00.0, [GPU requires reset], [GPU requires reset], "
    rows = [
        f"{uuid_of(0)}, NVIDIA L40S, 00000000:01:00.0, 46068, 9000, 8.9, 580.95.05, [N/A]",
        f"{uuid_of(1)}, NVIDIA L40S, 00000000:02:00.0, 46068, 0, 8.9, 580.95.05, [N/A]",
        reset + "[GPU requires reset], 580.95.05, [N/A]",
        f"{uuid_of(3)}, NVIDIA L40S, 00000000:04:00.0, 46068, 0, 8.9, 580.95.05, [N/A]",
    ]
    data = host_report("one", make_probe([L40S] * 4, smi=(0, rows)))
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0]

    assert ["taken", "used", "unusable", "free"] == [gpu.use for gpu in view.gpus]
    assert "others hold 8.8 GiB of 45.0 GiB" == view.gpus[0].text
    assert ("used by hermes, 45.0 GiB", "hermes") == (view.gpus[1].text, view.gpus[1].service)
    assert view.gpus[2].text.startswith("cannot be used: nvidia-smi says 'GPU requires reset'.")
    assert "free, 45.0 GiB" == view.gpus[3].text


def test_refusal_keeps_its_options() -> None:
    """A refused host has the options that were tried with their bytes, and a change that fits."""
    view = host("refused")

    assert view.message.startswith("hermes: hermes-4-405b fits on no free GPU of this host.")
    assert view.fix
    assert view.fix.text in view.message
    assert [rejection.option for rejection in view.rejections]
    assert all((rejection.needed or 0) > (rejection.available or 0) for rejection in view.rejections)


def test_refusal_as_json() -> None:
    """Other errors than those of placement have a message alone."""
    assert {"refused": "no answer"} == refusal_json(ProbeError("no answer"))
    assert {"refused": "no room", "rejections": [], "fix": None} == refusal_json(PlacementError("no room"))


def test_host_that_cannot_be_read() -> None:
    """A refusal before anything was seen still has a view."""
    view = make_fleet({"hosts": {"one": {"refused": "one: no answer"}}, "failed": {}}).hosts[0]

    assert ("refused", "no answer", ()) == (view.state, view.message, view.gpus)


def test_rejections_belong_to_their_service() -> None:
    """Each service has its own rejections."""
    big, small = host("pipeline").services

    assert {"big"} == {rejection.service for rejection in big.rejections}
    assert () == small.rejections


def test_engine_that_reserves_by_a_rule_of_its_own() -> None:
    """What SGLang leaves alone is told as its own rule; the option names it."""
    data = host_report("one", make_probe([L40S]), {"name": "hermes", "model": "hermes-4-14b", "engine": "sglang"})
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0].services[0]

    assert " with SGLang, " in view.option
    assert "What SGLang reserves by its own rule" in next(t.meaning for t in view.terms if t.name == "left alone")


@pytest.mark.parametrize("engine", ["llamacpp", "ollama"])
def test_engine_that_takes_what_it_needs(engine: str) -> None:
    """Engines that make a cache of the planned size are not expected to make a larger one."""
    data = host_report("one", make_probe([L40S]), {"name": "hermes", "model": "hermes-4-14b", "engine": engine})
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0].services[0]
    meanings = {term.name: term.meaning for term in view.terms}

    assert view.promised == view.expected
    assert meanings["KV cache"].endswith(f"The engine takes what {view.promised} tokens need.")
    assert "that was not calibrated" in meanings["non-torch"]
    assert meanings["margin"].startswith("What llama.cpp leaves free on each GPU if nobody says")


def test_release_that_stays() -> None:
    """A release that runs and is still wanted is known as such."""
    probe = make_probe([RTX_4090], **converged_answers(final_plan(name="one")))
    data = host_report("one", probe)
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0].services[0]

    assert view.stays
    assert not host("one").services[0].stays


def test_wanted_is_what_differs_from_the_default() -> None:
    """What the inventory leaves at its default is not repeated."""
    data = host_report("one", make_probe(), {"name": "hermes", "model": "hermes-3-8b", "port": 8000, "context": 4096})

    assert {"hermes_services": [{"name": "hermes", "model": "hermes-3-8b", "context": 4096}]} == data["wanted"]


def test_report_as_json() -> None:
    """Programs get the report as it was, and GPUs, memory by term and estimates as people see them."""
    before = report()
    after = json.loads(json.dumps(report_json(before, fleet())))

    assert set(before) == set(after)
    for name, data in before["hosts"].items():
        assert data == {key: value for key, value in after["hosts"][name].items() if key not in {"gpus", "services"}}
    service = after["hosts"]["one"]["services"][0]
    assert [term.to_json() for term in host("one").services[0].terms] == service["terms"]
    assert {"pull", "start", "decode"} == set(service["estimates"])


def test_report_survives_json() -> None:
    """What a run leaves in a file is what was put in."""
    for data in report()["hosts"].values():
        assert HostReport.model_validate(data) == HostReport.model_validate(json.loads(json.dumps(data)))


def test_find_service() -> None:
    """A service is found on the hosts that are to serve it, and hosts of which nobody knows are among them."""
    assert ["one", "weight-only", "eight", "refused", "away"] == [
        v.name for v in find_service(fleet(), "hermes", "i.py")
    ]


def test_find_no_service() -> None:
    """A service that no host has is refused with those there are."""
    message = "i.py: no host has a service 'nope'. There are: big, hermes, small."
    with pytest.raises(HermeionError, match=f"^{re.escape(message)}$"):
        find_service(fleet(), "nope", "i.py")
    with pytest.raises(HermeionError, match=r"^i\.py: no host has a service 'nope'\. There are: none\.$"):
        find_service(Fleet(hosts=()), "nope", "i.py")


def test_find_service_where_nobody_answers() -> None:
    """When no host answers nobody knows whether it has the service: that is said, not that it does not exist."""
    unknown = make_fleet({"hosts": {}, "failed": {"away": "away: could not connect"}})

    assert ["away"] == [view.name for view in find_service(unknown, "hermes", "i.py")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"docker": "19.3.0"}, "one: Docker 19.3.0 is older than 20.10"),
        ({"uid": 1000}, "one: needs root. Log in as root, or set _sudo = True in the inventory."),
    ],
)
def test_files_are_judged_like_hosts(changes: dict[str, Any], message: str) -> None:
    """What is refused on a host is refused from its file."""
    data = host_report("one", make_probe(**changes))

    assert data["refused"].startswith(message)
    assert make_spec(name="one").hermes_services[0].name == data["wanted"]["hermes_services"][0]["name"]


def test_hosts_without_a_plan_that_do_not_want_the_service() -> None:
    """Of a host that was not planned it may be known all the same what is wanted of it."""
    wanted = {name: {"hermes_services": [{"name": name, "model": "hermes-3-8b"}]} for name in ("hermes", "other")}
    made = make_fleet({"hosts": {}, "failed": {"hermes": "x", "other": "y"}, "unplanned": wanted})

    assert ["hermes"] == [view.name for view in find_service(made, "hermes", "i.py")]


def test_host_that_is_to_serve_nothing() -> None:
    """A host of which nothing is wanted is planned, and has no service to explain."""
    data = host_report("one", make_probe()) | {"wanted": {}, "pending": {}}
    data["plan"]["services"] = []
    made = make_fleet({"hosts": {"one": data}, "failed": {}})

    assert ("nothing to do", {}) == (made.hosts[0].state, made.hosts[0].asked)
    with pytest.raises(HermeionError, match="no host has a service"):
        find_service(made, "hermes", "i.py")
