"""From what is wanted and what is there to a plan."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hermeion.checks import check_plan
from hermeion.demands import check_inventory
from hermeion.engines import ENGINES
from hermeion.errors import HermeionError, InventoryError, PlacementError
from hermeion.gpus import gpu_models
from hermeion.hosts import reconcile
from hermeion.planner import make_plan
from hermeion.plans import Plan, Service
from hermeion.probe import parse_probe
from hermeion.units import GIB
from hermeion.variants import built_in_catalog
from tests.unit.builders import (
    A100_40,
    A100_80,
    DIGEST,
    H100,
    H200,
    L40S,
    NAME,
    OTHER_DIGEST,
    OWN,
    REVISION,
    RTX_3090,
    RTX_4090,
    RTX_5090,
    bare_text,
    converged_answers,
    final_plan,
    image_of,
    make_probe,
    make_spec,
    settled,
    uuid_of,
)

HERMES = {"name": "hermes", "model": "hermes-3-8b"}


def plan(gpus: tuple[str, ...] = (RTX_4090,), *services: dict[str, Any], **keys: Any) -> Plan:
    """The plan for a host with these GPUs and a driver."""
    return make_plan(NAME, make_spec(*services, **keys), make_probe(gpus))


def service_of(model: str, cards: tuple[str, ...], **keys: Any) -> Service:
    """The one service of a plan."""
    return plan(cards, {"name": "hermes", "model": model, **keys}).services[0]


def refusal(gpus: tuple[str, ...], *services: dict[str, Any], **answers: Any) -> str:
    """The message when nothing fits."""
    with pytest.raises(PlacementError) as caught:
        make_plan(NAME, make_spec(*services), make_probe(gpus, **answers))
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "gpus", "expected"),
    [
        ("hermes-3-3b", (RTX_4090,), ("bf16", 1, 130304, 256)),
        ("hermes-3-3b", (RTX_4090,) * 2, ("bf16", 2, 131072, 256)),
        ("hermes-3-3b", (L40S,) * 2, ("bf16", 1, 131072, 256)),
        ("hermes-3-8b", (RTX_4090,), ("bf16", 1, 39936, 256)),
        ("hermes-3-8b", (RTX_4090,) * 8, ("bf16", 2, 131072, 256)),
        ("hermes-3-8b", (RTX_5090,), ("bf16", 1, 98816, 256)),
        ("hermes-3-8b", (H100,), ("bf16", 1, 131072, 1024)),
        ("hermes-4-14b", (RTX_4090,), ("fp8", 1, 28928, 256)),
        ("hermes-4-14b", (RTX_4090,) * 2, ("bf16", 2, 40960, 256)),
        ("hermes-4-14b", (RTX_5090,), ("fp8", 1, 40960, 256)),
        ("hermes-4-14b", (A100_40,), ("bf16", 1, 40960, 256)),
        ("hermes-4.3-36b", (RTX_4090,) * 8, ("bf16", 8, 269824, 256)),
        ("hermes-4.3-36b", (L40S,), ("fp8", 1, 12800, 256)),
        ("hermes-4.3-36b", (L40S,) * 2, ("fp8", 2, 154368, 256)),
        ("hermes-4.3-36b", (A100_80,), ("fp8", 1, 143872, 256)),
        ("hermes-4.3-36b", (H100,), ("fp8", 1, 137216, 1024)),
        ("hermes-4.3-36b", (H100,) * 2, ("bf16", 2, 271616, 1024)),
        ("hermes-4.3-36b", (H200,), ("bf16", 1, 233472, 1024)),
        ("hermes-4-70b", (L40S,) * 2, ("fp8", 2, 16384, 256)),
        ("hermes-4-70b", (H100,) * 2, ("fp8", 2, 131072, 1024)),
        ("hermes-4-70b", (H100,) * 8, ("bf16", 4, 131072, 1024)),
        ("hermes-4-70b", (H200,), ("fp8", 1, 131072, 1024)),
        ("hermes-4-405b", (H100,) * 8, ("fp8", 8, 131072, 1024)),
        ("hermes-4-405b", (H200,) * 8, ("bf16", 8, 131072, 1024)),
    ],
)
def test_placements(model: str, gpus: tuple[str, ...], expected: tuple[str, int, int, int]) -> None:
    """Variant, number of GPUs, context and requests for a model on a set of GPUs."""
    service = service_of(model, gpus)

    assert expected == (service.precision, len(service.gpus), service.context, service.sequences)


@pytest.mark.parametrize(
    ("keys", "gpus", "expected"),
    [
        ({"variant": "fp8"}, (RTX_4090,) * 2, ("fp8", 2, 40960)),
        ({"variant": "hermes-4-14b-fp8", "gpus": 1}, (RTX_4090,) * 2, ("fp8", 1, 28928)),
        ({"gpus": 2}, (H100,) * 4, ("bf16", 2, 40960)),
        ({"context": 8192}, (RTX_4090,) * 2, ("bf16", 2, 8192)),
        ({"context": 8192}, (RTX_4090,), ("fp8", 1, 8192)),
        ({"context": 8001}, (H100,), ("bf16", 1, 8001)),
        ({"sequences": 4, "variant": "fp8"}, (RTX_4090,), ("fp8", 1, 30720)),
    ],
)
def test_wishes(keys: dict[str, Any], gpus: tuple[str, ...], expected: tuple[str, int, int]) -> None:
    """A variant, a number of GPUs and a context that the inventory names are taken as they are."""
    service = service_of("hermes-4-14b", gpus, **keys)

    assert expected == (service.precision, len(service.gpus), service.context)


def test_named_gpus() -> None:
    """GPUs named by UUID are those that serve."""
    service = service_of("hermes-3-8b", (RTX_4090,) * 4, gpus=[uuid_of(2), uuid_of(3)])

    assert [uuid_of(2), uuid_of(3)] == [gpu.uuid for gpu in service.gpus]


def test_promised_tokens() -> None:
    """The promise is context times requests where the memory has it, else what the memory has."""
    few = service_of("hermes-3-8b", (H100,), context=4096, sequences=8)
    many = service_of("hermes-3-8b", (H100,))

    assert 8 * 4096 == few.kv_tokens
    assert many.memory.kv_tokens == many.kv_tokens


def test_one_kind_of_gpu() -> None:
    """A service is not spread over GPUs of two kinds."""
    service = service_of("hermes-4-14b", (RTX_3090, RTX_4090))

    assert [gpu_models()[RTX_3090].name] == [gpu.model for gpu in service.gpus]


def test_services_share_no_gpu() -> None:
    """Services get GPUs in the order of the inventory, and each GPU once."""
    two = plan((RTX_4090,) * 2, {**HERMES, "gpus": 1}, {**HERMES, "name": "second", "port": 8001, "gpus": 1})

    assert [["0000:01:00.0"], ["0000:02:00.0"]] == [[g.pci_address for g in s.gpus] for s in two.services]


def test_rejections_are_recorded() -> None:
    """What was tried and not taken stands in the plan, with the numbers."""
    found = plan((RTX_4090,), {"name": "hermes", "model": "hermes-4-14b"}).rejections

    assert [
        (
            "hermes",
            "hermes-4-14b-bf16 on 1 × NVIDIA GeForce RTX 4090",
            "weights and overhead need 30.0 GiB per GPU, 22.1 GiB may be used",
        ),
    ] == [(r.service, r.option, r.reason) for r in found]


@pytest.mark.parametrize(
    ("gpus", "answers", "message"),
    [
        (
            (RTX_4090,),
            {"uid": 1000},
            "gpu-1: needs root. Log in as root, or set _sudo = True in the inventory.",
        ),
        (
            (RTX_4090,),
            {"tools": ("curl", "apt-get")},
            "gpu-1: systemd is not running here; services are systemd units.",
        ),
        (
            (RTX_4090,),
            {"broken": ("site-agent iF", "nvidia-kernel-open-dkms iF")},
            "gpu-1: dpkg left nvidia-kernel-open-dkms iF, site-agent iF half-configured, and every apt call fails "
            "until that is repaired: dpkg --configure -a, or apt-get purge site-agent; then run again.",
        ),
        (
            (),
            {"driver": None},
            "gpu-1: no NVIDIA GPU on the PCI bus. Take the host out of the inventory, or look whether the card is "
            "seated and not passed through to a guest (lspci -nn -d 10de:).",
        ),
    ],
)
def test_hosts_that_cannot_serve(gpus: tuple[str, ...], answers: dict[str, Any], message: str) -> None:
    """A host in a state that no plan can help is refused, with the next step."""
    assert message == refusal(gpus, **answers)


ARCHIVE = {"url": "https://example.com/engine.tar.gz", "sha256": "0" * 64}
KNOWN = ", ".join(sorted(built_in_catalog()))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"model": "hermes-5"},
            f"model: 'hermes-5' is in no catalogue. Known: {KNOWN}. Own models go into hermes_catalog.",
        ),
        (
            {"model": "hermes-4-14b", "variant": "int4"},
            "variant: hermes-4-14b has no variant 'int4'. Known: "
            + ", ".join(v.name for v in built_in_catalog()["hermes-4-14b"])
            + ".",
        ),
        (
            {"model": "hermes-4-14b", "runtime": "systemd", "image": "a/b:1"},
            "image: is for runtime 'compose'; this service runs natively.",
        ),
        ({"model": "hermes-4-14b", "requirements": "lock.txt"}, "requirements: is for runtime 'systemd'."),
        (
            {"model": "hermes-4-14b", "engine": "ollama", "runtime": "systemd", "requirements": "lock.txt"},
            "requirements: is for vLLM and SGLang.",
        ),
        (
            {"model": "hermes-4-14b", "engine": "llamacpp", "archive": ARCHIVE},
            "archive: is for runtime 'systemd'.",
        ),
        (
            {"model": "hermes-4-14b", "engine": "sglang", "runtime": "systemd", "archive": ARCHIVE},
            "archive: is for llama.cpp and Ollama.",
        ),
    ],
)
def test_what_does_not_exist(keys: dict[str, Any], message: str) -> None:
    """What does not exist, or is not for this engine or runtime, is found before any host is seen."""
    with pytest.raises(InventoryError) as caught:
        check_inventory(NAME, make_spec({**HERMES, **keys}))

    assert f"gpu-1: hermes_services/hermes/{message}" == str(caught.value)


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"engine_version": "0.1"}, "engine_version: vLLM 0.1 "),
        ({"extra_args": {"trust-remote-code": True}}, "extra_args: 'trust-remote-code' "),
        ({"extra_args": {"--trust_remote_code": True}}, "extra_args: "),
        ({"extra_args": {"api_key": "x"}}, "extra_args: "),
        ({"extra_args": {"max-model-len": 1}}, "extra_args: "),
        ({"extra_args": {"max_num_seqs": 1}}, "extra_args: "),
        ({"extra_args": {"--tensor-parallel-size": 1}}, "extra_args: "),
        ({"extra_args": {"no-such-option": 1}}, "extra_args: "),
        ({"environment": {"HF_TOKEN": "x"}}, "environment: 'HF_TOKEN' "),
    ],
)
def test_what_an_engine_is_not_given(keys: dict[str, Any], key: str) -> None:
    """Versions, options and environment are judged before any host is seen; the place in the inventory is named."""
    with pytest.raises(InventoryError) as caught:
        check_inventory(NAME, make_spec({**HERMES, **keys}))

    assert str(caught.value).startswith(f"gpu-1: hermes_services/hermes/{key}")


def test_own_model_is_planned() -> None:
    """A model of `hermes_catalog` is served like any other."""
    spec = make_spec({"name": "mine", "model": "my-llama"}, hermes_catalog=[OWN])
    (service,) = make_plan(NAME, spec, make_probe()).services

    assert ("me/my-llama", "my-llama", 8192) == (service.repo, service.variant, service.context)


def test_nothing_wanted() -> None:
    """A host without services has an empty plan, and its driver is looked after."""
    empty = make_plan(NAME, make_spec(hermes_services=[]), make_probe())

    assert ((), "leave alone") == (empty.services, empty.driver.action)


@pytest.mark.parametrize(
    ("model", "gpus"),
    [("hermes-3-8b", (RTX_4090,)), ("hermes-4-14b", (RTX_4090, RTX_4090)), ("hermes-4-70b", (H100,) * 8)],
)
def test_driver_changes_no_decision(model: str, gpus: tuple[str, ...]) -> None:
    """The plan before the driver and the plan with it decide the same."""
    spec = make_spec({"name": "hermes", "model": model})
    bare = make_plan(NAME, spec, parse_probe(bare_text(gpus).splitlines())).services[0]
    ready = make_plan(NAME, spec, make_probe(gpus)).services[0]

    assert bare.decisions == ready.decisions
    assert (False, {None}) == (bare.is_final, {gpu.uuid for gpu in bare.gpus})


@pytest.mark.parametrize(
    ("wanted", "gpus"),
    [
        ([HERMES], (RTX_4090,)),
        ([{"name": "hermes", "model": "hermes-4-70b"}], (H100,) * 2),
        ([{**HERMES, "gpus": 1}, {**HERMES, "name": "second", "port": 8001, "gpus": 1}], (RTX_4090,) * 4),
    ],
)
def test_plan_of_a_converged_host_is_the_same(wanted: list[dict[str, Any]], gpus: tuple[str, ...]) -> None:
    """Our own engines' memory moves nothing; commit and digest are those of the release that runs."""
    first = final_plan(*wanted, gpus=gpus)
    again = make_plan(NAME, make_spec(*wanted), make_probe(gpus, **converged_answers(first)))

    assert first.services == again.services
    assert [(REVISION, DIGEST)] * len(wanted) == [(s.revision, image_of(s).digest) for s in again.services]


