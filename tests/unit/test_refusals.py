"""What is said when nothing fits: every reason and the whole text, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hermeion.demands import check_inventory
from hermeion.errors import InventoryError, PlacementError
from hermeion.planner import make_plan
from hermeion.variants import ModelFacts, built_in_catalog
from tests.unit.builders import (
    A100_40,
    H100,
    L40S,
    NAME,
    OWN,
    RTX_3090,
    RTX_4090,
    T4,
    V100,
    make_probe,
    make_spec,
    smi_row,
    uuid_of,
)


def refusal(cards: Sequence[str], *services: dict[str, Any], facts: Any = None, **more: Any) -> str:
    """The message; ``more`` are keys of the host (``hermes_…``) and answers of its probe."""
    keys = {key: value for key, value in more.items() if key.startswith("hermes_")}
    answers = {key: value for key, value in more.items() if not key.startswith("hermes_")}
    with pytest.raises(PlacementError) as caught:
        make_plan(NAME, make_spec(*services, **keys), make_probe(cards, **answers), facts)
    return str(caught.value)


def wants(model: str = "hermes-3-8b", **keys: Any) -> dict[str, Any]:
    """A service of this model."""
    return {"name": "hermes", "model": model, **keys}


def text(model: str, reasons: Sequence[str], fix: str, service: str = "hermes") -> str:
    """The form of every refusal."""
    listed = "\n".join(f"  - {reason}" for reason in reasons)
    return f"gpu-1: {service}: {model} fits on no free GPU of this host.\n{listed}\nWhat would fit: {fix}."


ONE_4090 = "1 × NVIDIA GeForce RTX 4090"
ON_H100 = "on 1 × NVIDIA H100 80GB HBM3"
B8_ON_4090 = f"hermes-3-8b-bf16 on {ONE_4090}, 39936 tokens"


@pytest.mark.parametrize(
    ("cards", "wanted", "reason", "fix"),
    [
        (
            [RTX_4090],
            3,
            f"hermes-3-8b-bf16 on 3 GPUs: 3 GPUs of one model are wanted, free are {ONE_4090}",
            f"with gpus = 'auto' it fits: {B8_ON_4090}",
        ),
        (
            [RTX_4090, RTX_3090, RTX_4090],
            3,
            "hermes-3-8b-bf16 on 3 GPUs: 3 GPUs of one model are wanted, free are 1 × NVIDIA GeForce RTX 3090, "
            "2 × NVIDIA GeForce RTX 4090",
            "with gpus = 'auto' it fits: hermes-3-8b-bf16 on 2 × NVIDIA GeForce RTX 4090, 131072 tokens",
        ),
        (
            [RTX_4090],
            [uuid_of(7)],
            "hermes-3-8b-bf16 on the GPUs named: not all of the GPUs named are here and free",
            f"with gpus = 'auto' it fits: {B8_ON_4090}",
        ),
        (
            [RTX_4090],
            [uuid_of(0), uuid_of(1)],
            "hermes-3-8b-bf16 on the GPUs named: not all of the GPUs named are here and free",
            f"with gpus = 'auto' it fits: {B8_ON_4090}",
        ),
    ],
)
def test_gpus_that_are_not_there(cards: list[str], wanted: Any, reason: str, fix: str) -> None:
    """A number or names of GPUs that the host does not have."""
    assert text("hermes-3-8b", [reason], fix) == refusal(cards, wants(gpus=wanted))


def test_names_before_the_driver() -> None:
    """Only a driver knows the UUIDs by which GPUs are named."""
    reason = (
        "hermes-3-8b-bf16 on the GPUs named: GPUs are named by UUID, which only a driver tells: use a number or 'auto' "
        "for the first run"
    )
    fix = f"with gpus = 'auto' it fits: {B8_ON_4090}"

    assert text("hermes-3-8b", [reason], fix) == refusal([RTX_4090], wants(gpus=[uuid_of(0)]), driver=None)


def test_no_gpu_is_left() -> None:
    """A service that comes too late is told that no GPU is free, and what one more would do."""
    second = {**wants(), "name": "second", "port": 8001}
    fix = f"{ONE_4090}, all memory free: hermes-3-8b-bf16, 39936 tokens"

    assert text("hermes-3-8b", ["hermes-3-8b-bf16 on any GPU: no GPU is free"], fix, "second") == refusal(
        [RTX_4090], wants(), second
    )


def test_memory_that_others_hold() -> None:
    """A GPU on which others compute is left to them, by name and with what they hold."""
    reason = (
        f"hermes-3-8b-bf16 on {ONE_4090}: others hold 2.9 GiB of the memory of {uuid_of(0)}; a GPU of which "
        "others hold more than a tenth is left to them"
    )
    fix = f"{ONE_4090}, all memory free: hermes-3-8b-bf16, 39936 tokens"

    assert text("hermes-3-8b", [reason], fix) == refusal([RTX_4090], wants(), used={0: 3000})


@pytest.mark.parametrize(
    ("card", "keys", "reason", "fix"),
    [
        (
            V100,
            {"variant": "bf16"},
            "hermes-3-8b-bf16 on 1 × Tesla V100 32GB: compute capability 7.0 is older than vLLM's minimum of 7.5",
            "with variant = 'auto' it fits: hermes-3-8b-q8_0 on 1 × Tesla V100 32GB, 43264 tokens",
        ),
        (
            T4,
            {"engine": "vllm"},
            "hermes-3-8b-bf16 on 1 × Tesla T4: compute capability 7.5 has no bf16 arithmetic",
            "with engine = 'llamacpp' it fits: hermes-3-8b-q8_0 on 1 × Tesla T4, 34816 tokens",
        ),
        (
            T4,
            {"engine": "sglang", "variant": "bf16"},
            "hermes-3-8b-bf16 on 1 × Tesla T4 with SGLang: compute capability 7.5 is older than SGLang's practical "
            "minimum of 8.0",
            "with variant = 'auto' and engine = 'llamacpp' it fits: hermes-3-8b-q8_0 on 1 × Tesla T4, 34816 tokens",
        ),
        (
            H100,
            {"variant": "q8_0", "engine": "vllm"},
            f"hermes-3-8b-q8_0 {ON_H100}: vLLM reads GGUF files only with a plug-in that is not its "
            "own; llama.cpp and Ollama read them",
            f"with variant = 'auto' it fits: hermes-3-8b-bf16 {ON_H100}, 131072 tokens",
        ),
        (
            H100,
            {"variant": "q8_0", "engine": "sglang"},
            f"hermes-3-8b-q8_0 {ON_H100} with SGLang: GGUF files are planned for llama.cpp and Ollama, not for SGLang",
            f"with variant = 'auto' it fits: hermes-3-8b-bf16 {ON_H100}, 131072 tokens",
        ),
        (
            H100,
            {"variant": "bf16", "engine": "llamacpp"},
            f"hermes-3-8b-bf16 {ON_H100} with llama.cpp: llama.cpp reads GGUF files alone; "
            "hermes-3-8b-bf16 is bf16 in safetensors",
            f"with variant = 'auto' it fits: hermes-3-8b-q8_0 {ON_H100}, 131072 tokens",
        ),
        (
            H100,
            {"variant": "bf16", "engine": "ollama"},
            f"hermes-3-8b-bf16 {ON_H100} with Ollama: Ollama reads GGUF files alone; "
            "hermes-3-8b-bf16 is bf16 in safetensors",
            f"with variant = 'auto' it fits: hermes-3-8b-q8_0 {ON_H100}, 131072 tokens",
        ),
        (
            A100_40,
            {"kv_precision": "fp8", "variant": "bf16"},
            "FP8 KV cache: vLLM has bf16 alone on compute capability 8.0",
            "with kv_precision = 'auto' it fits: hermes-3-8b-bf16 on 1 × NVIDIA A100 40GB, 131072 tokens",
        ),
        (
            H100,
            {"kv_precision": "fp8", "engine": "llamacpp"},
            "FP8 KV cache with llama.cpp: llama.cpp has bf16 and q8_0 on compute capability 9.0",
            f"with kv_precision = 'auto' it fits: hermes-3-8b-q8_0 {ON_H100}, 131072 tokens",
        ),
    ],
)
def test_what_an_engine_does_not_do(card: str, keys: dict[str, Any], reason: str, fix: str) -> None:
    """Cards, files and caches that an engine does not have."""
    assert text("hermes-3-8b", [reason], fix) == refusal([card], wants(**keys))


def test_a_format_that_vllm_has_given_up() -> None:
    """A model whose own files say `fbgemm_fp8` is refused by name."""
    mine = {"name": "mine", "repo": "me/mine"}
    shape = built_in_catalog()["hermes-3-8b"][0].shape
    facts = {
        "mine": ModelFacts(revision=None, precision="fp8", bytes=9 * 10**9, shape=shape, quant_method="fbgemm_fp8")
    }
    found = refusal([H100], wants("mine"), facts=facts, hermes_catalog=[mine])

    assert (
        "gpu-1: hermes: mine fits on no free GPU of this host.\n"
        "  - mine on 1 × NVIDIA H100 80GB HBM3: vLLM has given up the format fbgemm_fp8; take a compressed-tensors FP8 "
        "variant\nWhat would fit: no GPU in the table would hold mine like that: ask for less."
    ) == found


@pytest.mark.parametrize(
    ("keys", "reason", "fix"),
    [
        (
            {"context": 200_000},
            f"hermes-3-8b-bf16 {ON_H100}: the model was made for 131072 tokens of context, 200000 are wanted",
            f"with context = 131072 it fits: hermes-3-8b-bf16 {ON_H100}, 131072 tokens",
        ),
        (
            {"min_context": 200_000},
            "hermes-3-8b-bf16: the model was made for 131072 tokens of context, at least 200000 are wanted",
            f"with min_context = 131072 it fits: hermes-3-8b-bf16 {ON_H100}, 131072 tokens",
        ),
        (
            {"context": 300_000, "min_context": 200_000},
            f"hermes-3-8b-bf16 {ON_H100}: the model was made for 131072 tokens of context, 300000 are wanted",
            f"with context = 131072 and min_context = 131072 it fits: hermes-3-8b-bf16 {ON_H100}, 131072 tokens",
        ),
    ],
)
def test_more_context_than_the_model_was_made_for(keys: dict[str, Any], reason: str, fix: str) -> None:
    """No memory helps against the model's own limit; the limit is what fits."""
    assert text("hermes-3-8b", [reason], fix) == refusal([H100], wants(kv_precision="bf16", **keys))


