"""Plans whose releases were looked at: every engine in a container and natively, and what is hard to write down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hermeion.planner import make_plan
from hermeion.plans import Plan, Service
from hermeion.render import render_files
from hermeion.sources import HubFile, settle
from tests.unit.builders import (
    H100,
    L40S,
    NAME,
    OWN,
    RTX_4090,
    TEMPLATES,
    final_plan,
    make_probe,
    make_sources,
    make_spec,
)

HOSTILE = "$HOME ${x} `id` \"double\" 'single' %n {{ x }} {% y %} # : - \\ é × \u2028 \x7f 😀\n  second line\t"
"""What shells, YAML, Compose, systemd and Jinja give a meaning to."""

DEBIAN_12 = ("ID=debian", 'VERSION_ID="12"', "VERSION_CODENAME=bookworm")

ARCHIVE = {"url": "https://mirror.example/llama-b11669.tar.gz", "sha256": "12" * 32}


def names_of(service: Service) -> list[str]:
    """GGUF files that match the service's patterns, every part of a split one."""
    names: list[str] = []
    for pattern in service.files:
        parts = re.search(r"-of-(\d{5})", pattern)
        count = int(parts[1]) if parts else 1
        names += [pattern.replace("*", f"{number:05}") for number in range(1, count + 1)]
    return names


def release(wanted: Mapping[str, object], gpus: Sequence[str] = (RTX_4090,), **answers: object) -> Plan:
    """A plan of one service, named ``hermes``, with every commit, file and digest filled in.

    Args:
        answers: What the host's probe says beside its GPUs.
    """
    plan = make_plan(NAME, make_spec({"name": "hermes", **wanted}), make_probe(gpus, **answers))
    (service,) = plan.services
    there: dict[str, Any] = {}
    if service.files:
        there["files"] = tuple(HubFile(path=name, size=1 << 30, sha256="ef" * 32) for name in names_of(service))
    return plan.model_copy(update={"services": (settle(service, make_sources(service, **there)),)})


HOSTILE_ENVIRONMENT = {"HOSTILE": HOSTILE, "NO": "yes", "null": "", "keys": "a", "PATH": "/nowhere"}
"""Names that YAML and shells know, values that they change."""


def hostile_options() -> Plan:
    """An option and an environment that every language on the way gives another meaning to."""
    wanted = {"model": "hermes-4-14b", "environment": HOSTILE_ENVIRONMENT, "extra_args": {"response-role": HOSTILE}}
    return release(wanted, (RTX_4090, RTX_4090))


def old_docker() -> Plan:
    """Two GPUs on a host whose Docker is older than 25: NVIDIA's runtime hands them out."""
    plan = release({"model": "hermes-4-14b", "gpus": 2}, (RTX_4090, RTX_4090))
    services = tuple(service.model_copy(update={"gpu_access": "runtime"}) for service in plan.services)
    return plan.model_copy(update={"services": services})


CASES: dict[str, Plan] = {
    "one-4090": final_plan(),
    "eight-h100": final_plan(
        {"name": "big", "model": "hermes-4-405b", "port": 9000, "thinking": True}, gpus=(H100,) * 8
    ),
    "mirror-own-model": final_plan(
        {
            "name": "mine",
            "model": "my-llama",
            "image": "team/engine:1.0",
            "context": 4096,
            "sequences": 8,
            "kv_precision": "fp8",
            "extra_args": {"seed": 1, "enforce-eager": True},
        },
        hermes_catalog=[OWN],
        hermes_mirrors={"registry": "mirror.example:5000", "hub": "https://hub.example"},
        hermes_cache="/mnt/big.disk/models",
    ),
    "hostile-options": hostile_options(),
    "old-docker": old_docker(),
    "sglang-compose": release({"model": "hermes-4-14b", "engine": "sglang", "gpus": 2}, (L40S, L40S)),
    "llamacpp-compose": release({"model": "hermes-4-14b", "engine": "llamacpp", "context": 16384}),
    "ollama-compose": release({"model": "hermes-3-8b", "engine": "ollama", "port": 11500, "context": 32768}),
    "vllm-native": release(
        {"model": "hermes-4-14b", "runtime": "systemd", "environment": HOSTILE_ENVIRONMENT}, (L40S, L40S)
    ),
    "sglang-native": release({"model": "hermes-3-8b", "engine": "sglang", "runtime": "systemd"}, (L40S,), os=DEBIAN_12),
    "llamacpp-native": release(
        {"model": "hermes-4-70b", "engine": "llamacpp", "runtime": "systemd", "archive": ARCHIVE}, (L40S, L40S)
    ),
    "ollama-native": release({"model": "hermes-3-8b", "engine": "ollama", "runtime": "systemd"}, (L40S,)),
}

COMPOSE = [name for name, plan in CASES.items() if plan.services[0].runtime == "compose"]
NATIVE = [name for name in CASES if name not in COMPOSE]


def service_of(case: str) -> Service:
    """The case's one service."""
    (service,) = CASES[case].services
    return service


def rendered(service: Service) -> dict[str, str]:
    """Content by path."""
    return {file.path: file.content for file in render_files(service, TEMPLATES)}
