"""Every configuration that is planned is one that vLLM and SGLang accept, and every value arrives as it was written."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from hermeion.engines import ENGINES
from hermeion.engines.doors import DOORS
from hermeion.engines.options import check_options, normalise
from hermeion.engines.tables import table
from hermeion.errors import InventoryError, PlacementError
from hermeion.inventory import ServiceSpec
from hermeion.planner import make_plan
from tests.parsers.real import LAB_VLLM, SGLANG, Parser, fetched, lab_site, python_311
from tests.unit.builders import H100, NAME, ROOT, final_service, make_probe, make_spec, settled
from tests.unit.test_golden_plans import CASES, Case

NEWEST_VLLM = "0.33.0"
Values = dict[str, Any]

KEYS = {"vllm": 'api-key:\n- "one"\n- "two"\n', "sglang": 'api-key: "one"\n'}
"""What is added to the configuration file on the host (``keys.sh``)."""


@cache
def parser(engine: str, version: str) -> Parser:
    """The real parser of a version, as a process that tells what arrived."""
    if engine == "sglang":
        folders = [fetched("msgspec-0.22.0")]
        return Parser("sglang_values", [str(fetched(f"sglang-{version}"))], python=sys.executable, path=folders)
    folders = [lab_site()] if version == LAB_VLLM else [fetched(f"vllm-{version}"), lab_site()]
    return Parser("vllm_values", [], python=python_311(), path=folders)


def ask(engine: str, version: str, text: str, *wanted: str, words: Sequence[str] = ()) -> tuple[str | None, Values]:
    """The refusal of a configuration file, if any, and the wanted values as the engine got them.

    Args:
        words: More of the command line.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        said = parser(engine, version).ask(arguments=["--config", file.name, *words], wanted=wanted)
    return said["refusal"], said["values"]


def rendered(case: Case, engine: str, version: str) -> list[str]:
    """The configuration files of a case's services with an engine; none where nothing fits."""
    wanted = [
        {key: value for key, value in service.items() if key != "variant"}
        | {"engine": engine, "engine_version": version}
        if engine == "sglang"
        else dict(service) | {"engine": engine, "engine_version": version}
        for service in case.services
        if service.get("engine", "vllm") in {"vllm", "sglang"}
    ]
    if not wanted:
        return []
    try:
        plan = settled(make_plan(NAME, make_spec(*wanted, **case.keys), make_probe(case.gpus, **case.answers)))
    except (PlacementError, InventoryError):
        return []
    return [ENGINES[engine].files(service)["engine.yaml"] + KEYS[engine] for service in plan.services]


def golden_releases() -> list[tuple[str, str, str, str]]:
    """Name, engine, version and configuration of every golden release that has a configuration file."""
    found = []
    for path in sorted((ROOT / "tests" / "golden").glob("*/engine.yaml")):
        plan = json.loads(path.with_name("plan.json").read_text())
        found.append((path.parent.name, plan["engine"], plan["engine_version"], path.read_text()))
    return found


@pytest.mark.parametrize(("name", "engine", "version", "text"), golden_releases(), ids=lambda value: str(value)[:20])
def test_golden_releases_are_accepted(name: str, engine: str, version: str, text: str) -> None:
    """The very file of each golden release, with the keys that the host adds, is what the engine's parser takes."""
    assert (name, "") == (name, ask(engine, version, text + KEYS[engine])[0] or "")


@pytest.mark.parametrize(("engine", "version"), [("vllm", LAB_VLLM), ("vllm", NEWEST_VLLM), ("sglang", SGLANG)])
def test_planned_configurations_are_accepted(engine: str, version: str) -> None:
    """Whatever the golden plans configure, with the keys that the host adds, the engine's own parser takes."""
    texts = sorted({text for case in CASES.values() for text in rendered(case, engine, version)})
    refused = {text: said for text in texts if (said := ask(engine, version, text)[0])}

    assert {} == refused
    assert 20 <= len(texts)