def test_a_context_for_which_memory_is_too_small() -> None:
    """Every rung of the ladder with the context that it holds: the cache in FP8, fewer requests, both."""
    option = f"hermes-3-8b-bf16 on {ONE_4090}"
    held = [(39_936, 80_128), (41_728, 83_456), (41_984, 83_968), *[(41_984, 83_968)] * 3]
    reasons = []
    for requests, (plain, fp8) in zip(("", ", 128", ", 64", ", 32", ", 16", ", 8"), held, strict=True):
        fewer = f"{requests} requests" if requests else ""
        for kv, tokens in (("", plain), (", FP8 KV cache", fp8)):
            reasons.append(f"{option}{kv}{fewer}: the largest context that fits is {tokens} tokens, 131072 are wanted")
    fix = f"with context = 83968 it fits: hermes-3-8b-bf16 on {ONE_4090}, 83968 tokens"

    assert text("hermes-3-8b", reasons, fix) == refusal([RTX_4090], wants(variant="bf16", context=131_072))


@pytest.mark.parametrize(
    ("engine", "count", "reason"),
    [
        ("vllm", 3, "tiny on 3 × NVIDIA L40S: 2 layers cannot be a pipeline of 3 stages"),
        (
            "sglang",
            3,
            "tiny on 3 × NVIDIA L40S with SGLang: 2 layers cannot be a pipeline of 3 stages; without one, these "
            "numbers of GPUs work: 1, 2",
        ),
    ],
)
def test_too_few_layers(engine: str, count: int, reason: str) -> None:
    """A model that is split over no such number of GPUs, neither by heads nor by layers."""
    tiny = {**OWN, "name": "tiny", "shape": {**OWN["shape"], "layers": 2}}
    found = refusal([L40S] * count, wants("tiny", engine=engine, gpus=count), hermes_catalog=[tiny])

    assert f"  - {reason}\nWhat would fit: with gpus = 'auto' it fits: tiny on 1 × NVIDIA L40S, 8192 tokens" in found


