"""What holds of every plan and of every budget, whatever the GPUs, the model and the wishes are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from hermeion.candidates import COMFORTABLE_CONTEXT, Floor
from hermeion.demands import check_inventory, find_variants
from hermeion.engines import ENGINES
from hermeion.engines.protocol import Layout, Load
from hermeion.errors import HermeionError, PlacementError
from hermeion.fixes import Fix
from hermeion.gpus import gpu_models
from hermeion.hosts import Gpu, Host, gpus_of, reconcile
from hermeion.inventory import ServiceSpec
from hermeion.placement import place
from hermeion.planner import make_plan
from hermeion.plans import Plan
from hermeion.precisions import PRECISIONS, Precision
from hermeion.probe import Probe
from hermeion.rounds import rounds_for
from hermeion.search import Search
from hermeion.shapes import Experts, Latent, Shape
from hermeion.variants import Variant, built_in_catalog
from hermeion.weights import layer_matrices, published_bytes, weight_bytes
from tests.unit.builders import NAME, ROOT, converged_answers, make_probe, make_spec, uuid_of

set_hypothesis_home_dir(ROOT / ".pytest_cache" / "hypothesis")

CASES = settings(
    database=None,
    deadline=None,
    derandomize=True,  # the same cases in every run
    max_examples=25,
    suppress_health_check=list(HealthCheck),
)

IDS = sorted({model.name: pci_id for pci_id, model in gpu_models().items() if ":" not in pci_id}.values())
BIG = ("26b1", "26b9", "20b2", "2330", "2335", "2901") * 8
"""Cards on which most models fit somehow: drawn more often."""

MODELS = {name: variants for name, variants in built_in_catalog().items() if name != "hermes-3-405b"}
SAFETENSORS = [p for p in PRECISIONS.values() if p.container == "safetensors"]


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Architectures: dense ones and mixtures, ordinary and latent attention, sliding windows, towers, odd sizes."""
    kv_heads = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16]))
    layers = draw(st.integers(1, 96))
    mixture, latent = draw(st.booleans()), draw(st.booleans())
    experts = Experts(
        count=draw(st.integers(2, 256)),
        per_token=2,
        intermediate=64 * draw(st.integers(1, 64)),
        shared_intermediate=64 * draw(st.integers(0, 16)),
        dense_layers=draw(st.integers(0, layers)),
    )
    compressed = Latent(
        kv_rank=512, query_rank=draw(st.sampled_from([0, 1536])), nope_dim=128, rope_dim=64, value_dim=128
    )
    return Shape(
        layers=layers,
        hidden=64 * draw(st.integers(1, 256)),
        intermediate=64 * draw(st.integers(1, 800)),
        heads=kv_heads * draw(st.sampled_from([1, 2, 3, 4, 8, 10])),
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([64, 80, 96, 128])),
        vocab=draw(st.integers(1000, 300_000)),
        max_context=draw(st.sampled_from([4096, 40_960, 131_072])),
        tied_embeddings=draw(st.booleans()),
        qkv_bias=not latent and draw(st.booleans()),
        gated=draw(st.booleans()),
        norms=draw(st.integers(1, 4)),
        sliding_window=1024,
        sliding_layers=0 if latent else draw(st.integers(0, layers)),
        experts=experts if mixture else None,
        latent=compressed if latent else None,
        tower_parameters=draw(st.sampled_from([0, 400_000_000])),
    )


def variant_of(shape: Shape, precision: Precision) -> Variant:
    """A variant with the size that its shape has."""
    size = published_bytes(shape, precision)
    return Variant(
        name="own", model="own", repo="me/own", revision=None, precision=precision.name, bytes=size, shape=shape
    )


