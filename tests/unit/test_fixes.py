"""What would fit instead: each kind of change, and that it was planned before it is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hermeion.demands import check_inventory
from hermeion.errors import PlacementError
from hermeion.fixes import LAST_ENGINES, LIMITS, REFERENCE_MODELS, Fix, _on_here
from hermeion.gpus import gpu_models
from hermeion.hosts import Host, gpus_of
from hermeion.inventory import ServiceSpec
from hermeion.planner import make_plan
from hermeion.plans import Plan
from hermeion.search import Search
from hermeion.variants import built_in_catalog
from tests.unit.builders import (
    A100_40,
    A100_80,
    H100,
    L40S,
    NAME,
    OWN,
    RTX_3090,
    RTX_4090,
    RTX_5090,
    T4,
    V100,
    make_probe,
    make_spec,
    uuid_of,
)

RTX_4060_TI, RTX_3060 = "2803", "2504"


def fix_of(cards: Sequence[str], *services: dict[str, Any], hermes_catalog: Any = (), **answers: Any) -> Fix:
    """The change that a refusal names."""
    spec = make_spec(*services, hermes_catalog=list(hermes_catalog))
    with pytest.raises(PlacementError) as caught:
        make_plan(NAME, spec, make_probe(cards, **answers))
    assert isinstance(caught.value.fix, Fix)
    return caught.value.fix


def wants(model: str = "hermes-3-8b", **keys: Any) -> dict[str, Any]:
    """A service of this model."""
    return {"name": "hermes", "model": model, **keys}


def after(cards: Sequence[str], wanted: dict[str, Any], fix: Fix, **keys: Any) -> Plan:
    """The plan once the change was made."""
    if fix.gpus:
        count, name = fix.gpus
        cards = [next(i for i, model in gpu_models().items() if model.name == name)] * count
    spec = make_spec({**wanted, **fix.changes}, **keys)
    check_inventory(NAME, spec)
    return make_plan(NAME, spec, make_probe(cards))


@pytest.mark.parametrize(
    ("cards", "wanted", "changes"),
    [
        # less context: what the best rung of the ladder holds, or what the model was made for
        ([RTX_4090], wants(variant="bf16", context=131_072), {"context": 83_968}),
        ([RTX_4090], wants(context=131_072, sequences=256), {"context": 80_128}),
        ([RTX_4090], wants(context=131_072, sequences=256, min_context=120_000), {"min_context": 80_128}),
        ([RTX_4090], wants(variant="bf16", min_context=120_000), {"min_context": 83_968}),
        ([H100], wants(context=200_000), {"context": 131_072}),
        ([H100], wants(context=200_000, min_context=200_000), {"context": 131_072, "min_context": 131_072}),
        ([H100], wants(min_context=200_000), {"min_context": 131_072}),
        ([RTX_4090], wants(variant="bf16", context=200_000), {"context": 83_968}),
        ([RTX_4090], wants(context=200_000), {"context": 131_072}),
        # the cache in another precision
        ([A100_40], wants(kv_precision="fp8"), {"kv_precision": "auto"}),
        ([H100], wants(engine="llamacpp", kv_precision="fp8"), {"kv_precision": "auto"}),
        # another number of GPUs, or others
        ([RTX_4090] * 2, wants("hermes-4-14b", variant="bf16", gpus=1), {"gpus": "auto"}),
        ([RTX_4090], wants(gpus=2), {"gpus": "auto"}),
        ([RTX_4090], wants(gpus=[uuid_of(5)]), {"gpus": "auto"}),
        # fewer requests
        ([RTX_4090], wants("hermes-4-14b", variant="fp8", sequences=4096), {"sequences": 2048}),
        # any variant, or one by name
        ([RTX_4090], wants("hermes-4-14b", variant="bf16"), {"variant": "auto"}),
        ([H100], wants(engine="vllm", variant="q4_k_m"), {"variant": "auto"}),
        ([T4], wants(context=20_000, sequences=1700), {"variant": "hermes-3-8b-awq"}),
        ([H100], wants(engine="llamacpp", variant="bf16"), {"variant": "auto"}),
        # another engine, with another variant, and without what was written for the one that is named
        ([RTX_3060], wants(engine="vllm"), {"engine": "llamacpp"}),
        ([RTX_3060], wants(engine="sglang"), {"engine": "llamacpp"}),
        ([V100], wants(engine="vllm", variant="bf16"), {"engine": "llamacpp", "variant": "auto"}),
        (
            [V100],
            wants(engine="vllm", engine_version="0.32.0", extra_args={"seed": 1}),
            {"engine": "llamacpp", "engine_version": None, "extra_args": {}},
        ),
        ([V100], wants(engine_version="0.32.0"), {"engine_version": None}),
        # a container, where nothing is known to install the engine from that would serve it
        ([V100], wants(engine="vllm", runtime="systemd"), {"engine": "llamacpp", "runtime": "compose"}),
        (
            [V100],
            wants(runtime="systemd", requirements="lock.txt"),
            {"requirements": None, "runtime": "compose"},
        ),
        ([V100], wants(image="registry.example/vllm:v0.33.0"), {"image": None}),
        # every limit together
        (
            [L40S],
            wants("hermes-4.3-36b", variant="bf16", gpus=4, sequences=4096),
            {"sequences": None, "gpus": "auto", "variant": "auto"},
        ),
    ],
)
def test_changes_to_the_inventory(cards: list[str], wanted: dict[str, Any], changes: dict[str, Any]) -> None:
    """The first change that helps, those that cost the user least first; with it the service fits."""
    fix = fix_of(cards, wanted)
    (service,) = after(cards, wanted, fix).services

    assert (changes, None) == (fix.changes, fix.gpus)
    assert f"{service.variant} on {len(service.gpus)} × {service.gpus[0].model}, {service.context} tokens" in fix.text


@pytest.mark.parametrize(
    ("cards", "wanted", "changes", "gpus"),
    [
        # more of the host's own
        ([RTX_5090], wants("hermes-4-70b", engine="vllm"), {}, (4, "NVIDIA GeForce RTX 5090")),
        ([RTX_4090], wants("hermes-4-70b", engine="vllm", gpus=1), {"gpus": "auto"}, (8, "NVIDIA GeForce RTX 4090")),
        # another kind
        ([RTX_4060_TI], wants("hermes-4-70b", engine="vllm"), {}, (8, "NVIDIA GeForce RTX 4090")),
        ([V100], wants("hermes-4-70b", engine="vllm"), {}, (8, "NVIDIA GeForce RTX 4090")),
        # llama.cpp on more of the host's own, before vLLM on another kind
        ([V100], wants("hermes-4-70b"), {}, (2, "Tesla V100 32GB")),
        ([A100_80], wants("hermes-4-405b", engine="vllm", variant="bf16"), {}, (8, "NVIDIA H200")),
        # all of them are in use
        ([RTX_4090], wants(), {}, (1, "NVIDIA GeForce RTX 4090")),
        # a GGUF file, for which llama.cpp is taken by itself
        ([RTX_4060_TI], wants("hermes-4-405b", variant="q4_k_m"), {}, (8, "NVIDIA L40S")),
        # another variant of the model as well
        ([RTX_4060_TI], wants("hermes-4-405b", variant="bf16", engine="sglang"), {}, (8, "NVIDIA H200")),
    ],
)
def test_other_hardware(
    cards: list[str], wanted: dict[str, Any], changes: dict[str, Any], gpus: tuple[int, str]
) -> None:
    """Where no change to the inventory helps: the fewest GPUs of the host's own kind, else of the smallest other."""
    busy = {"used": {0: 6000}} if cards == [RTX_4090] else {}
    fix = fix_of(cards, wanted, **busy)
    (service,) = after(cards, wanted, fix).services

    assert (changes, gpus) == (fix.changes, fix.gpus)
    assert fix.text.startswith(f"{gpus[0]} × {gpus[1]}, all memory free")
    assert fix.text.endswith(f": {service.variant}, {service.context} tokens")