HOSTILE = (
    "plain",
    "",
    " ",
    " two  words ",
    '"double"',
    "'single'",
    "$HOME ${x} `id` $(id)",
    "100 % %n",
    "{{ x }} {% y %}",
    "two\nlines\n",
    "\n",
    "\ttab",
    "\\n\\",
    "é × 日本 🜚",
    "a\x85b",
    "x y\x85 z",
    "a\u2028b\u2029c",
    "\ufeffx",
    "true",
    "False",
    "null",
    "~",
    "no",
    "on",
    "1e5",
    "0x1F",
    "0o17",
    "1_000",
    "1:30",
    "2026-11-20",
    ".inf",
    "a: b # c",
    "# c",
    "[1, 2]",
    "{a: b}",
    "*x",
    "&x",
    "!x",
    "@x",
    "|",
    ">-",
    "=",
    "a=b",
    "a.b=c",
    "serve",
    "word " * 60,
    "-",
    "-1",
    "-1.5",
    "-x",
    "-O3",
    "- x",
    "-x.y",
    "--",
    "---",
    "--port",
    "--config",
    "--a_b.c",
    "--a_b=c_d",
)
"""Values that shells, YAML, templates or argument parsers read in another way than they were meant."""


def arrived(engine: str, version: str, extra: Mapping[str, Any]) -> Values:
    """What the engine gets of ``extra_args`` by the whole way, by its own names.

    Raises:
        InventoryError: The inventory's reader does not take them.
    """
    keys = {"name": "hermes", "model": "hermes-3-8b", "engine": engine, "engine_version": version, "extra_args": extra}
    check_options("x", ServiceSpec.model_validate(keys), ENGINES[engine])
    service = final_service(keys, gpus=(H100,))
    text = ENGINES[engine].files(service)["engine.yaml"] + KEYS[engine]
    names = [name.replace("-", "_") for name in normalise(engine, version, extra)]
    refusal, values = ask(engine, version, text, *names, words=ENGINES[engine].arguments(service)[2:])
    assert None is refusal, (text, refusal)
    return values


@pytest.mark.parametrize("value", [value for value in HOSTILE if value != "--"])
@pytest.mark.parametrize("version", [LAB_VLLM, NEWEST_VLLM])
def test_hostile_text_arrives_at_vllm(version: str, value: str) -> None:
    """A text arrives byte for byte, a dash in front or not."""
    assert {"response_role": value} == arrived("vllm", version, {"response-role": value})


DASHED = ("-x", "-O3", "- x", "-x.y", "--", "---", "--port", "--config", "--a_b.c", "--a_b=c_d")
"""What SGLang's configuration file cannot say."""


@pytest.mark.parametrize("value", [value for value in HOSTILE if value not in DASHED])
def test_hostile_text_arrives_at_sglang(value: str) -> None:
    """A text arrives byte for byte."""
    assert {"weight_version": value} == arrived("sglang", SGLANG, {"weight-version": value})


@pytest.mark.parametrize("value", DASHED)
def test_a_dash_in_front_is_refused_for_sglang(value: str) -> None:
    """What SGLang would take for another option is refused before any host is seen."""
    with pytest.raises(InventoryError) as caught:
        arrived("sglang", SGLANG, {"weight-version": value})

    assert (
        f"x/extra_args: 'weight-version' cannot be {value!r}: SGLang takes what begins with a dash for another option."
        == str(caught.value)
    )