def test_too_few_layers_for_llamacpp() -> None:
    """llama.cpp puts whole layers on each GPU."""
    gguf = {
        **OWN,
        "name": "tiny",
        "file": "tiny-Q8_0.gguf",
        "precision": "q8_0",
        "shape": {**OWN["shape"], "layers": 2},
    }
    found = refusal([L40S] * 3, wants("tiny", engine="llamacpp", gpus=3), hermes_catalog=[gguf])

    assert "  - tiny on 3 × NVIDIA L40S with llama.cpp: 2 layers cannot be split over 3 GPUs; 1 to 2 work\n" in found


def test_both_engines_of_auto_are_listed() -> None:
    """Where vLLM's variants and then llama.cpp's do not fit, each is listed with its reason.

    Of the numbers of GPUs that do not even hold a GGUF file, the largest stands for all of them.
    """
    reasons = [
        "hermes-4-70b-bf16 on 1 × NVIDIA GeForce RTX 4090: weights and overhead need 134.5 GiB per GPU, 22.1 GiB may "
        "be used",
        "hermes-4-70b-bf16 on 2 × NVIDIA GeForce RTX 4090: weights and overhead need 70.7 GiB per GPU, 21.7 GiB may be "
        "used",
        "hermes-4-70b-fp8 on 1 × NVIDIA GeForce RTX 4090: weights and overhead need 70.8 GiB per GPU, 22.1 GiB may be "
        "used",
        "hermes-4-70b-fp8 on 2 × NVIDIA GeForce RTX 4090: weights and overhead need 38.8 GiB per GPU, 21.7 GiB may be "
        "used",
        "hermes-4-70b-q8_0 on 2 × NVIDIA GeForce RTX 4090 with llama.cpp: weights and overhead need 36.4 GiB per GPU, "
        "23.5 GiB may be used",
        "hermes-4-70b-q6_k on 2 × NVIDIA GeForce RTX 4090 with llama.cpp: weights and overhead need 29.0 GiB per GPU, "
        "23.5 GiB may be used",
    ]
    found = refusal([RTX_4090] * 2, wants("hermes-4-70b", min_context=32_768))

    assert (
        text("hermes-4-70b", reasons, "").removesuffix("\nWhat would fit: .")
        == found[: found.index("\n  - hermes-4-70b-q4_k_m")]
    )
    assert found.endswith(
        "\nWhat would fit: with min_context = 20736 it fits: hermes-4-70b-q4_k_m on 2 × NVIDIA GeForce RTX 4090, 20736 "
        "tokens."
    )