def replicated(shape: Shape, precision: Precision, tensor_parallel: int) -> float:
    """Bytes that all ranks together hold more than once: what is not split, and what a split repeats."""
    more = float(shape.norms * shape.hidden * shape.layers + shape.hidden) * 2 * (tensor_parallel - 1)
    for count, mixture in ((shape.layers - shape.moe_layers, False), (shape.moe_layers, True)):
        for matrix in layer_matrices(shape, mixture=mixture) if count else ():
            elements = matrix.inputs * matrix.outputs * matrix.copies
            plain = not precision.is_quantised or not matrix.quantised
            plain = plain or (precision.experts_only and not matrix.name.startswith("expert_"))
            weights = elements * (2 if plain else precision.element)
            channels = 0 if plain else matrix.outputs * matrix.copies * precision.channel_bytes
            groups = elements / precision.group * precision.group_bytes if precision.group and not plain else 0
            bias = 2 * matrix.outputs if matrix.bias else 0
            again = {
                "none": (tensor_parallel - 1) * (weights + channels + groups),
                "kv": (tensor_parallel * shape.kv_heads_on(tensor_parallel) / shape.kv_heads - 1)
                * (weights + channels + groups + bias),
                "inputs": (tensor_parallel - 1) * channels,  # every rank scales every output
                "outputs": 0,
            }
            more += count * again[matrix.split]
    return more


def kept_twice(shape: Shape) -> int:
    """The up-projection of latent attention, which an engine keeps in 16 bits beside the one of the files."""
    if not shape.latent:
        return 0
    return 2 * shape.layers * shape.latent.kv_rank * shape.heads * (shape.latent.nope_dim + shape.latent.value_dim)


@CASES
@given(shapes(), st.sampled_from(SAFETENSORS), st.data())
def test_shards_sum_to_the_whole(shape: Shape, precision: Precision, data: st.DataObject) -> None:
    """The weights of all tensor-parallel ranks are the published ones, and what is known to be repeated."""
    ranks = data.draw(st.sampled_from(shape.tensor_parallel_sizes(16)))
    shard = weight_bytes(shape, precision, tensor_parallel=ranks, padded=False)
    expected = published_bytes(shape, precision) + kept_twice(shape) + replicated(shape, precision, ranks)

    assert expected == pytest.approx(ranks * (shard.weights + shard.scales), abs=2 * ranks, rel=1e-12)


@CASES
@given(shapes(), st.sampled_from(SAFETENSORS), st.data())
def test_padding_only_adds(shape: Shape, precision: Precision, data: st.DataObject) -> None:
    """What kernels pad makes a shard larger, never smaller, and by less than the blocks they pad to."""
    ranks = data.draw(st.sampled_from(shape.tensor_parallel_sizes(16)))
    shard = weight_bytes(shape, precision, tensor_parallel=ranks, padded=False)
    padded = weight_bytes(shape, precision, tensor_parallel=ranks)

    assert padded.weights + padded.scales >= shard.weights + shard.scales - 1
    if precision.name != "mxfp4":
        assert 2 * 2 * 63 * shape.hidden >= padded.weights - shard.weights


@CASES
@given(shapes(), st.sampled_from(SAFETENSORS), st.data())
def test_stages_sum_to_the_whole(shape: Shape, precision: Precision, data: st.DataObject) -> None:
    """The stages of a pipeline hold the published weights; a tied table is on the first stage and on the last."""
    stages = data.draw(st.integers(1, min(shape.layers, 9)))
    parts = [
        weight_bytes(shape, precision, pipeline_parallel=stages, stage=stage, padded=False) for stage in range(stages)
    ]
    table = 2 * shape.vocab * shape.hidden if shape.tied_embeddings and stages > 1 else 0
    expected = published_bytes(shape, precision) + kept_twice(shape) + table

    assert expected == pytest.approx(sum(part.weights + part.scales for part in parts), abs=2 * stages, rel=1e-12)


