"""Whole plans, and whole refusals, for hosts as they are bought and as published guides describe them.

Each file under ``tests/golden/plans`` holds a few cases as text; ``--update-golden`` writes them anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from hermeion.errors import PlacementError
from hermeion.model_config import parse_config
from hermeion.planner import make_plan
from hermeion.plans import Plan, Rejection, Service
from hermeion.precisions import PRECISIONS
from hermeion.probe import Probe, parse_probe
from hermeion.weights import published_bytes
from tests.unit.builders import (
    A100_40,
    A100_80,
    GB10,
    H100,
    H200,
    L40S,
    NAME,
    OWN,
    ROOT,
    RTX_3090,
    RTX_4090,
    RTX_5090,
    T4,
    V100,
    bare_text,
    make_probe,
    make_spec,
    smi_row,
    uuid_of,
)
from tests.unit.conftest import Compare

RTX_3060, RTX_2080_TI, P40, A10, L4 = "2504", "1e07", "1b38", "2236", "27b8"
RTX_6000_ADA, RTX_PRO_6000, B200 = "26b1", "2bb1", "2901"

CONFIGS = ROOT / "tests" / "unit" / "data" / "configs"


class Case(NamedTuple):
    """One host and what is wanted of it.

    Attributes:
        keys: More keys of the host: ``hermes_gpus``, ``hermes_catalog``.
        answers: What else the host answers.
        bare: Whether the plan without a driver is the same: nothing in it needs what only a driver tells.
    """

    name: str
    gpus: Sequence[str]
    services: Sequence[Mapping[str, Any]]
    keys: Mapping[str, Any] = {}
    answers: Mapping[str, Any] = {}
    bare: bool = True


def one(name: str, cards: Sequence[str], model: str, **wishes: Any) -> Case:
    """A case with one service."""
    return Case(name, cards, [{"name": "hermes", "model": model, **wishes}])


def fp8_36b(name: str, cards: Sequence[str], **wishes: Any) -> Case:
    """Hermes 4.3 36B in FP8, as the card of Doradus/Hermes-4.3-36B-FP8 offers it."""
    return one(name, cards, "hermes-4.3-36b", variant="fp8", **wishes)


def own(repo: str, **changes: Any) -> dict[str, Any]:
    """An entry of ``hermes_catalog`` for a published model, from its ``config.json``."""
    config = parse_config((CONFIGS / f"{repo.replace('/', '--')}.json").read_text(), repo)
    size = published_bytes(config.shape, PRECISIONS[config.precision])
    entry = {"name": repo.partition("/")[2].lower(), "repo": repo, "bytes": size, "precision": config.precision}
    return {**entry, "shape": config.shape.to_json(), **changes}


def own_model(name: str, gpus: Sequence[str], entry: Mapping[str, Any] | None = None, **wishes: Any) -> Case:
    """A case with one model of ``hermes_catalog``."""
    added = entry or own(name)
    service = {"name": "mine", "model": added["name"], **wishes}
    return Case(name, gpus, [service], keys={"hermes_catalog": [added]})


# "Recommended Configurations" and "VRAM Analysis" of the card of Doradus/Hermes-4.3-36B-FP8, and its 524K of context.
DORADUS = (
    fp8_36b("VRAM Analysis, 4K: A100-40GB (tight)", (A100_40,), context=4096),
    fp8_36b("VRAM Analysis, 8K: A100-40GB", (A100_40,), context=8192),
    fp8_36b("VRAM Analysis, 16K: RTX 6000 Ada (48GB)", (RTX_6000_ADA,), context=16384),
    fp8_36b("VRAM Analysis, 32K: A100-80GB", (A100_80,), context=32768),
    fp8_36b("VRAM Analysis, 64K: A100-80GB", (A100_80,), context=65536),
    fp8_36b("VRAM Analysis, 64K: H100", (H100,), context=65536),
    fp8_36b("1x RTX 4090 (24GB): OOM", (RTX_4090,)),
    fp8_36b("1x RTX 5090 (32GB): ~2K tokens", (RTX_5090,), context=2048),
    fp8_36b("1x RTX 6000 Ada (48GB): ~16K tokens", (RTX_6000_ADA,)),
    fp8_36b("1x RTX 6000 Ada (48GB): 32K, which the card gives to an A100-80GB", (RTX_6000_ADA,), context=32768),
    fp8_36b("1x A100-40GB: ~8K tokens", (A100_40,)),
    fp8_36b("1x A100-80GB: ~64K tokens", (A100_80,)),
    fp8_36b("1x H100-80GB: ~128K tokens", (H100,), context=131072),
    fp8_36b("2x RTX 4090 TP=2: ~16K tokens", (RTX_4090,) * 2, context=16384),
    fp8_36b("an L40S, 16K", (L40S,), context=16384),
    fp8_36b("an L40S, as much as fits", (L40S,)),
    fp8_36b("an H200, as much as fits", (H200,)),
    fp8_36b("RTX PRO 6000 Blackwell (96GB)", (RTX_PRO_6000,)),
    fp8_36b("524K: 1x H100", (H100,), context=524288),
    fp8_36b("524K: 2x H100", (H100,) * 2, context=524288),
    fp8_36b("524K: 4x H100", (H100,) * 4, context=524288),
    fp8_36b("524K: 2x H200", (H200,) * 2, context=524288),
    fp8_36b("524K: 2x RTX PRO 6000", (RTX_PRO_6000,) * 2, context=524288),
    one("whatever variant: 1x RTX 6000 Ada", (RTX_6000_ADA,), "hermes-4.3-36b"),
    one("whatever variant: 1x A100-40GB", (A100_40,), "hermes-4.3-36b"),
)

# The card of NousResearch/Hermes-4-405B-FP8: "multi-GPU nodes", which it does not number.
HERMES_4_405B = (
    one("8x H100", (H100,) * 8, "hermes-4-405b"),
    one("8x H100, BF16", (H100,) * 8, "hermes-4-405b", variant="bf16"),
    one("8x A100-80GB", (A100_80,) * 8, "hermes-4-405b"),
    one("4x H100, FP8", (H100,) * 4, "hermes-4-405b", variant="fp8"),
    one("4x H200, FP8", (H200,) * 4, "hermes-4-405b", variant="fp8"),
    one("8x H200", (H200,) * 8, "hermes-4-405b"),
    one("8x RTX PRO 6000, FP8", (RTX_PRO_6000,) * 8, "hermes-4-405b", variant="fp8"),
)

# "Hardware Requirements" and "Infrastructure" of the card of enfuse/Hermes-4-405B-NVFP4.
ENFUSE = (
    one("Recommended: 2x B200", (B200,) * 2, "hermes-4-405b", variant="nvfp4"),
    one("4x B200 recommended for headroom", (B200,) * 4, "hermes-4-405b", variant="nvfp4", gpus=4),
    one("Full NVFP4: RTX 5090", (RTX_5090,), "hermes-4-405b", variant="nvfp4"),
    one("Full NVFP4: 8x RTX 5090", (RTX_5090,) * 8, "hermes-4-405b", variant="nvfp4"),
    one("Weight-only FP4: 4x H100", (H100,) * 4, "hermes-4-405b", variant="nvfp4"),
    one("Weight-only FP4: 4x A100", (A100_80,) * 4, "hermes-4-405b", variant="nvfp4"),
    one("6+ B200 GPUs to load BF16: six", (B200,) * 6, "hermes-4-405b", variant="bf16"),
    one("6+ B200 GPUs to load BF16: five", (B200,) * 5, "hermes-4-405b", variant="bf16"),
    one("8x B200, whatever variant", (B200,) * 8, "hermes-4-405b"),
)

# The VRAM table of "A Comprehensive Guide to Self-Hosting the Hermes 3 Language Model" (section 3.1).
GUIDE = (
    one("8B FP16: RTX 3090", (RTX_3090,), "hermes-3-8b"),
    one("8B FP16: RTX 4090", (RTX_4090,), "hermes-3-8b"),
    one("8B INT8/INT4: RTX 3060 12GB", (RTX_3060,), "hermes-3-8b"),
    one("8B INT8: RTX 3060 12GB, GPTQ", (RTX_3060,), "hermes-3-8b", variant="gptq-8bit"),
    one("8B INT4: RTX 3060 12GB, AWQ", (RTX_3060,), "hermes-3-8b", variant="awq"),
    one("8B Q8_0: RTX 3060 12GB, llama.cpp", (RTX_3060,), "hermes-3-8b", variant="q8_0", engine="llamacpp"),
    one("8B Q4_K_M over Q6_K: the most bits that fit, llama.cpp", (RTX_3060,), "hermes-3-8b", engine="llamacpp"),
    one("8B Q4_K_M: RTX 3060 12GB, Ollama", (RTX_3060,), "hermes-3-8b", variant="q4_k_m", engine="ollama"),
    one("70B FP16: 2x RTX 3090", (RTX_3090,) * 2, "hermes-3-70b"),
    one("70B FP16: 2x RTX 4090", (RTX_4090,) * 2, "hermes-3-70b"),
    one("70B INT4: 2x RTX 3090, llama.cpp", (RTX_3090,) * 2, "hermes-3-70b", variant="q4_k_m", engine="llamacpp"),
    one("70B INT4: 2x RTX 4090, llama.cpp", (RTX_4090,) * 2, "hermes-3-70b", engine="llamacpp", context=4096),
    one("70B: A100 80GB", (A100_80,), "hermes-3-70b"),
    one("70B: H100 80GB", (H100,), "hermes-3-70b"),
    one("70B FP16: 2x A100 80GB", (A100_80,) * 2, "hermes-3-70b", variant="bf16"),
    one("70B FP16: 4x A100 80GB", (A100_80,) * 4, "hermes-3-70b", variant="bf16"),
    one("405B FP16: 8x A100 80GB", (A100_80,) * 8, "hermes-3-405b", variant="bf16"),
    one("405B: 4x A100 80GB", (A100_80,) * 4, "hermes-3-405b"),
    one("405B: 8x A100 80GB", (A100_80,) * 8, "hermes-3-405b"),
    one("405B: 4x H100 80GB", (H100,) * 4, "hermes-3-405b"),
    one("405B: 8x H100 80GB", (H100,) * 8, "hermes-3-405b"),
    one("405B INT4: 4x H100 80GB, llama.cpp", (H100,) * 4, "hermes-3-405b", variant="q4_k_m", engine="llamacpp"),
)

WISHES = (
    one("a context in numbers is worth an FP8 KV cache", (RTX_4090,), "hermes-3-8b", context=65536),
    one("and fewer requests", (RTX_4090,), "hermes-3-8b", context=83000),
    one("no FP8 KV cache on an A10", (A10,), "hermes-3-8b", context=65536),
    one("the least context that is accepted", (RTX_4090,), "hermes-3-8b", context=131072, min_context=32768),
    one("as much as fits, and at least so much", (L40S,), "hermes-4.3-36b", min_context=20000),
    one("more than the model was made for", (H100,), "hermes-4-14b", context=65536),
    one("four requests at a time", (RTX_4090,), "hermes-4-14b", sequences=4, variant="fp8"),
    one("three GPUs: a pipeline", (L40S,) * 3, "hermes-4-70b", gpus=3, variant="fp8"),
    one("SGLang", (H100,), "hermes-4.3-36b", engine="sglang"),
    one("an FP8 KV cache by wish", (H100,), "hermes-4.3-36b", kv_precision="fp8"),
    one("an older vLLM", (RTX_4090,), "hermes-3-8b", engine_version="0.32.0"),
)

SEVERAL = (
    Case(
        "two services, two GPUs",
        (RTX_4090,) * 2,
        [
            {"name": "chat", "model": "hermes-4-14b", "port": 8001},
            {"name": "fast", "model": "hermes-3-8b", "port": 8002},
        ],
    ),
    Case(
        "three services, two GPUs",
        (RTX_4090,) * 2,
        [{"name": f"s{port}", "model": "hermes-3-8b", "port": port} for port in (8001, 8002, 8003)],
    ),
    Case(
        "large, middle and small on eight H100",
        (H100,) * 8,
        [
            {"name": "large", "model": "hermes-4-405b", "variant": "nvfp4", "port": 8001},
            {"name": "middle", "model": "hermes-4-70b", "variant": "fp8", "gpus": 2, "port": 8002},
            {"name": "small", "model": "hermes-3-8b", "port": 8003},
        ],
    ),
    Case(
        "the 405B leaves a GPU to the 8B, and does not fit",
        (H100,) * 8,
        [
            {"name": "large", "model": "hermes-4-405b", "variant": "fp8", "port": 8001},
            {"name": "small", "model": "hermes-3-8b", "port": 8002},
        ],
    ),
    Case(
        "a later service has named its GPU",
        (RTX_4090,) * 3,
        [
            {"name": "first", "model": "hermes-4-14b", "port": 8001},
            {"name": "second", "model": "hermes-3-8b", "gpus": [uuid_of(0)], "port": 8002},
        ],
        bare=False,
    ),
)

MIXED = (
    one("a 3090 and a 4090", (RTX_3090, RTX_4090), "hermes-4-14b"),
    one("two 4090s and two L40S", (RTX_4090, L40S, RTX_4090, L40S), "hermes-4.3-36b"),
    one("an A100 and an H100", (A100_80, H100), "hermes-4.3-36b"),
    one("an A10 and an L4: FP8 KV cache on the L4 alone", (A10, L4), "hermes-3-8b", variant="bf16", context=60000),
    Case(
        "two kinds by name",
        (RTX_3090, RTX_4090),
        [{"name": "hermes", "model": "hermes-4-14b", "gpus": [uuid_of(0), uuid_of(1)]}],
        bare=False,
    ),
)

NVLINK_PAIRS = [
    "GPU0\t X \tSYS\tNV4\tSYS",
    "GPU1\tSYS\t X \tSYS\tNV4",
    "GPU2\tNV4\tSYS\t X \tSYS",
    "GPU3\tSYS\tNV4\tSYS\t X ",
]
TWO_NODES = {"numa": (0, 1, 0, 1, 0, 1, 0, 1)}

CLOSE = (
    Case(
        "3090s in NVLink pairs",
        (RTX_3090,) * 4,
        [{"name": "pair", "model": "hermes-4-14b", "gpus": 2}],
        answers={"topology": NVLINK_PAIRS},
        bare=False,
    ),
    Case(
        "3090s in NVLink pairs, the first of them taken by another service",
        (RTX_3090,) * 4,
        [
            {"name": "single", "model": "hermes-3-8b", "gpus": [uuid_of(0)], "port": 8001},
            {"name": "pair", "model": "hermes-4-14b", "gpus": 2, "port": 8002},
            {"name": "rest", "model": "hermes-3-8b", "port": 8003},
        ],
        answers={"topology": NVLINK_PAIRS},
        bare=False,
    ),
    Case(
        "two NUMA nodes: four GPUs and two",
        (L40S,) * 8,
        [
            {"name": "four", "model": "hermes-4-70b", "gpus": 4, "port": 8001},
            {"name": "two", "model": "hermes-4-14b", "gpus": 2, "port": 8002},
        ],
        answers=TWO_NODES,
    ),
)

TAKEN = (
    Case(
        "a desktop on the card",
        (RTX_4090,),
        [{"name": "hermes", "model": "hermes-3-8b"}],
        answers={"used": {0: 1500}},
        bare=False,
    ),
    Case(
        "others compute on the first of two",
        (RTX_4090,) * 2,
        [{"name": "hermes", "model": "hermes-3-8b"}],
        answers={"used": {0: 20000}},
        bare=False,
    ),
    Case(
        "others compute on both",
        (RTX_4090,) * 2,
        [{"name": "hermes", "model": "hermes-3-8b"}],
        answers={"used": {0: 20000, 1: 3000}},
        bare=False,
    ),
)

H100_ROWS = [smi_row(0, H100), smi_row(1, H100)]
WITH_MIG = (0, [H100_ROWS[0], H100_ROWS[1].replace("Disabled", "Enabled")])
WITH_RESET = (0, [H100_ROWS[0], H100_ROWS[1].replace("81559, 0", "[GPU requires reset], [Unknown Error]")])

LEFT_OUT = (
    Case(
        "one of two is cut into MIG slices",
        (H100,) * 2,
        [{"name": "hermes", "model": "hermes-4.3-36b"}],
        answers={"smi": WITH_MIG},
        bare=False,
    ),
    Case(
        "one of two needs a reset, and two are wanted",
        (H100,) * 2,
        [{"name": "hermes", "model": "hermes-4-70b", "gpus": 2}],
        answers={"smi": WITH_RESET},
        bare=False,
    ),
    Case(
        "other GPUs than declared",
        (H100,) * 2,
        [{"name": "hermes", "model": "hermes-4-70b"}],
        keys={"hermes_gpus": "8xH100"},
    ),
)

SPARK = {"meminfo": ("MemTotal=127600640", "MemAvailable=121634816")}  # 124610 MiB, 118784 of them available
SPARK_SMI = {"smi": (0, [smi_row(0, GB10).replace("122880, 0", "[N/A], [N/A]")])}


def spark(model: str) -> Case:
    """A DGX Spark, whose GPU shares the host's memory."""
    return Case(f"GB10: {model}", (GB10,), [{"name": "hermes", "model": model}], answers=SPARK | SPARK_SMI, bare=False)


