"""The service: its unit, its answers, its memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def test_unit_is_enabled_active_and_never_restarted(host: Any, plan: Mapping[str, Any]) -> None:
    """The unit is enabled and active, and systemd has not restarted it."""
    unit = host.service(f"hermeion-{plan['name']}")
    restarts = unit.systemd_properties["NRestarts"]
    assert (True, True, "0") == (unit.is_enabled, unit.is_running, restarts)


def test_models_lists_the_served_names(api: Any, plan: Mapping[str, Any]) -> None:
    """/v1/models lists the served names to who has the key."""
    status, answer = api.ask("/v1/models")
    assert (200, plan["served_names"]) == (status, [model["id"] for model in answer["data"]])


def test_context_is_as_planned(api: Any, plan: Mapping[str, Any]) -> None:
    """The engine serves the planned context."""
    _, answer = api.ask("/v1/models")
    assert plan["context"] == answer["data"][0]["max_model_len"]


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


def test_kv_cache_holds_what_was_planned(host: Any, plan: Mapping[str, Any]) -> None:
    """The engine printed at least the planned tokens of KV cache."""
    log = host.check_output(f"docker logs hermeion-{plan['name']} 2>&1")
    printed = re.findall(r"[GC]PU KV cache size: ([\d,]+) tokens", log)
    assert printed, "the engine did not print its KV cache"
    assert int(printed[-1].replace(",", "")) >= plan["kv_tokens"]
