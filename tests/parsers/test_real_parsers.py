"""The tables say what the engines' own parsers say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hermeion.engines.tables import table
from tests.parsers import real
from tools.engine_tables import llamacpp
from tools.engine_tables.releases import Found, canonical

Rows = dict[str, tuple[str, tuple[str, ...], tuple[str, ...], bool]]


def said(options: list[dict[str, Any]]) -> Rows:
    """Options of a live parser: kind, choices, other spellings, deprecated."""
    found: Rows = {}
    for row in options:
        named = canonical(row["strings"], row["dest"])
        if named:
            found[named[0]] = (row["kind"], tuple(row["choices"]), named[1], row["deprecated"])
    return found


def tabled(engine: str, version: str) -> Rows:
    """The same of a table."""
    return {
        name: (option.kind, option.choices, option.aliases, option.deprecated is not None)
        for name, option in table(engine, version).options.items()
    }


@pytest.mark.parametrize("version", ["0.32.0", "0.33.0"])
def test_vllm_table_is_the_parsers(version: str) -> None:
    """Every option of vLLM's own parser is in the table with its kind, choices and spellings, and no other."""
    assert said(real.vllm(version).ask(describe=True)["options"]) == tabled("vllm", version)


@pytest.mark.parametrize("version", ["0.32.0", "0.33.0"])
def test_vllm_parsers_are_the_registered_ones(version: str) -> None:
    """The names of tool and reasoning parsers are those that vLLM registers."""
    names = real.vllm(version).ask(describe=True)
    found = table("vllm", version)

    assert (tuple(names["tool"]), tuple(names["reasoning"])) == (found.tool_parsers, found.reasoning_parsers)


def test_sglang_table_is_the_parsers() -> None:
    """Every option of SGLang's own parser is in the table with its kind, choices and spellings, and no other."""
    assert said(real.sglang().ask(describe=True)["options"]) == tabled("sglang", real.SGLANG)


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"model": "m", "max-model-len": 4096, "served-model-name": ["a", "b"]}, None),
        ({"model": "m", "default-chat-template-kwargs": {"thinking": False}, "api-key": ["a", "b"]}, None),
        ({"model": "m", "enable-auto-tool-choice": True, "tool-call-parser": "hermes"}, None),
        ({"model": "m", "max-model-length": 4096}, "unrecognized arguments"),
        ({"model": "m", "kv-cache-dtype": "fp3"}, "invalid choice"),
        ({"model": "m", "disable-log-requests": True}, "unrecognized arguments"),
        (
            {"model": "m", "enable-auto-tool-choice": True, "tool-call-parser": "herms"},
            "invalid tool call parser: herms",
        ),
        ({"model": "m", "reasoning-parser": "deepseek-v3"}, "invalid reasoning parser: deepseek-v3"),
    ],
)
def test_vllm_accepts_and_refuses(config: dict[str, Any], refused: str | None) -> None:
    """What vLLM takes from a configuration file it takes here; what it refuses, it refuses in its own words."""
    found = real.accepts_vllm(config)

    assert (found is None) == (refused is None), found
    assert (refused or "") in (found or "")


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"model-path": "m", "tp-size": 2, "tool-call-parser": "hermes", "reasoning-parser": "deepseek-v3"}, None),
        ({"model-path": "m", "context-length": "128k", "enable-metrics": True, "api-key": "k"}, None),
        ({"model-path": "m", "context-size": 4096}, "unrecognized arguments"),
        ({"model-path": "m", "tool-call-parser": "herms"}, "invalid choice"),
        ({"model-path": "m", "tp-size": "two"}, "invalid int value"),
    ],
)
def test_sglang_accepts_and_refuses(config: dict[str, Any], refused: str | None) -> None:
    """What SGLang takes from a configuration file it takes here; what it refuses, it refuses in its own words."""
    found = real.accepts_sglang(config)

    assert (found is None) == (refused is None), found
    assert (refused or "") in (found or "")


def test_llamacpp_table_is_what_the_server_says() -> None:
    """Every option that llama-server lists is in the table with its kind, choices and spellings, and no other."""
    found = table("llamacpp", "b11669").options
    rows = {name: Found(one.kind, one.choices, one.aliases, one.deprecated is not None) for name, one in found.items()}

    assert llamacpp.extract(real.llama_help(), "b11669", "here").options == rows


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["--model", "m.gguf", "--ctx-size", "4096", "--parallel", "4", "--jinja", "--metrics", "--no-slots"], None),
        (["--flash-attn", "on", "--cache-type-k", "q8_0", "--n-gpu-layers", "all", "--port", "8080", "--no-ui"], None),
        (["--chat-template-kwargs", '{"thinking": false}', "--reasoning-format", "deepseek", "--offline"], None),
        (["--context-size", "4096"], "invalid argument: --context-size"),
        (["--cache-type-k", "q3_0"], "Unsupported cache type: q3_0"),
        (["--mlock"], "invalid argument: --mlock"),
        (["--flash-attn"], "unknown value"),
    ],
)
def test_llamacpp_accepts_and_refuses(arguments: list[str], refused: str | None) -> None:
    """What llama-server takes on its command line it takes here; what it refuses, it refuses in its own words."""
    found = real.accepts_llamacpp(arguments)

    assert (found is None) == (refused is None), found
    assert (refused or "") in (found or "")


def test_llamacpp_knows_every_flag_and_every_choice() -> None:
    """llama-server takes every flag of the table in each of its spellings, and every choice of every option."""
    listed = set(re.findall(r"(?<![\w-])--[\w.-]+", real.llama_help()))
    ends = {"cache-list", "completion-bash", "list-devices", "version"}  # they print and end
    arguments: list[str] = []
    for one in table("llamacpp", "b11669").options.values():
        if one.kind == "flag" and one.name not in ends:
            names = [name for name in (one.name, *one.aliases) if not name.isupper()]
            arguments += [f"--{name}" if f"--{name}" in listed else f"-{name}" for name in names]
        for choice in one.choices:
            arguments += [f"--{one.name}", choice]

    assert len(arguments) > 200
    assert real.accepts_llamacpp(arguments) is None


def test_what_differs_would_be_seen() -> None:
    """The comparison fails on another version's table."""
    assert said(real.sglang().ask(describe=True)["options"]) != tabled("sglang", "0.5.22")