OLD_AND_ODD = (
    spark("hermes-3-8b"),
    spark("hermes-4.3-36b"),
    spark("hermes-4-70b"),
    one("a V100", (V100,), "hermes-3-8b"),
    one("a V100, llama.cpp", (V100,), "hermes-3-8b", engine="llamacpp")._replace(bare=False),
    one("a V100, llama.cpp, no driver", (V100,), "hermes-3-8b", engine="llamacpp")._replace(
        answers={"driver": None, "packages": {}}
    ),
    one("a T4", (T4,), "hermes-3-8b"),
    one("a T4, AWQ", (T4,), "hermes-3-8b", variant="awq"),
    one("a P40", (P40,), "hermes-3-8b"),
    one("an RTX 2080 Ti", (RTX_2080_TI,), "hermes-3-3b"),
)

GGUF = {**OWN, "name": "my-gguf", "file": "my-llama-Q4_K_M.gguf", "precision": "q4_k_m", "bytes": 4_920_000_000}
HUGE = {**OWN, "name": "huge", "bytes": 20_000_000_000_000, "shape": {**OWN["shape"], "layers": 40_000}}

UNREAD = {"name": "unread", "repo": "me/unread"}

OWN_MODELS = (
    own_model("unread", (RTX_4090,), UNREAD),
    own_model("my-llama", (RTX_4090,), OWN),
    own_model("my-gguf", (RTX_4090,), GGUF),
    own_model("my-gguf, llama.cpp", (RTX_4090,), GGUF, engine="llamacpp"),
    own_model("huge", (RTX_4090,), HUGE),
    own_model("Qwen/Qwen3-30B-A3B", (RTX_6000_ADA,) * 2),
    own_model("openai/gpt-oss-120b", (H100,), context=32768),
    own_model("deepseek-ai/DeepSeek-V3", (H200,) * 8),
    own_model("mistralai/Mixtral-8x7B-Instruct-v0.1", (A100_80,) * 2),
    own_model("google/gemma-3-27b-it", (A100_80,)),
    own_model("Qwen/Qwen2.5-VL-7B-Instruct", (RTX_4090,)),
)