@pytest.mark.parametrize(
    ("keys", "answers"),
    [({"gpus": 2}, {}), ({"context": 200_000}, {}), ({"min_context": 200_000}, {}), ({}, {"used": {0: 9000}})],
)
def test_no_other_engine_is_tried_where_it_would_not_help(keys: dict[str, Any], answers: dict[str, Any]) -> None:
    """GPUs that are not there or not free, and a context that the model was not made for, are not vLLM's fault."""
    assert "llama.cpp" not in refusal([RTX_4090], wants(**keys), **answers).partition("\nWhat would fit")[0]


@pytest.mark.parametrize("keys", [{"engine_version": "0.33.0"}, {"extra_args": {"seed": 1}}, {"image": "vllm:mine"}])
def test_what_is_written_for_vllm_is_not_given_to_llamacpp(keys: dict[str, Any]) -> None:
    """With a version, an image or options, `auto` stays with vLLM: llama.cpp would not understand them."""
    (key,) = keys
    reason = "hermes-3-8b-bf16 on 1 × Tesla V100 32GB: compute capability 7.0 is older than vLLM's minimum of 7.5"
    default = "{}" if key == "extra_args" else "None"
    fix = f"with {key} = {default} it fits: hermes-3-8b-q8_0 on 1 × Tesla V100 32GB, 43264 tokens"

    assert text("hermes-3-8b", [reason], fix) == refusal([V100], wants(**keys))


MIG_ROW = smi_row(1, H100).replace("Disabled", "Enabled")
MIG_REASON = (
    "0000:02:00.0 (NVIDIA H100 80GB HBM3): it is cut into MIG slices, which Hermeion does not serve on. Join them "
    f"(nvidia-smi -i {uuid_of(1)} -mig 0), or leave it to others"
)


def test_gpus_that_are_left_out_are_named() -> None:
    """A refusal lists the GPUs that cannot be used beside what was tried on the others."""
    reasons = [
        "hermes-3-8b-bf16 on 2 GPUs: 2 GPUs of one model are wanted, free are 1 × NVIDIA H100 80GB HBM3",
        MIG_REASON,
    ]
    fix = f"with gpus = 'auto' it fits: hermes-3-8b-bf16 {ON_H100}, 131072 tokens"
    rows = (0, [smi_row(0, H100), MIG_ROW])

    assert text("hermes-3-8b", reasons, fix) == refusal([H100] * 2, wants(gpus=2), smi=rows)


