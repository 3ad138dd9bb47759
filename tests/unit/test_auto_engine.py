"""Which engine ``engine="auto"`` takes: vLLM, llama.cpp where vLLM serves nothing of the model, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.engines import ENGINES
from hermeion.engines.options import version_remark
from hermeion.errors import PlacementError
from hermeion.gpus import gpu_models
from hermeion.hosts import Host, gpus_of
from hermeion.inventory import ServiceSpec
from hermeion.memory.llamacpp import gpu_layers
from hermeion.planner import make_plan
from hermeion.plans import Service
from hermeion.rounds import BINDING, GGUF_ENGINES, engine_meant, rounds_for
from hermeion.search import Search
from hermeion.variants import built_in_catalog
from tests.unit.builders import A100_40, H100, NAME, OWN, RTX_3090, RTX_4090, T4, V100, make_probe, make_spec

RTX_3060, P40 = "2504", "1b38"
GGUF = {**OWN, "name": "mine", "file": "mine-Q4_K_M.gguf", "precision": "q4_k_m", "bytes": 4_920_000_000}


def service_of(model: str, *cards: str, catalog: Any = (), **keys: Any) -> Service:
    """The one service of a plan."""
    spec = make_spec({"name": "hermes", "model": model, **keys}, hermes_catalog=list(catalog))
    return make_plan(NAME, spec, make_probe(cards)).services[0]


def wish(model: str = "hermes-3-8b", **keys: Any) -> ServiceSpec:
    """A service as the inventory describes it."""
    return ServiceSpec.model_validate({"name": "hermes", "model": model, **keys})


def instead(service: Service) -> list[str]:
    """Remarks on another engine than vLLM."""
    return [remark for remark in service.remarks if "in place of vLLM" in remark]


@pytest.mark.parametrize("variant", ["q4_k_m", "hermes-3-8b-q4_k_m"])
def test_a_variant_in_gguf_files_takes_llamacpp(variant: str) -> None:
    """A GGUF variant that is named, by name or precision, is llama.cpp's; vLLM was not asked, so nothing is said."""
    service = service_of("hermes-3-8b", RTX_4090, variant=variant)

    assert ("llamacpp", "hermes-3-8b-q4_k_m", []) == (service.engine, service.variant, instead(service))


def test_an_own_file_takes_llamacpp() -> None:
    """An own model in a GGUF file is llama.cpp's by itself; one in safetensors is vLLM's."""
    file, folder = service_of("mine", RTX_4090, catalog=[GGUF]), service_of("my-llama", RTX_4090, catalog=[OWN])

    assert ("llamacpp", (), "vllm") == (file.engine, file.remarks, folder.engine)


@pytest.mark.parametrize(
    ("model", "cards", "variant", "reason"),
    [
        ("hermes-3-8b", [V100], "q8_0", "compute capability 7.0 is older than vLLM's minimum of 7.5"),
        ("hermes-3-8b", [P40], "q8_0", "compute capability 6.1 is older than vLLM's minimum of 7.5"),
        ("hermes-3-8b", [T4], "q8_0", "compute capability 7.5 has no bf16 arithmetic"),
        (
            "hermes-3-8b",
            [RTX_3060],
            "q5_k_m",
            "weights and overhead need 17.2 GiB per GPU, 10.4 GiB may be used (hermes-3-8b-bf16 on 1 × NVIDIA GeForce "
            "RTX 3060)",
        ),
        (
            "hermes-4.3-36b",
            [A100_40],
            "q6_k",
            "weights and overhead need 38.2 GiB per GPU, 36.8 GiB may be used (hermes-4.3-36b-fp8 on 1 × NVIDIA A100 "
            "40GB)",
        ),
    ],
)
def test_where_vllm_serves_nothing(model: str, cards: list[str], variant: str, reason: str) -> None:
    """llama.cpp serves the model; the plan says what vLLM lacked, and of several variants what came closest."""
    service = service_of(model, *cards)

    assert ("llamacpp", variant, [f"llama.cpp in place of vLLM: {reason}"]) == (
        service.engine,
        service.precision,
        instead(service),
    )


