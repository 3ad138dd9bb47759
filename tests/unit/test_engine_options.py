"""What an inventory says about an engine's version, options and environment, before any host is seen."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.engines import ENGINES
from hermeion.engines.doors import DOORS, ENVIRONMENT
from hermeion.engines.option_values import is_opposite, wrong_value
from hermeion.engines.options import (
    check_options,
    check_parsers,
    known_only,
    normalise,
    option_remarks,
    version_remark,
)
from hermeion.engines.tables import Option, table, versions
from hermeion.errors import InventoryError
from hermeion.inventory import ServiceSpec
from hermeion.variants import built_in_catalog

NEWEST = {engine: versions(engine)[-1] for engine in ENGINES}


def service(engine: str = "vllm", **keys: Any) -> ServiceSpec:
    """A service of an engine."""
    return ServiceSpec(name="hermes", model="hermes-3-8b", engine=engine, **keys)


def refusal(engine: str = "vllm", **keys: Any) -> str | None:
    """What is said against a service, without its path; ``None``: nothing."""
    try:
        check_options("gpu-1: hermes_services/hermes", service(engine, **keys), ENGINES[engine])
    except InventoryError as error:
        return str(error).removeprefix("gpu-1: hermes_services/hermes/")
    return None


@pytest.mark.parametrize(
    ("engine", "version", "expected"),
    [
        ("vllm", "0.12.0", None),
        ("vllm", "0.32.0", None),
        ("vllm", "0.14.0", None),
        ("vllm", "0.99.0", None),
        ("sglang", "0.5.9", None),
        ("vllm", "0.11.0", "vLLM 0.11.0 is older than any that is known; this release knows 0.12.0 to 0.33.0."),
        ("sglang", "0.4.9", "SGLang 0.4.9 is older than any that is known; this release knows 0.5.9 to 0.5.23."),
        ("vllm", "latest", "vLLM 'latest' is not a version such as 0.32.0; this release knows 0.12.0 to 0.33.0."),
    ],
)
def test_versions(engine: str, version: str, expected: str | None) -> None:
    """A version older than every known one, or none at all, is refused with those that are known."""
    assert (expected and f"engine_version: {expected}") == refusal(engine, engine_version=version)


def test_a_newer_version_is_remarked_on() -> None:
    """A version that nobody has read is planned as the newest known, and said so; a patch release is not."""
    vllm = ENGINES["vllm"]

    assert "vLLM 0.99.0 is newer than the newest this release knows (0.33.0): planned as 0.33.0" == version_remark(
        vllm, "0.99.0"
    )
    assert (None, None) == (version_remark(vllm, "0.33.0"), version_remark(vllm, "0.33.7"))


@pytest.mark.parametrize(
    ("engine", "extra", "expected"),
    [
        # Unknown.
        (
            "vllm",
            {"max-num-sequences": 1},
            "vLLM 0.33.0 has no option 'max-num-sequences'; did you mean 'max-num-seqs'?",
        ),
        ("vllm", {"max-model": 1}, "vLLM 0.33.0 has no option 'max-model'; did you mean 'max-model-len'?"),
        ("vllm", {"qqqq": 1}, "vLLM 0.33.0 has no option 'qqqq'."),
        ("vllm", {"swap-space": 4}, "vLLM 0.33.0 has no option 'swap-space'; vLLM 0.12.0 to 0.17.1 have it."),
        (
            "vllm",
            {"compilation-config.mode": 3},
            "'compilation-config.mode' is a part of 'compilation-config': give the whole as JSON text.",
        ),
        (
            "sglang",
            {"cuda-graph-bs": 8},
            "SGLang 0.5.23 has no option 'cuda-graph-bs'; SGLang 0.5.9 to 0.5.19 have it.",
        ),
        (
            "sglang",
            {"enable-dp-attentoin": True},
            "SGLang 0.5.23 has no option 'enable-dp-attentoin'; did you mean 'enable-dp-attention'?",
        ),
        ("llamacpp", {"ctx-sise": 1}, "llama.cpp b11669 has no option 'ctx-sise'; did you mean 'ctx-size'?"),
        ("ollama", {"ollama_debug": "1"}, "Ollama 0.33.3 has no option 'ollama_debug'; did you mean 'OLLAMA_DEBUG'?"),
        # Planned, in whatever spelling.
        (
            "vllm",
            {"max-model-len": 1},
            "'max-model-len' is not for extra_args to set: context decides it.",
        ),
        (
            "vllm",
            {"--max_model_len": 1},
            "'max_model_len' is not for extra_args to set: context decides it.",
        ),
        ("vllm", {"tp": 2}, "'tp' (tensor-parallel-size) is not for extra_args to set: gpus decides it."),
        (
            "vllm",
            {"device-memory-utilization": 0.5},
            "'device-memory-utilization' (gpu-memory-utilization) is not for extra_args to set: the plan computes it "
            "from the GPUs.",
        ),
        (
            "vllm",
            {"no-enable-auto-tool-choice": True},
            "'no-enable-auto-tool-choice' (enable-auto-tool-choice) is not for extra_args to set: tool_parser in "
            "hermes_catalog.",
        ),
        (
            "vllm",
            {"api-key": "x"},
            "'api-key' is not for extra_args to set: keys are lines of /etc/hermeion/<service>/api-keys on the host.",
        ),
        (
            "vllm",
            {"trust-remote-code": True},
            "'trust-remote-code' is not for extra_args to set: code from a model's repository is never run.",
        ),
        (
            "vllm",
            {"config": "x.yaml"},
            "'config' is not for extra_args to set: the plan writes the configuration file.",
        ),
        (
            "sglang",
            {"tensor-parallel-size": 2},
            "'tensor-parallel-size' (tp-size) is not for extra_args to set: gpus decides it.",
        ),
        (
            "sglang",
            {"model": "x"},
            "'model' (model-path) is not for extra_args to set: model and variant decide it.",
        ),
        (
            "sglang",
            {"mem_fraction_static": 0.5},
            "'mem_fraction_static' is not for extra_args to set: the plan computes it from the GPUs.",
        ),
        # Doors.
        ("vllm", {"uds": "/run/x"}, "'uds' is not for extra_args to set: services listen on 127.0.0.1."),
        (
            "vllm",
            {"trust-request-chat-template": True},
            "'trust-request-chat-template' is not for extra_args to set: requests could bring their own template, a "
            "program that the engine runs.",
        ),
        ("vllm", {"trust-request-chat-template": False}, None),
        ("vllm", {"no-trust-request-chat-template": True}, None),
        (
            "sglang",
            {"enable-custom-logit-processor": True},
            "'enable-custom-logit-processor' is not for extra_args to set: requests could bring code (pickles) that "
            "the engine runs.",
        ),
        (
            "sglang",
            {"log-level": "info"},
            "'log-level' is not for extra_args to set: at `info` SGLang writes its keys into the log.",
        ),
        (
            "llamacpp",
            {"agent": True},
            "'agent' is not for extra_args to set: the engine would run tools for whoever sends a request.",
        ),
        # Twice.
        ("vllm", {"seed": 1, "--seed": 2}, "'seed' and '--seed' are one option of vLLM. Give it once."),
        (
            "vllm",
            {"enable-prefix-caching": True, "no-enable-prefix-caching": True},
            "'enable-prefix-caching' and 'no-enable-prefix-caching' are one option of vLLM. Give it once.",
        ),
        # Of the wrong kind.
        ("vllm", {"enforce-eager": 7}, "'enforce-eager' is a switch: True or False, not 7."),
        ("vllm", {"enforce-eager": "true"}, "'enforce-eager' is a switch: True or False, not 'true'."),
        ("vllm", {"seed": "x"}, "'seed' takes a whole number, not 'x'."),
        ("vllm", {"seed": "4K"}, "'seed' takes a whole number, not '4K'."),
        ("vllm", {"max-num-scheduled-tokens": "25.6k"}, None),
        ("vllm", {"max-num-scheduled-tokens": "1.5K"}, "'max-num-scheduled-tokens' takes a whole number, not '1.5K'."),
        ("vllm", {"seed": True}, "'seed' takes a whole number, not True."),
        ("vllm", {"seed": 1.5}, "'seed' takes a whole number, not 1.5."),
        ("vllm", {"cpu-offload-gb": "much"}, "'cpu-offload-gb' takes a number, not 'much'."),
        ("vllm", {"response-role": True}, "'response-role' takes text, not True."),
        ("vllm", {"scheduling-policy": "lifo"}, "'scheduling-policy' takes fcfs, priority; not 'lifo'."),
        (
            "vllm",
            {"hf-overrides": '{"a": 1'},
            "'hf-overrides' takes JSON, and '{\"a\": 1' is none: Expecting ',' delimiter (character 7).",
        ),
        ("vllm", {"hf-overrides": 3}, "'hf-overrides' takes JSON as text, not 3."),
        (
            "vllm",
            {"response-role": "a\0b"},
            "'response-role' has a character that no file or command line carries: '\\x00'.",
        ),
        (
            "vllm",
            {"response-role": "\ud800"},
            "'response-role' has a character that no file or command line carries: '\\ud800'.",
        ),
        ("vllm", {"response-role": "--"}, "'response-role' cannot be '--': Python's argument parser drops it."),
        ("vllm", {"response-role": "-x"}, None),
        (
            "sglang",
            {"weight-version": "-x"},
            "'weight-version' cannot be '-x': SGLang takes what begins with a dash for another option.",
        ),
        ("sglang", {"random-seed": -1}, None),
        ("ollama", {"OLLAMA_IGPU_ENABLE": "1"}, None),
        ("ollama", {"OLLAMA_IGPU_ENABLE": "yes"}, "'OLLAMA_IGPU_ENABLE' is a switch: True or False, not 'yes'."),
        # Right.
        ("vllm", {"seed": 1, "enforce-eager": True, "max-logprobs": "5", "hf-overrides": "{}"}, None),
        ("vllm", {"override-generation-config": '{"temperature": 0.2}'}, None),
    ],
)
def test_extra_args(engine: str, extra: dict[str, Any], expected: str | None) -> None:
    """What the version does not know, what the plan decides, open doors, repetitions and wrong kinds are named."""
    assert (expected and f"extra_args: {expected}") == refusal(engine, extra_args=extra)


@pytest.mark.parametrize(
    ("engine", "environment", "expected"),
    [
        ("vllm", {"NCCL_DEBUG": "INFO", "TOKENIZERS_PARALLELISM": "false", "VLLM_LOGGING_LEVEL": "DEBUG"}, None),
        (
            "vllm",
            {"HF_TOKEN": "x"},
            "'HF_TOKEN' looks like a secret, and the plan and `docker inspect` show the environment. Keys are lines of "
            "/etc/hermeion/<service>/api-keys on the host; engines need no token.",
        ),
        (
            "vllm",
            {"VLLM_SERVER_DEV_MODE": "1"},
            "'VLLM_SERVER_DEV_MODE' is not for environment to set: whoever reaches the port could stop and reset the "
            "engine, without a key.",
        ),
        ("vllm", {"CUDA_VISIBLE_DEVICES": "0"}, "'CUDA_VISIBLE_DEVICES' is not for environment to set: gpus."),
        (
            "sglang",
            {"LD_PRELOAD": "/x.so"},
            "'LD_PRELOAD' is not for environment to set: it runs code that neither the image nor the lock holds, so "
            "that the release is not what its hash says.",
        ),
        (
            "llamacpp",
            {"LLAMA_ARG_HOST": "0.0.0.0"},  # noqa: S104  # refused
            "'LLAMA_ARG_HOST' is an option of llama.cpp: give it in extra_args, where it is checked.",
        ),
        (
            "ollama",
            {"OLLAMA_ORIGINS": "*"},
            "'OLLAMA_ORIGINS' is an option of Ollama: give it in extra_args, where it is checked.",
        ),
        (
            "ollama",
            {"LLAMA_ARG_CTX_SIZE": "1"},
            "'LLAMA_ARG_CTX_SIZE' is an option of Ollama: give it in extra_args, where it is checked.",
        ),
        ("vllm", {"X": "a\0"}, "'X' has a character that no environment carries: '\\x00'."),
    ],
)
def test_environment(engine: str, environment: dict[str, str], expected: str | None) -> None:
    """Secrets, open doors, what the plan sets and options in disguise are named with the reason."""
    assert (expected and f"environment: {expected}") == refusal(engine, environment=environment)


@pytest.mark.parametrize("name", ["VLLM_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"])
def test_secrets_by_name(name: str) -> None:
    """What is named like a secret is one."""
    assert str(refusal(environment={name: "x"})).startswith(f"environment: {name!r} looks like a secret")


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_environment_names(name: str) -> None:
    """Every name of the table is refused with its reason."""
    assert f"environment: {name!r} is not for environment to set: {ENVIRONMENT[name]}." == refusal(
        environment={name: "x"}
    )


@pytest.mark.parametrize(("engine", "name"), [(engine, name) for engine in DOORS for name in DOORS[engine]])
def test_doors_exist(engine: str, name: str) -> None:
    """A door that is kept shut is a real option of some version, under its own name."""
    assert any(name in table(engine, version).options for version in versions(engine))


@pytest.mark.parametrize(("engine", "name"), [(e.NAME, name) for e in ENGINES.values() for name in e.PLANNED])
def test_planned_options_exist(engine: str, name: str) -> None:
    """An option that the plan sets is a real one of some version, under one of its names."""
    assert any(table(engine, version).find(name) for version in versions(engine))


def test_a_name_with_a_dash() -> None:
    """Served names reach engines as words of a command line."""
    assert "served_names: '-x' begins with a dash, and engines take it for an option." == refusal(served_names=("-x",))


@pytest.mark.parametrize(
    ("engine", "version", "expected"),
    [
        ("vllm", "0.14.0", None),
        (
            "vllm",
            "0.13.0",
            "vLLM 0.13.0 cannot think by default (default-chat-template-kwargs came with 0.14.1). Choose an "
            "engine_version from 0.14.1 on, or let requests ask for it.",
        ),
        ("sglang", "0.5.23", None),
        (
            "sglang",
            "0.5.14",
            "SGLang 0.5.14 cannot think by default (default-chat-template-kwargs came with 0.5.16). Choose an "
            "engine_version from 0.5.16 on, or let requests ask for it.",
        ),
    ],
)
def test_thinking_by_default(engine: str, version: str, expected: str | None) -> None:
    """A version without an option for it cannot think unless a request asks."""
    assert (expected and f"thinking: {expected}") == refusal(engine, engine_version=version, thinking=True)
    assert None is refusal(engine, engine_version=version)


def test_remarks() -> None:
    """What goes away, and what an old version lacks, is said."""
    deprecated = service(engine_version="0.33.0", extra_args={"log-config-file": "x"})

    assert ("vLLM's option log-config-file is deprecated since 0.31.0",) == option_remarks(deprecated, ENGINES["vllm"])
    assert ("vLLM 0.16.0 has no shutdown-timeout: requests in flight are cut off when it stops",) == option_remarks(
        service(engine_version="0.16.0"), ENGINES["vllm"]
    )
    assert () == option_remarks(service(), ENGINES["vllm"])
    assert ("SGLang lists the name hermes alone, and answers to every name",) == option_remarks(
        service("sglang"), ENGINES["sglang"]
    )


@pytest.mark.parametrize(
    ("engine", "extra", "expected"),
    [
        ("vllm", {"--max_num_seqs": 3, "tp": 2}, {"max-num-seqs": 3, "tensor-parallel-size": 2}),
        ("vllm", {"no-enforce-eager": True}, {"enforce-eager": False}),
        ("vllm", {"disable-prefix-caching": True}, {"enable-prefix-caching": False}),
        ("vllm", {"no_enable_prefix_caching": False}, {"enable-prefix-caching": True}),
        ("sglang", {"pipeline_parallel_size": 2}, {"pp-size": 2}),
        ("ollama", {"OLLAMA_DEBUG": "1"}, {"OLLAMA_DEBUG": "1"}),
        ("vllm", {"not-known": 1}, {"not-known": 1}),
    ],
)
def test_normalise(engine: str, extra: dict[str, Any], expected: dict[str, Any]) -> None:
    """Options have the names of the table, and the opposite of a switch is the switch turned off."""
    assert expected == normalise(engine, NEWEST[engine], extra)


def test_known_only() -> None:
    """What a version does not have is left out."""
    wanted = {"shutdown-timeout": 60, "port": 1}

    assert ({"port": 1}, wanted) == (
        known_only(table("vllm", "0.12.0"), wanted),
        known_only(table("vllm", "0.33.0"), wanted),
    )


@pytest.mark.parametrize(
    ("engine", "tool", "reasoning", "expected"),
    [
        ("vllm", "hermes", "deepseek_v3", None),
        ("vllm", "hermess", None, "tool_parser: vLLM 0.33.0 has no tool parser 'hermess'; did you mean 'hermes'?"),
        (
            "vllm",
            "hermes",
            "deepseek-v3",
            "reasoning_parser: vLLM 0.33.0 has no reasoning parser 'deepseek-v3'; did you mean 'deepseek_v3'?",
        ),
        (
            "sglang",
            "hermes",
            "deepseek_v3",
            "reasoning_parser: SGLang 0.5.23 has no reasoning parser 'deepseek_v3'; did you mean 'deepseek-v3'?",
        ),
    ],
)
def test_parsers(engine: str, tool: str, reasoning: str | None, expected: str | None) -> None:
    """Engines find out about a parser's name only when they start: here it is checked, with the nearest name."""
    variant = built_in_catalog()["hermes-4-14b"][0].model_copy(
        update={"tool_parsers": {engine: tool}, "reasoning_parsers": {engine: reasoning} if reasoning else {}}
    )
    found = None
    try:
        check_parsers("hermes_catalog/own", variant, table(engine, NEWEST[engine]))
    except InventoryError as error:
        found = str(error).removeprefix("hermes_catalog/own/")

    assert expected == found