def test_running_gpus_stay() -> None:
    """A service stays on the GPU where it runs, also when one before it became free."""
    wanted = {**HERMES, "gpus": 1}
    gpus = (RTX_4090,) * 3
    first = make_plan(NAME, make_spec(wanted), make_probe(gpus, used={0: 20000}))
    answers = converged_answers(first)
    again = make_plan(NAME, make_spec(wanted), make_probe(gpus, **answers))

    assert "0000:02:00.0" == first.services[0].gpus[0].pci_address
    assert first.services == again.services


@pytest.mark.parametrize(("second", "counts"), [({}, [1, 1]), ({"gpus": 1}, [1, 1]), ({"gpus": [uuid_of(0)]}, [1, 1])])
def test_a_service_leaves_gpus_to_the_next(second: dict[str, Any], counts: list[int]) -> None:
    """A service that could use every GPU for its context leaves those that later services name or need."""
    one = {"name": "one", "model": "hermes-3-8b", "port": 8001}
    two = {"name": "two", "model": "hermes-3-8b", "port": 8002, **second}
    plan = make_plan(NAME, make_spec(one, two), make_probe((RTX_4090, RTX_4090)))

    assert counts == [len(service.gpus) for service in plan.services]
    assert 2 == len({gpu.uuid for service in plan.services for gpu in service.gpus})