def fullest(shape: Shape, precision: Precision, layout: Layout) -> int:
    """Weights on the GPU that holds most of them."""
    ranks, stages = layout
    parts = (
        weight_bytes(shape, precision, tensor_parallel=ranks, pipeline_parallel=stages, stage=stage)
        for stage in range(stages)
    )
    return max(part.total for part in parts)


@CASES
@given(shapes(), st.sampled_from(SAFETENSORS))
def test_more_gpus_hold_less_each(shape: Shape, precision: Precision) -> None:
    """No GPU holds more weights because there are more GPUs, split either way."""
    ranks = [fullest(shape, precision, Layout(size, 1)) for size in shape.tensor_parallel_sizes(16)]
    stages = [fullest(shape, precision, Layout(1, size)) for size in range(1, min(shape.layers, 9) + 1)]

    assert sorted(ranks, reverse=True) == ranks
    assert sorted(stages, reverse=True) == stages


@CASES
@given(
    st.sampled_from(sorted(ENGINES)),
    shapes(),
    st.sampled_from(sorted(PRECISIONS)),
    st.sampled_from(IDS),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.integers(1, 131_072),
    st.integers(0, 100_000),
    st.integers(1, 1024),
    st.integers(0, 1024),
)
def test_more_is_never_cheaper(
    name: str, shape: Shape, precision: str, card: str, count: int, context: int, longer: int, few: int, more: int
) -> None:
    """More context and more requests never need less memory, with any engine."""
    engine, variant = ENGINES[name], variant_of(shape, PRECISIONS[precision])
    gpus = gpus_of(gpu_models()[card], count)
    layout = engine.layout(variant, count)
    assume(isinstance(layout, Layout))
    assert isinstance(layout, Layout)

    def needed(load: Load) -> tuple[int, int]:
        memory = engine.budget(variant, gpus, layout, load)
        return memory.fixed, engine.kv_needed(variant, gpus, layout, load)

    small = needed(Load(context, few))
    assert all(a <= b for a, b in zip(small, needed(Load(context + longer, few)), strict=True))
    assert all(a <= b for a, b in zip(small, needed(Load(context, few + more)), strict=True))


@st.composite
def hosts(draw: st.DrawFn, most_kinds: int = 2) -> dict[str, Any]:
    """Keywords for a probe: GPUs of some kinds, NVLink pairs, NUMA nodes, and memory that others hold."""
    kinds = draw(st.lists(st.sampled_from([*IDS, *BIG]), min_size=1, max_size=most_kinds, unique=True))
    gpus = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=8))
    numa = [draw(st.integers(0, 1)) for _ in gpus] if draw(st.booleans()) else []
    others = st.sampled_from([0, 300, 1500, 3000, 20_000])
    used = draw(st.dictionaries(st.integers(0, len(gpus) - 1), others, max_size=2))
    pairs = [(a, a + 1) for a in range(0, len(gpus) - 1, 2)] if draw(st.booleans()) else []
    topology = [
        "\t".join([f"GPU{row}", *("NV4" if tuple(sorted((row, c))) in pairs else "SYS" for c in range(len(gpus)))])
        for row in range(len(gpus))
    ]
    return {"gpus": tuple(gpus), "used": used, "numa": numa, "topology": topology}


ENGINE_CHOICES = ("auto", "auto", *ENGINES)


@st.composite
def services(draw: st.DrawFn, count: int = 1, engines: Sequence[str] = ("auto",)) -> list[dict[str, Any]]:
    """Services with modest wishes."""
    wanted: list[dict[str, Any]] = []
    for index in range(draw(st.integers(1, count))):
        model = draw(st.sampled_from(["hermes-3-3b", "hermes-3-8b", "hermes-4-14b", "hermes-4.3-36b", "hermes-4-70b"]))
        service = {
            "name": f"s{index}",
            "model": model,
            "port": 8000 + index,
            "engine": draw(st.sampled_from(engines)),
            "context": draw(st.sampled_from(["max", "max", 4096, 30_001, 60_000])),
            "sequences": draw(st.sampled_from([None, None, 4, 64])),
            "kv_precision": draw(st.sampled_from(["auto", "auto", "bf16", "fp8"])),
            "gpus": draw(st.sampled_from(["auto", "auto", "auto", 1, 2, [uuid_of(0)], [uuid_of(0), uuid_of(1)]])),
        }
        if draw(st.booleans()):
            service["min_context"] = 4096
        wanted.append(service)
    return wanted