def test_both_are_named() -> None:
    """Where hardware alone does not help, the change to the inventory stands beside it."""
    fix = fix_of([RTX_4060_TI], wants("hermes-4-405b", variant="q4_k_m", gpus=1))

    assert "8 × NVIDIA L40S, all memory free, and gpus = 'auto': hermes-4-405b-q4_k_m, 55808 tokens" == fix.text


def test_an_own_file_on_other_hardware() -> None:
    """An own GGUF file that is too large here: llama.cpp, on GPUs that hold it."""
    gguf = {**OWN, "name": "mine", "file": "mine-Q8_0.gguf", "precision": "q8_0", "bytes": 40 * 10**9}
    fix = fix_of([RTX_4090], wants("mine"), hermes_catalog=[gguf])
    (service,) = after([RTX_4090], wants("mine"), fix, hermes_catalog=[gguf]).services

    assert ({}, (2, "NVIDIA GeForce RTX 4090")) == (fix.changes, fix.gpus)
    assert ("llamacpp", 2) == (service.engine, len(service.gpus))


def test_the_largest_gpu_of_the_table_is_offered() -> None:
    """What eight of any GPU would hold is offered eight of it: the largest is the last of those that are tried."""
    largest = max(gpu_models().values(), key=lambda model: model.memory)
    huge = {**OWN, "name": "huge", "bytes": 1_700 * 10**9, "shape": {**OWN["shape"], "layers": 3400}}
    fix = fix_of([RTX_4090], wants("huge", engine="vllm"), hermes_catalog=[huge])

    assert largest.name == REFERENCE_MODELS[-1]
    assert (8, largest.name) == fix.gpus