def test_a_new_service_does_not_move_a_running_one() -> None:
    """A service that is put before one that runs takes a GPU that is free, and the running one keeps its own."""
    gpus = (RTX_4090, RTX_4090)
    running = {**HERMES, "name": "b", "gpus": 1, "port": 8001}
    first = final_plan(running, gpus=gpus)
    probe = make_probe(gpus, **converged_answers(first))
    new, kept = make_plan(NAME, make_spec({**HERMES, "name": "a", "gpus": 1}, running), probe).services

    assert first.services == (kept,)
    assert ["0000:02:00.0"] == [gpu.pci_address for gpu in new.gpus]


def test_sliding_windows_are_promised_what_is_printed() -> None:
    """A model with sliding windows serves a context longer than the tokens that vLLM prints; the plan is legal."""
    shape = {**OWN["shape"], "layers": 62, "sliding_layers": 52, "sliding_window": 1024, "max_context": 131072}
    spec = make_spec({"name": "mine", "model": "my-llama"}, hermes_catalog=[{**OWN, "shape": shape}])
    probe = make_probe((RTX_4090,))
    plan = make_plan(NAME, spec, probe)
    (service,) = plan.services

    assert service.memory.kv_tokens < service.context
    assert service.kv_tokens == service.memory.kv_tokens
    assert () == check_plan(plan, reconcile(NAME, probe))