FILES = {
    "doradus-hermes-4.3-36b-fp8": DORADUS,
    "nousresearch-hermes-4-405b-fp8": HERMES_4_405B,
    "enfuse-hermes-4-405b-nvfp4": ENFUSE,
    "guide-hermes-3": GUIDE,
    "wishes": WISHES,
    "several-services": SEVERAL,
    "mixed-gpus": MIXED,
    "nvlink-and-numa": CLOSE,
    "used-by-others": TAKEN,
    "left-out": LEFT_OUT,
    "old-and-odd": OLD_AND_ODD,
    "own-models": OWN_MODELS,
}
CASES = {f"{file}: {case.name}": case for file, cases in FILES.items() for case in cases}


def probe_of(case: Case) -> Probe:
    """The host with a driver."""
    return make_probe(case.gpus, **case.answers)


def bare_probe(case: Case) -> Probe:
    """The host as it is bought: no driver, no Docker."""
    return parse_probe(bare_text(case.gpus, **case.answers).splitlines())


def numbers(rejections: Sequence[Rejection]) -> Iterator[str]:
    """Options that were not taken, with bytes per GPU where memory was the reason."""
    for rejection in rejections:
        yield f"  {rejection.service}: {rejection.option}: {rejection.reason}"
        if rejection.needed is not None and rejection.available is not None:
            yield f"    needed {rejection.needed:,} of {rejection.available:,} bytes"