def test_reference_models_are_in_the_table() -> None:
    """What is offered exists, smallest first."""
    models = {model.name: model for model in gpu_models().values()}
    memory = [models[name].memory for name in REFERENCE_MODELS]

    assert sorted(memory) == memory


def test_limits_are_keys_of_a_service() -> None:
    """What is dropped as a last resort are optional keys."""
    assert [] == [key for key in LIMITS if ServiceSpec.model_fields[key].is_required()]


@pytest.mark.parametrize(
    ("card", "wanted", "changes"),
    [
        (RTX_3060, wants("hermes-4-14b", variant="q8_0"), {"variant": "auto", "engine_version": None}),
        (
            T4,
            wants(variant="q8_0", context=20_000, sequences=1700),
            {"variant": "hermes-3-8b-awq", "engine_version": None},
        ),
    ],
)
def test_a_version_of_llamacpp_is_not_given_to_vllm(card: str, wanted: dict[str, Any], changes: dict[str, Any]) -> None:
    """A change of variant that makes `auto` another engine takes back what was written for the one before."""
    assert changes == fix_of([card], {**wanted, "engine_version": "b11669"}).changes


@pytest.mark.parametrize("card", [T4, RTX_3060, V100])
def test_auto_never_advises_sglang_or_ollama(card: str) -> None:
    """Where `auto` cannot serve what is asked for, vLLM's and llama.cpp's ways out come before the other engines."""
    for more in ({"sequences": 4096}, {"context": 131_072, "variant": "bf16"}, {"kv_precision": "fp8"}):
        assert "engine" not in fix_of([card], wants(**more)).changes


def test_the_last_engines_come_last() -> None:
    """SGLang and Ollama are tried after everything that vLLM and llama.cpp could do on the host."""
    spec = make_spec(wants(variant="bf16", context=8192, engine_version="0.32.0")).hermes_services[0]
    host = Host(name=NAME, gpus=(), nvswitch=False)
    changes = list(_on_here(spec, Search(spec, host, ()), built_in_catalog()["hermes-3-8b"]))
    engines = [change.get("engine") for change in changes]
    first = next(place for place, engine in enumerate(engines) if engine in LAST_ENGINES)

    assert {None} == set(engines[:first])
    assert set(LAST_ENGINES) == set(engines[first:])
    assert [None] * len(engines[first:]) == [change["engine_version"] for change in changes[first:]]


def test_a_fix_leaves_gpus_to_later_services() -> None:
    """A change is planned without the GPUs that later services need: two of three GPUs are not there to be advised."""
    first = wants("hermes-4-70b", variant="fp8", context=65_536, port=8001)
    later = {**wants("hermes-3-8b"), "name": "later", "port": 8002, "gpus": 2}
    fix = fix_of([L40S] * 3, first, later)

    alone = fix_of([L40S], first)
    assert (alone.changes, alone.gpus) == (fix.changes, fix.gpus)


def test_a_fix_takes_no_gpu_that_a_later_service_names() -> None:
    """GPUs named by a later service are no part of a fix."""
    first = wants("hermes-4-14b", variant="bf16", port=8001)
    later = {**wants("hermes-3-8b"), "name": "later", "port": 8002, "gpus": [uuid_of(0)]}
    fix = fix_of([RTX_4090] * 2, first, later)
    plan = make_plan(NAME, make_spec({**first, **fix.changes}, later), make_probe([RTX_4090] * 2))

    assert {"variant": "auto"} == fix.changes
    assert [[uuid_of(1)], [uuid_of(0)]] == [[gpu.uuid for gpu in service.gpus] for service in plan.services]


def test_no_fp8_kv_cache_is_advised_for_a_card_without_it() -> None:
    """A 4090 does not lend its FP8 KV cache to the 3090 beside it, which has a little more memory."""
    fix = fix_of([RTX_4090, RTX_3090], wants(variant="bf16", gpus=1, context=90_000, sequences=256))

    assert {"context": 80_128} == fix.changes
    assert "on 1 × NVIDIA GeForce RTX 4090, 80128 tokens" in fix.text


def test_gpus_that_nobody_has_to_own() -> None:
    """Offered GPUs are those of the table, idle, each at an address of its own."""
    model = gpu_models()[H100]
    found = gpus_of(model, 8)

    assert 8 == len({gpu.pci_address for gpu in found})
    assert {(model.name, model.memory, model.memory, model.cuda_memory, None)} == {
        (gpu.model, gpu.memory, gpu.free, gpu.cuda, gpu.uuid) for gpu in found
    }