def test_a_running_release_stays_where_it_is() -> None:
    """What runs does not move because others freed a GPU: only what the inventory moves, moves."""
    gpus = (RTX_4090, RTX_4090)
    busy = make_probe(gpus, used={0: 20000})
    before = settled(make_plan(NAME, make_spec(), busy))
    answers = converged_answers(before)
    now = make_probe(gpus, **answers)

    assert before.services == make_plan(NAME, make_spec(), now).services
    assert 2 == len(make_plan(NAME, make_spec(hermes_refresh=True), now).services[0].gpus)
    (asked,) = make_plan(NAME, make_spec({"name": "hermes", "model": "hermes-3-8b", "gpus": 2}), now).services
    assert 2 == len(asked.gpus)


def test_a_running_release_whose_gpu_is_gone_is_planned_anew() -> None:
    """A release stays only while its GPUs are there, by address and UUID."""
    plan = final_plan()
    answers = converged_answers(plan)
    (running,) = plan.services
    stranger = running.model_copy(
        update={"gpus": tuple(gpu.model_copy(update={"uuid": uuid_of(7)}) for gpu in running.gpus)}
    )
    answers = converged_answers(plan.model_copy(update={"services": (stranger,)})) | {"used": {}}
    (service,) = make_plan(NAME, make_spec(), make_probe(**answers)).services

    assert (uuid_of(0),) == tuple(gpu.uuid for gpu in service.gpus)