def service_lines(service: Service) -> Iterator[str]:
    """Every decision about a service that its memory depends on."""
    memory = service.memory
    yield f"{service.name}: {service.variant} with {service.engine} {service.engine_version}"
    yield f"  on {', '.join(f'{gpu.pci_address} ({gpu.model})' for gpu in service.gpus)}"
    yield f"  tensor parallel {service.tensor_parallel} × pipeline {service.pipeline_parallel}"
    yield f"  context {service.context:,} × {service.sequences} requests"
    yield f"  KV cache {service.kv_precision}, {memory.kv_per_token:,} bytes a token on each GPU"
    yield f"  {service.kv_tokens:,} tokens promised, {memory.kv_tokens_expected:,} expected"
    for name, size in memory.terms.items():
        if size:
            yield f"  {size:>19,}  {name}"
    yield f"  {memory.device:>19,}  bytes"
    yield from (f"  mind: {remark}" for remark in service.remarks)


def plan_lines(plan: Plan) -> Iterator[str]:
    """A plan as text."""
    for service in plan.services:
        yield from service_lines(service)
    if plan.rejections:
        yield "not taken:"
        yield from numbers(plan.rejections)


def refusal_lines(error: PlacementError) -> Iterator[str]:
    """A refusal as text: the message, the bytes, and the change that fits."""
    yield f"refused: {error}"
    rejections = [rejection for rejection in error.rejections if isinstance(rejection, Rejection)]
    if any(rejection.needed is not None for rejection in rejections):
        yield "bytes per GPU:"
        yield from numbers([rejection for rejection in rejections if rejection.needed is not None])
    if error.fix:
        fix: Any = error.fix
        change = ", ".join(f"{key}={value!r}" for key, value in fix.changes.items())
        yield f"fix: {change or 'no change to the inventory'}" + (f"; host: {fix.gpus}" if fix.gpus else "")