def test_parsers_without_a_near_name() -> None:
    """Where no name is near, all are shown."""
    variant = built_in_catalog()["hermes-3-8b"][0].model_copy(update={"tool_parsers": {"vllm": "zzzz"}})
    known = table("vllm", "0.12.0")
    with pytest.raises(InventoryError) as caught:
        check_parsers("hermes_catalog/own", variant, known)

    assert (
        "hermes_catalog/own/tool_parser: vLLM 0.12.0 has no tool parser 'zzzz'; it has "
        f"{', '.join(known.tool_parsers)}." == str(caught.value)
    )


@pytest.mark.parametrize(
    ("own", "name", "expected"),
    [
        ("enforce-eager", "enforce-eager", False),
        ("enforce-eager", "no-enforce-eager", True),
        ("enable-x", "disable-x", True),
        ("disable-x", "enable-x", True),
        ("disable-x", "--no_disable_x", True),
        ("mmap", "LLAMA_ARG_NO_MMAP", True),
        ("no-slots", "slots", True),
        ("no-slots", "no-slots", False),
        ("enable-expert-parallel", "ep", False),
    ],
)
def test_opposites(own: str, name: str, expected: bool) -> None:
    """A spelling that switches off is told from one that switches on."""
    assert expected == is_opposite(Option(name=own, kind="flag"), name)


def test_numbers_have_choices_too() -> None:
    """A number that the parser does not list is refused with those that it does."""
    option = Option(name="block-size", kind="int", choices=("16", "32"))

    assert (None, "takes 16, 32; not 17") == (wrong_value(option, 16), wrong_value(option, 17))