def test_vllm_stays_where_it_serves_anything() -> None:
    """Less context than llama.cpp would have is no reason to take it: FP8 with 28,928 tokens on a 4090."""
    service = service_of("hermes-4-14b", RTX_4090)
    other = service_of("hermes-4-14b", RTX_4090, engine="llamacpp")

    assert ("vllm", "fp8", 28_928) == (service.engine, service.precision, service.context)
    assert other.context > service.context
    assert [] == instead(service)


@pytest.mark.parametrize("engine", ["auto", "llamacpp", "ollama"])
def test_official_files_come_first(engine: str) -> None:
    """Of GGUF files those of the model's own makers are taken before more bits of others: Q5_K_M before Q8_0."""
    service = service_of("hermes-3-70b", *[RTX_3090] * 4, engine=engine)
    official = {variant.name for variant in built_in_catalog()["hermes-3-70b"] if variant.official}

    assert ("hermes-3-70b-q5_k_m", True) == (service.variant, service.variant in official)


def test_files_of_others_are_taken_where_official_ones_do_not_do() -> None:
    """The 14B has no official GGUF file: the most bits that are comfortable."""
    assert "hermes-4-14b-q8_0" == service_of("hermes-4-14b", V100).variant


@pytest.mark.parametrize("model", sorted(built_in_catalog()))
def test_no_third_engine(model: str) -> None:
    """Whatever the model and the card: `auto` is vLLM wherever vLLM alone serves it, else llama.cpp, and no other."""
    for card in (P40, V100, T4, RTX_3060, RTX_3090, RTX_4090, A100_40, H100):
        host = Host(name=NAME, gpus=gpus_of(gpu_models()[card], 4), nvswitch=False)
        variants = [variant for variant in built_in_catalog()[model] if not variant.only_by_name]

        def found(engine: str, host: Host = host, variants: Any = variants) -> str | None:
            spec = wish(model, engine=engine, context=8192)
            chosen = Search(spec, host, host.gpus).find(rounds_for(spec, variants))
            return chosen.engine.NAME if chosen else None

        assert (found("vllm") or found("llamacpp")) == found("auto")


@pytest.mark.parametrize(
    ("keys", "rounds"),
    [
        ({}, ["vllm", "llamacpp"]),
        ({"runtime": "systemd"}, ["vllm", "llamacpp"]),
        ({"environment": {"NCCL_DEBUG": "INFO"}, "served_names": ["a"], "thinking": True}, ["vllm", "llamacpp"]),
        ({"engine_version": "0.32.0"}, ["vllm"]),
        ({"image": "mine/vllm:1"}, ["vllm"]),
        ({"extra_args": {"seed": 1}}, ["vllm"]),
        ({"runtime": "systemd", "requirements": "lock.txt"}, ["vllm"]),
        (
            {"runtime": "systemd", "archive": {"url": "https://example.com/a.tar.gz", "sha256": "ab" * 32}},
            ["llamacpp"],
        ),
        *(({"engine": name}, [name]) for name in ENGINES),
    ],
)
def test_rounds(keys: dict[str, Any], rounds: list[str]) -> None:
    """vLLM and then llama.cpp; one alone where a key is written for it, or where it is named."""
    found = rounds_for(wish(**keys), built_in_catalog()["hermes-3-8b"])

    assert rounds == [pairs[0][0].NAME for pairs in found]
    assert [{engine} for engine in rounds] == [{engine.NAME for engine, _ in pairs} for pairs in found]
    assert all((v.format.container == "gguf") == (e.NAME in GGUF_ENGINES) for pairs in found for e, v in pairs)


def test_binding_keys_are_keys_of_a_service() -> None:
    """What binds to one engine is optional."""
    assert [] == [key for key in BINDING if ServiceSpec.model_fields[key].is_required()]