@pytest.mark.parametrize("version", [LAB_VLLM, NEWEST_VLLM])
@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"enable-prefix-caching": False}, {"enable_prefix_caching": False}),
        ({"enable-prefix-caching": True}, {"enable_prefix_caching": True}),
        ({"no-enable-prefix-caching": True}, {"enable_prefix_caching": False}),
        ({"--no_enable_prefix_caching": False}, {"enable_prefix_caching": True}),
        ({"enforce_eager": False}, {"enforce_eager": False}),
        ({"disable-cascade-attn": False}, {"disable_cascade_attn": False}),
        ({"disable-log-stats": False}, {"disable_log_stats": False}),
        ({"disable-log-stats": True}, {"disable_log_stats": True}),
        ({"seed": -1}, {"seed": -1}),
        ({"seed": "7"}, {"seed": 7}),
        ({"max-num-scheduled-tokens": "4K"}, {"max_num_scheduled_tokens": 4096}),
        ({"kv-offloading-size": -1.5}, {"kv_offloading_size": -1.5}),
        ({"kv-offloading-size": 1e-7}, {"kv_offloading_size": 1e-7}),
        ({"kv-offloading-size": 1e300}, {"kv_offloading_size": 1e300}),
        ({"kv-offloading-size": 4}, {"kv_offloading_size": 4.0}),
        ({"hf-overrides": '{"a": {"b.c": "-x"}}'}, {"hf_overrides": {"a": {"b.c": "-x"}}}),
        ({"override-generation-config": '{"temperature": 0.2}'}, {"override_generation_config": {"temperature": 0.2}}),
        ({"middleware": "-x"}, {"middleware": ["-x"]}),
    ],
)
def test_kinds_arrive_at_vllm(version: str, extra: dict[str, Any], expected: dict[str, Any]) -> None:
    """Switches, also those that are turned off, numbers and JSON are what they were."""
    assert expected == arrived("vllm", version, extra)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"disable-radix-cache": True}, {"disable_radix_cache": True}),
        ({"disable-radix-cache": False}, {"disable_radix_cache": False}),
        ({"random-seed": -1}, {"random_seed": -1}),
        ({"schedule-conservativeness": -1.5}, {"schedule_conservativeness": -1.5}),
        ({"schedule-conservativeness": 1e-7}, {"schedule_conservativeness": 1e-7}),
        ({"json-model-override-args": '{"a": "-x"}'}, {"json_model_override_args": '{"a": "-x"}'}),
        ({"enable-tf32-matmul": True}, {"enable_tf32_matmul": True}),
        ({"no-enable-tf32-matmul": True}, {"enable_tf32_matmul": False}),
        ({"preferred-sampling-params": '{"top_k": 20}'}, {"preferred_sampling_params": {"top_k": 20}}),
        ({"stream_interval": "4"}, {"stream_interval": 4}),
    ],
)
def test_kinds_arrive_at_sglang(extra: dict[str, Any], expected: dict[str, Any]) -> None:
    """Switches, numbers and JSON are what they were."""
    assert expected == arrived("sglang", SGLANG, extra)


def switches(engine: str, version: str) -> list[str]:
    """Every switch of a version that an inventory may set."""
    known = table(engine, version)
    closed = {option.name for name in (*ENGINES[engine].PLANNED, *DOORS[engine]) if (option := known.find(name))}
    return [option.name for option in known.options.values() if option.kind == "flag" and option.name not in closed]


@pytest.mark.parametrize("version", [LAB_VLLM, NEWEST_VLLM])
def test_every_switch_of_vllm_arrives(version: str) -> None:
    """Turned on or off, every switch is what the inventory says."""
    names = switches("vllm", version)

    for value in (True, False):
        assert dict.fromkeys((name.replace("-", "_") for name in names), value) == arrived(
            "vllm", version, dict.fromkeys(names, value)
        )
    assert 70 <= len(names)


def test_every_switch_of_sglang_is_taken() -> None:
    """Also those that SGLang does not take from a configuration file; one that is deprecated may change another."""
    names = switches("sglang", SGLANG)
    now = [name for name in names if not table("sglang", SGLANG).options[name].deprecated]

    assert dict.fromkeys((name.replace("-", "_") for name in now), True) == arrived(
        "sglang", SGLANG, dict.fromkeys(now, True)
    )
    # Not given at all, some are None.
    assert {False, None} >= set(arrived("sglang", SGLANG, dict.fromkeys(now, False)).values())
    for name in set(names) - set(now):
        assert [name.replace("-", "_")] == list(arrived("sglang", SGLANG, {name: True}))
    assert 150 <= len(names)


def test_what_vllm_would_do_with_the_raw_values() -> None:
    """Why they are written in another way: written as they are, they are lost, another model's name, or an error."""
    raw: dict[str, tuple[str | None, Values]] = {
        "enable-prefix-caching: false": (None, {"enable_prefix_caching": None, "model_tag": None}),
        "enforce-eager: 7": (None, {"enforce_eager": True, "model_tag": "7"}),
        "max-model: 5": (None, {"max_model_len": 5, "model_tag": None}),
        "response-role: --a_b.c": ("IndexError: list index out of range", {"response_role": None, "model_tag": None}),
    }

    for line, (refusal, values) in raw.items():
        assert (refusal, values) == ask("vllm", LAB_VLLM, f"model: m\n{line}\n", *values)