def test_gpus_by_uuid_need_a_driver() -> None:
    """UUIDs in the inventory of a host without a driver are refused with what to do."""
    spec = make_spec({**HERMES, "gpus": [uuid_of(0)]})
    with pytest.raises(PlacementError) as caught:
        make_plan(NAME, spec, make_probe(driver=None))

    assert "only a driver tells: use a number or 'auto' for the first run" in str(caught.value)


def test_refresh_resolves_anew() -> None:
    """With `hermes_refresh`, commit and digest are to be asked for again."""
    answers = converged_answers(final_plan())
    (service,) = make_plan(NAME, make_spec(hermes_refresh=True), make_probe(**answers)).services

    assert (None, None) == (service.revision, image_of(service).digest)


@pytest.mark.parametrize(
    ("keys", "digest"),
    [
        ({"image": f"vllm/vllm-openai:v0.33.0@{OTHER_DIGEST}"}, OTHER_DIGEST),
        ({"image": "vllm/vllm-openai:v0.33.0"}, DIGEST),
        ({"engine_version": "0.32.0"}, None),
        ({"image": "vllm/vllm-openai:nightly"}, None),
    ],
)
def test_what_the_inventory_moves(keys: dict[str, Any], digest: str | None) -> None:
    """A new tag is resolved anew, a digest in the inventory counts at once, the same tag stays as it was."""
    answers = converged_answers(final_plan())
    (service,) = make_plan(NAME, make_spec({**HERMES, **keys}), make_probe(**answers)).services

    assert (digest, REVISION) == (image_of(service).digest, service.revision)


def test_new_model_has_no_old_revision() -> None:
    """The commit of one repository is not taken over to another."""
    answers = converged_answers(final_plan())
    (service,) = make_plan(NAME, make_spec({**HERMES, "model": "hermes-3-3b"}), make_probe(**answers)).services

    assert (None, DIGEST) == (service.revision, image_of(service).digest)


@pytest.mark.parametrize("text", ["{}", '{"name": "hermes"}', "not JSON"])
def test_damaged_release(text: str) -> None:
    """A release whose plan cannot be read is planned anew."""
    (service,) = make_plan(NAME, make_spec(), make_probe(releases=[f"hermes releases/aaaa {text}"])).services

    assert (None, None) == (service.revision, image_of(service).digest)


def test_mirror_is_where_images_come_from() -> None:
    """With a mirror, an image without a registry of its own is named by the mirror."""
    (service,) = plan((RTX_4090,), hermes_mirrors={"registry": "mirror:5000"}).services

    assert "mirror:5000/vllm/vllm-openai" == image_of(service).name


def random_case(source: random.Random) -> tuple[tuple[str, ...], list[dict[str, Any]], dict[int, int]]:
    """GPUs of up to two kinds, one to three services, and memory that others hold."""
    kinds = source.sample(sorted(gpu_models()), 2)
    gpus = tuple(source.choice(kinds) for _ in range(source.randint(1, 8)))
    services: list[dict[str, Any]] = []
    for index in range(source.randint(1, 3)):
        wanted: dict[str, Any] = {"name": f"s{index}", "model": source.choice(sorted(built_in_catalog()))}
        wanted["port"] = 8000 + index
        wanted["gpus"] = source.choice(["auto", "auto", 1, 2, 4])
        wanted["context"] = source.choice(["max", "max", 4096, 30000])
        services.append(wanted)
    used = {i: source.randint(0, 20000) for i in range(len(gpus)) if source.random() < 0.1}
    return gpus, services, used


def test_plans_are_legal() -> None:
    """Whatever the GPUs and the wishes: a plan has no error, and it is the same once it has been applied."""
    source = random.Random(20261120)  # noqa: S311  # the same cases in every run
    planned = 0
    for _ in range(300):
        gpus, services, used = random_case(source)
        spec = make_spec(*services)
        probe = make_probe(gpus, used=used)
        try:
            first = make_plan(NAME, spec, probe)
        except HermeionError:
            continue
        planned += 1

        assert () == check_plan(first, reconcile(NAME, probe))
        answers = converged_answers(first)
        answers["used"] = used | answers["used"]
        assert first.services == make_plan(NAME, spec, make_probe(gpus, **answers)).services
        for service in first.services:
            # llama.cpp takes what it needs; what is kept free is the margin.
            margin = service.memory.margin if ENGINES[service.engine].DIVIDES_CACHE else 0
            assert all(service.memory.usable - margin <= gpu.memory - GIB // 2 for gpu in service.gpus)

    assert 60 < planned
