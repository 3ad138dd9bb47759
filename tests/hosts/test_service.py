"""The service: its unit, its answers, its memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest


def test_unit_is_enabled_active_and_never_restarted(host: Any, plan: Mapping[str, Any]) -> None:
    """The unit is enabled and active, and systemd has not restarted it."""
    unit = host.service(f"hermeion-{plan['name']}")
    restarts = unit.systemd_properties["NRestarts"]
    assert (True, True, "0") == (unit.is_enabled, unit.is_running, restarts)


@pytest.mark.only(engine=("vllm", "llamacpp"))
def test_models_lists_the_served_names(api: Any, plan: Mapping[str, Any]) -> None:
    """/v1/models lists the served names to who has the key."""
    status, answer = api.ask("/v1/models")
    names = {name for model in answer["data"] for name in (model["id"], *model.get("aliases", ()))}
    assert (200, set(plan["served_names"])) == (status, names)


@pytest.mark.only(engine="vllm")
def test_context_is_as_planned(api: Any, plan: Mapping[str, Any]) -> None:
    """The engine serves the planned context."""
    _, answer = api.ask("/v1/models")
    assert plan["context"] == answer["data"][0]["max_model_len"]


@pytest.mark.only(engine="llamacpp")
def test_context_of_each_slot_is_as_planned(api: Any, plan: Mapping[str, Any]) -> None:
    """Every slot of the engine has the planned context."""
    _, answer = api.ask("/props")
    assert (plan["sequences"], plan["context"]) == (
        answer["total_slots"],
        answer["default_generation_settings"]["n_ctx"],
    )


def test_chat_completion_answers(api: Any, plan: Mapping[str, Any]) -> None:
    """A chat completion answers with text."""
    body = {
        "model": plan["served_names"][0],
        "messages": [{"role": "user", "content": "Who are you?"}],
        "max_tokens": 64,
        "temperature": 0,
    }
    status, answer = api.ask("/v1/chat/completions", body)
    assert 200 == status, answer
    assert answer["choices"][0]["message"]["content"].strip()


@pytest.mark.only(engine="vllm")
def test_kv_cache_holds_what_was_planned(process: Any, plan: Mapping[str, Any]) -> None:
    """The engine printed at least the planned tokens of KV cache."""
    printed = re.findall(r"[GC]PU KV cache size: ([\d,]+) tokens", process.log)
    assert printed, "the engine did not print its KV cache"
    assert int(printed[-1].replace(",", "")) >= plan["kv_tokens"]


@pytest.mark.only(runtime="systemd")
def test_process_is_of_the_planned_release(host: Any, process: Any, plan: Mapping[str, Any]) -> None:
    """The process runs from the planned package, and CUDA is told the planned GPUs alone."""
    rows = host.check_output(f"tr '\\0' '\\n' < /proc/{process.pid}/environ").splitlines()
    values = dict(row.partition("=")[::2] for row in rows)
    assert ",".join(gpu["uuid"] for gpu in plan["gpus"]) == values["CUDA_VISIBLE_DEVICES"]
    package = plan["package"]
    folder = f"/opt/hermeion/engines/{package['name']}-{package['sha256'][:12]}/"
    assert folder in host.check_output(f"tr '\\0' ' ' < /proc/{process.pid}/cmdline")