def lines(case: Case, probe: Probe) -> Iterator[str]:
    """What becomes of a case."""
    try:
        plan = make_plan(NAME, make_spec(*case.services, **case.keys), probe)
    except PlacementError as error:
        yield from refusal_lines(error)
    else:
        yield from plan_lines(plan)


def text(case: Case) -> str:
    """A case with its heading."""
    wanted = [
        ", ".join(f"{key} {value}" for key, value in service.items() if key not in {"name", "port"})
        for service in case.services
    ]
    heading = [f"== {case.name} ==", *(f"wanted: {wish}" for wish in wanted)]
    return "\n".join([*heading, *lines(case, probe_of(case))])


@pytest.mark.parametrize("file", FILES)
def test_plans(file: str, golden: Compare) -> None:
    """GPUs, settings, memory in bytes, what was not taken and why: as they were when somebody last looked at them."""
    golden(f"plans/{file}.txt", "\n\n".join(text(case) for case in FILES[file]) + "\n")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.bare])
def test_a_driver_changes_nothing(name: str) -> None:
    """A host without a driver gets the plan, or the refusal, that it gets with one."""
    case = CASES[name]

    assert list(lines(case, probe_of(case))) == list(lines(case, bare_probe(case)))


def test_case_names_differ() -> None:
    """A case is found by its name."""
    assert sum(len(cases) for cases in FILES.values()) == len(CASES)