@st.composite
def bold_services(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A service with wishes of which many are impossible."""
    (service,) = draw(services(engines=ENGINE_CHOICES))
    model = draw(st.sampled_from(sorted(MODELS)))
    service |= {
        "model": model,
        "variant": draw(st.sampled_from(["auto", "auto", *(variant.precision for variant in MODELS[model])])),
        "context": draw(st.sampled_from(["max", 4096, 30_001, 131_072, 600_000])),
        "sequences": draw(st.sampled_from([None, 1, 300, 4096])),
        "gpus": draw(st.sampled_from(["auto", "auto", 1, 3, 8, [uuid_of(0)], [uuid_of(0), uuid_of(1)]])),
        "min_context": draw(st.sampled_from([None, 2048, 30_000, 600_000])),
    }
    if service["min_context"] and service["context"] != "max":
        service["min_context"] = min(service["min_context"], service["context"])
    gguf = next((v.format.container == "gguf" for v in MODELS[model] if v.precision == service["variant"]), False)
    if service["engine"] == "vllm" or (service["engine"] == "auto" and not gguf):
        service |= draw(st.sampled_from([{}, {}, {"engine_version": "0.32.0"}, {"extra_args": {"seed": 1}}]))
    return [service]


def planned(wanted: list[dict[str, Any]], probe: Probe) -> Plan:
    """The plan; the case is passed over where there is none."""
    try:
        return make_plan(NAME, make_spec(*wanted), probe)
    except HermeionError:
        assume(False)
        raise


@CASES
@given(hosts(), services(3, ENGINE_CHOICES))
def test_no_plan_exceeds_a_gpu(answers: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    """What an engine may use lies within what others leave; less is promised than expected; the terms add up."""
    probe = make_probe(**answers)
    here = {gpu.pci_address: gpu for gpu in reconcile(NAME, probe).gpus}
    for service in planned(wanted, probe).services:
        gpus = [here[gpu.pci_address] for gpu in service.gpus]
        memory = service.memory

        fitting = [gpu for gpu in gpus if memory.usable + gpu.memory - gpu.free <= gpu.memory]
        # llama.cpp takes as much of each GPU as its layers need; the budget is that of the fullest.
        assert fitting if ENGINES[service.engine].DIVIDES_CACHE else fitting == gpus
        assert memory.device in {gpu.cuda for gpu in gpus}
        assert memory.device == sum(memory.terms.values())
        assert 0 < service.context <= service.kv_tokens <= memory.kv_tokens
        assert memory.kv_tokens <= memory.kv_tokens_expected
        variant = next(v for v in MODELS[service.model] if v.name == service.variant)
        layout = Layout(service.tensor_parallel, service.pipeline_parallel)
        load = Load(service.context, service.sequences, service.kv_precision)  # type: ignore[arg-type]
        assert ENGINES[service.engine].kv_needed(variant, gpus, layout, load) <= memory.kv_cache
        assert service.tensor_parallel * service.pipeline_parallel == len(gpus)


@CASES
@given(
    st.lists(st.sampled_from(["27b8", "2684", "2204", "2236", "20b0"]), min_size=1, max_size=4),
    st.sampled_from(["max", 45_000, 60_000, 82_000, 100_000]),
    st.sampled_from(["auto", "fp8"]),
    st.sampled_from(["auto", 1]),
)
def test_fp8_kv_cache_is_where_the_cards_have_it(
    cards: list[str], context: str | int, kv: str, gpus: str | int
) -> None:
    """An FP8 KV cache is planned on GPUs of compute capability 8.9 and newer alone, also where others stand beside."""
    wanted = {"name": "s", "model": "hermes-3-8b", "context": context, "kv_precision": kv, "gpus": gpus}
    probe = make_probe(cards)
    here = {gpu.pci_address: gpu.compute_capability for gpu in reconcile(NAME, probe).gpus}
    (service,) = planned([wanted], probe).services

    assert "fp8" != service.kv_precision or all(here[gpu.pci_address] >= (8, 9) for gpu in service.gpus)


@CASES
@given(hosts(), services(3), st.randoms(use_true_random=False))
def test_order_of_the_answers_is_of_no_matter(
    answers: dict[str, Any], wanted: list[dict[str, Any]], source: random.Random
) -> None:
    """Whatever order bus and driver list their GPUs in: the same services on the same PCI addresses."""
    probe = make_probe(**answers)
    pci, smi = list(probe.pci), list(probe.smi or ())
    source.shuffle(pci)
    source.shuffle(smi)
    plan = planned(wanted, probe)

    assert plan == make_plan(NAME, make_spec(*wanted), probe.model_copy(update={"pci": tuple(pci), "smi": tuple(smi)}))


@CASES
@given(hosts(), services(), st.randoms(use_true_random=False))
def test_order_of_free_gpus_is_of_no_matter(
    answers: dict[str, Any], wanted: list[dict[str, Any]], source: random.Random
) -> None:
    """The same candidate on the same GPUs, whatever order the free GPUs come in."""
    host = reconcile(NAME, make_probe(**answers))
    (spec,) = make_spec(*wanted).hermes_services
    variants = find_variants(NAME, spec, built_in_catalog())
    free = list(host.gpus)
    source.shuffle(free)

    def decisions(gpus: Sequence[Gpu], host: Host) -> object:
        try:
            chosen, rejections = place(spec, host, gpus, variants)
        except PlacementError as error:
            return error.fix, sorted(map(repr, error.rejections))
        return sorted(gpu.pci_address for gpu in chosen.gpus), chosen.option, chosen.load, sorted(map(repr, rejections))

    assert decisions(host.gpus, host) == decisions(free, host.model_copy(update={"gpus": tuple(free)}))


@CASES
@given(hosts(), services(3))
def test_a_plan_that_was_carried_out_is_the_same_plan(answers: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    """Planning is repeatable, and planning again on the host as it is then changes nothing."""
    probe = make_probe(**answers)
    first = planned(wanted, probe)
    after = converged_answers(first)
    after["used"] = answers["used"] | after["used"]

    assert first == make_plan(NAME, make_spec(*wanted), probe)
    assert first.services == make_plan(NAME, make_spec(*wanted), make_probe(**answers | after)).services


def assume_it_can_serve(probe: Probe) -> None:
    """Pass the case over where the host is refused, whatever is wanted of it."""
    try:
        make_plan(NAME, make_spec(hermes_services=[], hermes_driver={}), probe)
    except HermeionError:
        assume(False)


def with_fix(wanted: dict[str, Any], fix: Fix, answers: dict[str, Any]) -> Plan:
    """The plan once the advice of a refusal was followed to the letter."""
    spec = make_spec({**wanted, **fix.changes})
    check_inventory(NAME, spec)
    if fix.gpus:
        count, name = fix.gpus
        pci_id = next(i for i, model in gpu_models().items() if model.name == name and ":" not in i)
        answers = {"gpus": (pci_id,) * count}
    return make_plan(NAME, spec, make_probe(**answers))


@settings(CASES, max_examples=60)
@given(hosts(), bold_services())
def test_every_refusal_names_a_fix_that_fits(answers: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    """The change that a refusal names is legal, the service fits with it, and as the text says."""
    probe = make_probe(**answers)
    assume_it_can_serve(probe)
    with pytest.raises(PlacementError) as caught:
        make_plan(NAME, make_spec(*wanted), probe)
        assume(False)

    fix = caught.value.fix
    assert isinstance(fix, Fix)
    assert str(caught.value).endswith(f"\nWhat would fit: {fix.text}.")
    (service,) = with_fix(wanted[0], fix, answers).services
    assert service.variant in fix.text
    assert f"{service.context} tokens" in fix.text
    assert fix.gpus or all(gpu.model in fix.text for gpu in service.gpus)


@settings(CASES, max_examples=10)
@given(hosts(), services(2))
def test_a_fix_leaves_gpus_to_the_next(answers: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    """A change to the inventory that is named for a service does not take the GPUs of the services after it."""
    assume(len(wanted) == 2 and not isinstance(wanted[1]["gpus"], list))
    probe = make_probe(**answers)
    with pytest.raises(PlacementError) as caught:
        make_plan(NAME, make_spec(*wanted), probe)
        assume(False)
    fix = caught.value.fix
    assert isinstance(fix, Fix)
    assume(not fix.gpus and f"{NAME}: s0:" in str(caught.value))

    changed = make_spec({**wanted[0], **fix.changes}, wanted[1])
    try:
        make_plan(NAME, changed, probe)
    except PlacementError as error:
        assert f"{NAME}: s1:" in str(error)  # the other one may still be impossible


@CASES
@given(st.sampled_from(IDS), st.integers(1, 8), shapes(), st.integers(1, 65_536), st.integers(0, 60_000))
def test_fewer_tokens_take_no_more_gpus(card: str, count: int, shape: Shape, context: int, more: int) -> None:
    """Of one variant, on GPUs of one kind, in one precision of the cache: less context never takes more GPUs."""
    gpus = gpus_of(gpu_models()[card], count)
    host = Host(name=NAME, gpus=gpus, nvswitch=False)
    pairs = [(ENGINES["vllm"], variant_of(shape, PRECISIONS["fp16"]))]

    def taken(tokens: int) -> int | None:
        wanted = {"name": "s", "model": "own", "context": tokens, "sequences": 32, "kv_precision": "bf16"}
        found = Search(ServiceSpec.model_validate(wanted), host, gpus).best(pairs)
        return len(found.gpus) if found else None

    long = taken(min(context + more, shape.max_context))
    short = taken(min(context, shape.max_context))
    assert long is None or (short is not None and short <= long)


@CASES
@given(
    st.lists(st.sampled_from(["20b2", "20b0", "2230", "2204", "2236", "26b9", "2684", "2330"]), min_size=1, max_size=4),
    st.sampled_from(["hermes-3-8b", "hermes-4-14b", "hermes-4.3-36b", "hermes-4-70b"]),
    st.sampled_from(["max", 8192, 65_536]),
)
def test_weight_only_is_the_last_resort(cards: list[str], model: str, context: str | int) -> None:
    """`auto` takes a precision that is only stored when nothing computes in its own with a comfortable context."""
    spec = ServiceSpec.model_validate({"name": "s", "model": model, "context": context})
    host = reconcile(NAME, make_probe(cards))
    pairs = rounds_for(spec, [variant for variant in MODELS[model] if not variant.only_by_name])[0]
    chosen = Search(spec, host, host.gpus).best(pairs)
    assume(chosen and not chosen.engine.is_native(chosen.variant, chosen.gpus))
    assert chosen

    for engine, variant in pairs:
        longest = variant.shape.max_context
        floor = Floor(longest, min(COMFORTABLE_CONTEXT, longest)) if context == "max" else Floor(int(context), 1)
        is_number = context != "max"
        found = Search(spec, host, host.gpus).climb(engine, variant, floor, native=True, whole_ladder=is_number)

        assert found is None or (is_number and found.context < floor.wanted)