def test_no_gpu_can_be_used() -> None:
    """A host all of whose GPUs are left out says of each why."""
    rows = (0, [smi_row(0, H100).replace("81559, 0", "[GPU is lost], [GPU is lost]"), MIG_ROW])

    assert (
        "gpu-1: no GPU of this host can be used.\n"
        "  - 0000:01:00.0 (NVIDIA H100 80GB HBM3): nvidia-smi says 'GPU is lost'. Stop what runs on it and reset it "
        f"(nvidia-smi --gpu-reset -i {uuid_of(0)}), or reboot the host; then run again.\n  - {MIG_REASON}."
    ) == refusal([H100] * 2, wants(), smi=rows)


@pytest.mark.parametrize(
    ("declared", "cards", "found"),
    [
        ("8xH100", [H100] * 7, "7 × NVIDIA H100 80GB HBM3"),
        ("2xH100", [H100, H100, H100], "3 × NVIDIA H100 80GB HBM3"),
        ("2xH100", [H100, L40S], "1 × NVIDIA H100 80GB HBM3, 1 × NVIDIA L40S"),
        ("2xH100", [H100, H100, L40S], "2 × NVIDIA H100 80GB HBM3, 1 × NVIDIA L40S"),
        ("RTX 4090", [], "none"),
    ],
)
def test_other_gpus_than_declared(declared: str, cards: list[str], found: str) -> None:
    """What the inventory declares and what is found stand side by side."""
    assert (
        f"gpu-1: hermes_gpus declares {declared}, found are {found}. Look for a card that is missing (lspci -nn -d "
        "10de:), or correct hermes_gpus."
    ) == refusal(cards, wants(), hermes_gpus=declared)


def test_a_form_of_the_declared_card_will_do() -> None:
    """`H100` means the card with SXM, with PCIe, and the others of that name."""
    spec = make_spec(wants(), hermes_gpus="1xH100")

    assert 1 == len(make_plan(NAME, spec, make_probe(["2331"])).services)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("eight H100", "gpu-1: hermes_gpus: no GPU model 'eight H100' in the table. There are: "),
        ("0xH100", "gpu-1: hermes_gpus: not a set of GPUs: '0xH100'. Write a number and a model, such as 2xL40S."),
    ],
)
def test_what_cannot_be_declared(declared: str, message: str) -> None:
    """A declaration that is no set of known GPUs is found before any host is seen."""
    with pytest.raises(InventoryError) as caught:
        check_inventory(NAME, make_spec(wants(), hermes_gpus=declared))

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "mine", "repo": "me/mine"},
        {key: value for key, value in {**OWN, "name": "mine"}.items() if key != "bytes"},
        {"name": "mine", "path": "/srv/mine", "precision": "bf16", "bytes": 10**9},
    ],
)
def test_an_own_model_whose_files_nobody_has_read(entry: dict[str, Any]) -> None:
    """Without shape, size and precision nothing can be planned; both ways to them are named."""
    assert (
        "gpu-1: hermes: the files of mine have not been read, so nobody knows how large it is. Plan with a "
        "connection to the host, or give shape, bytes and precision in hermes_catalog."
    ) == refusal([H100], wants("mine"), hermes_catalog=[entry])


def test_a_least_context_beyond_the_wanted_one() -> None:
    """`min_context` and `context` contradict each other in the inventory already."""
    with pytest.raises(InventoryError) as caught:
        check_inventory(NAME, make_spec(wants(context=4096, min_context=8192)))

    assert "gpu-1: hermes_services/hermes/min_context: 8192 tokens are more than the wanted context of 4096." == str(
        caught.value
    )


def test_nothing_would_hold_it() -> None:
    """A model that eight of the largest GPUs do not hold has no fix, and the text says so."""
    huge = {**OWN, "name": "huge", "bytes": 20 * 10**12, "shape": {**OWN["shape"], "layers": 40_000}}
    reason = f"huge on {ONE_4090}: weights and overhead need 18.9 TiB per GPU, 22.1 GiB may be used"
    fix = "no GPU in the table would hold huge like that: ask for less"

    assert text("huge", [reason], fix) == refusal([RTX_4090], wants("huge"), hermes_catalog=[huge])