@pytest.mark.parametrize(
    ("keys", "gguf", "engine"),
    [
        ({}, False, "vllm"),
        ({}, True, "llamacpp"),
        ({"archive": {"url": "https://example.com/a.tar.gz", "sha256": "ab" * 32}}, False, "llamacpp"),
        ({"engine": "ollama"}, False, "ollama"),
    ],
)
def test_for_which_engine_an_inventory_is_written(keys: dict[str, Any], gguf: bool, engine: str) -> None:
    """The one that is named; else llama.cpp for a GGUF file or an archive, else vLLM."""
    assert engine == engine_meant(wish(**keys), gguf=gguf).NAME


def test_a_newer_version_is_planned_with_a_remark() -> None:
    """A version newer than any known one is planned as the newest known, and that is said."""
    service, known = service_of("hermes-3-8b", RTX_4090, engine_version="0.99.0"), service_of("hermes-3-8b", RTX_4090)
    newest = ENGINES["vllm"].VERSIONS[-1]

    assert (
        "0.99.0",
        (f"vLLM 0.99.0 is newer than the newest this release knows ({newest}): planned as {newest}",),
        known.memory,
        known.context,
    ) == (service.engine_version, service.remarks, service.memory, service.context)
    assert (newest, ()) == (known.engine_version, known.remarks)
    assert version_remark(ENGINES["vllm"], newest) is None


def test_a_cache_that_llamacpp_alone_has() -> None:
    """A cache in Q8_0 is llama.cpp's: `auto` goes on to it, and says why."""
    spec = wish().model_copy(update={"kv_precision": "q8_0"})
    host = Host(name=NAME, gpus=gpus_of(gpu_models()[RTX_4090], 1), nvswitch=False)
    chosen = Search(spec, host, host.gpus).find(rounds_for(spec, built_in_catalog()["hermes-3-8b"]))

    assert chosen
    assert ("llamacpp", "q8_0") == (chosen.engine.NAME, chosen.load.kv_precision)
    assert "llama.cpp in place of vLLM: vLLM has bf16 and fp8 on compute capability 8.9" == chosen.remarks[0]


@pytest.mark.parametrize(
    ("engine", "card", "reason"),
    [
        ("vllm", A100_40, "FP8 KV cache: vLLM has bf16 alone on compute capability 8.0"),
        ("llamacpp", RTX_4090, "FP8 KV cache with llama.cpp: llama.cpp has bf16 and q8_0 on compute capability 8.9"),
        ("ollama", RTX_4090, "FP8 KV cache with Ollama: Ollama has bf16 and q8_0 on compute capability 8.9"),
    ],
)
def test_a_cache_that_an_engine_does_not_have(engine: str, card: str, reason: str) -> None:
    """A precision of the cache that the engine lacks on the GPUs is refused with those that it has."""
    with pytest.raises(PlacementError) as caught:
        service_of("hermes-3-8b", card, engine=engine, kv_precision="fp8")

    assert f"  - {reason}\n" in str(caught.value)


def test_a_native_service_is_searched_for_alike() -> None:
    """How a service runs changes nothing about engine, variant and memory."""
    archive = {"url": "https://example.com/llama.tar.gz", "sha256": "ab" * 32}
    native = service_of("hermes-3-8b", V100, engine="llamacpp", runtime="systemd", archive=archive)
    contained = service_of("hermes-3-8b", V100)

    assert (contained.engine, contained.variant, contained.memory) == (native.engine, native.variant, native.memory)
    assert (None, "llamacpp-b11669-abababababab") == (native.image, native.package and native.package.identity)


@pytest.mark.parametrize("gpus", range(1, 9))
def test_equal_parts_are_those_of_llamacpp(gpus: int) -> None:
    """With ``--tensor-split 1,1`` llama.cpp puts layer i of n where i / (n + 1) lies among the summed shares.

    Its own rule (``load_tensors`` of ``llama-model.cpp``) takes the first device whose sum is greater; the output is
    layer n.
    """
    shares = [(device + 1) / gpus for device in range(gpus)]
    for layers in range(gpus, 130):
        places = [
            next(device for device, share in enumerate(shares) if share > layer / (layers + 1) + 1e-9)
            for layer in range(layers + 1)
        ]

        assert tuple(places[:-1].count(device) for device in range(gpus)) == gpu_layers(layers, gpus)
        assert gpus - 1 == places[-1]
