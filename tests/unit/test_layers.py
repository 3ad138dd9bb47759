"""Who may import what, and what the core must not touch: each ban with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.builders import ROOT


class Ban(NamedTuple):
    """``names`` (modules and attributes, with everything below them) are not for ``where``, ``but`` for some."""

    names: tuple[str, ...]
    where: tuple[str, ...]
    but: tuple[str, ...]
    reason: str


EDGE = (
    "hermeion/facts.py",
    "hermeion/operations.py",
    "hermeion/narration.py",
    "hermeion/rolls.py",
    "hermeion/apply.py",
    "hermeion/wanted.py",
    "hermeion/drafts.py",
    "hermeion/pulls.py",
    "hermeion/inventory_reader.py",
    "hermeion/__main__.py",
    "hermeion/cli/*",
    "hermeion/lab/*",
)
ON_HOSTS = "hermeion/puller/*"  # runs on hosts, where it is a program of its own

BANS = (
    Ban(
        ("pyinfra", "gevent"),
        ("hermeion/*",),
        EDGE,
        "the core is tested and planned with offline: pyinfra patches sockets and threads when it is imported",
    ),
    Ban(("paramiko", "docker"), ("hermeion/*",), EDGE, "connections are the edge's business"),
    Ban(
        ("testinfra",),
        ("hermeion/*", "deploys/*"),
        (),
        "verification looks at hosts without the code that changed them",
    ),
    Ban(("subprocess", "os.system", "os.popen"), ("hermeion/*",), (*EDGE, ON_HOSTS), "the core starts nothing"),
    Ban(
        ("time", "datetime"),
        ("hermeion/*",),
        (*EDGE, ON_HOSTS),
        "the same facts give the same plan at any hour; a clock in a plan would make every run a new release",
    ),
    Ban(
        ("os.environ", "os.getenv"),
        ("hermeion/*",),
        (*EDGE, ON_HOSTS),
        "a plan depends on inventory and probe alone, not on who runs it",
    ),
    Ban(
        ("socket", "httpx", "requests", "urllib.request", "http.client", "ssl"),
        ("hermeion/*",),
        (*EDGE, ON_HOSTS),
        "the host asks the Hub and the registry, because it will pull; the core judges the answers",
    ),
    Ban(
        ("random", "secrets", "uuid"),
        ("hermeion/*",),
        (*EDGE, ON_HOSTS),
        "the same plan has the same bytes; keys are made on hosts, or for one run at the edge",
    ),
    Ban(
        ("hermeion.lab",),
        ("hermeion/*", "deploys/*", "tests/hosts/*"),
        ("hermeion/lab/*", "hermeion/cli/lab.py", "hermeion/cli/demo.py"),
        "the product does not know that a lab exists",
    ),
    Ban(
        ("hermeion.planner", "hermeion.search", "hermeion.placement"),
        ("hermeion/checks.py", "tests/hosts/*", "hermeion/render.py", "hermeion/stages.py", "hermeion/scripts/*"),
        (),
        "who judges or applies a plan must not know how it was made, or it repeats the planner's mistakes",
    ),
    Ban(
        ("hermeion",),
        ("inventories/*", "tests/hosts/*"),
        (),
        "an inventory is data that plain pyinfra reads; the host tests are sworn to plan.json on the host alone",
    ),
    Ban(("hermeion.checks",), ("hermeion/planner.py",), (), "the judge is not the maker's adviser"),
)

# A module imports modules of lower ranks alone. Whatever is not here is the edge, which may import all of them.
RANKS: dict[str, float] = {
    "hermeion": 0,
    "hermeion.errors": 0,
    "hermeion.hashes": 0,
    "hermeion.units": 0,
    "hermeion.records": 0,
    "hermeion.resources": 0,
    "hermeion.spans": 0,
    "hermeion.gpus": 1,
    "hermeion.shapes": 1,
    "hermeion.precisions": 1,
    "hermeion.jobs": 1,
    "hermeion.plans": 1,
    "hermeion.model_config.values": 1,
    "hermeion.model_config.family": 1,
    "hermeion.model_config.refusals": 1,
    "hermeion.model_config.vision_defaults": 1,
    "hermeion.headers.safetensors": 1,
    "hermeion.headers.gguf_metadata": 1,
    "hermeion.headers.gguf_file_types": 1,
    "hermeion.gpu_names": 2,
    "hermeion.weights": 2,
    "hermeion.variants": 2,
    "hermeion.model_config.dense": 2,
    "hermeion.model_config.mixtures": 2,
    "hermeion.model_config.layers": 2,
    "hermeion.model_config.rotary": 2,
    "hermeion.model_config.quantisation": 2,
    "hermeion.model_config.towers": 2,
    "hermeion.inventory": 3,
    "hermeion.probe": 3,
    "hermeion.probe.drivers": 1,
    "hermeion.probe.containers": 1,
    "hermeion.engines.tables": 1,
    "hermeion.probe.records": 2,
    "hermeion.probe.parse": 2.5,
    "hermeion.memory": 3,
    "hermeion.memory.kv_cache": 3,
    "hermeion.forecasts": 3,
    "hermeion.model_config.families": 3,
    "hermeion.model_config.decoder": 3,
    "hermeion.memory.vllm": 4,
    "hermeion.memory.sglang": 4,
    "hermeion.memory.llamacpp": 4,
    "hermeion.hosts": 4,
    "hermeion.images": 4,
    "hermeion.runtime.versions": 1,
    "hermeion.runtime.certificates": 4,
    "hermeion.runtime.daemon": 4,
    "hermeion.runtime.engine": 4,
    "hermeion.runtime.toolkit": 4,
    "hermeion.runtime.specification": 4,
    "hermeion.runtime.disruption": 4.1,
    "hermeion.runtime.decision": 4.2,
    "hermeion.runtime": 4.3,
    "hermeion.answers": 4,
    "hermeion.saved_hosts": 4,
    "hermeion.caches.listing": 4,
    "hermeion.caches.stores": 4.1,
    "hermeion.caches.repositories": 4.1,
    "hermeion.caches.snapshots": 4.2,
    "hermeion.caches.removals": 4.2,
    "hermeion.caches.pruning": 4.3,
    "hermeion.caches": 4.5,
    "hermeion.checksums": 1,
    "hermeion.networks": 3.5,
    "hermeion.routes": 4,
    "hermeion.s3": 4,
    "hermeion.stores": 4.5,
    "hermeion.registry": 4.5,
    "hermeion.rooms": 8.6,
    "hermeion.memory_terms": 9,
    "hermeion.model_config.wrappers": 4,
    "hermeion.headers.gguf": 4,
    "hermeion.sources": 8.5,
    "hermeion.gpu_sets": 5,
    "hermeion.engines.protocol": 5,
    "hermeion.drivers.versions": 2,
    "hermeion.drivers.ubuntu": 2,
    "hermeion.drivers.tables": 3,
    "hermeion.drivers.needs": 4,
    "hermeion.drivers.fabric": 4,
    "hermeion.drivers.installed": 4,
    "hermeion.drivers.requirements": 5,
    "hermeion.drivers.systems": 5,
    "hermeion.drivers.case": 6,
    "hermeion.drivers.remarks": 7,
    "hermeion.drivers.choice": 7,
    "hermeion.drivers.platforms": 8,
    "hermeion.drivers.unfinished": 8,
    "hermeion.drivers.answering": 8,
    "hermeion.drivers.silent": 9,
    "hermeion.drivers.decision": 10,
    "hermeion.drivers": 11,
    "hermeion.budgets.options": 6,
    "hermeion.budgets.vllm": 9,
    "hermeion.budgets.sglang": 9,
    "hermeion.budgets.llamacpp": 9,
    "hermeion.budgets": 10,
    "hermeion.model_files": 9,
    "hermeion.engines.places": 2,
    "hermeion.engines.config_files": 2,
    "hermeion.engines.natives": 1,
    "hermeion.engines.doors": 0,
    "hermeion.engines.failures": 0,
    "hermeion.engines.python_failures": 1,
    "hermeion.engines.option_values": 2,
    "hermeion.engines.environments": 5.4,
    "hermeion.engines.options": 5.5,
    "hermeion.engines.vllm_log": 5.5,
    "hermeion.engines.sglang_log": 5.5,
    "hermeion.packages": 8,
    "hermeion.named_files": 4,
    "hermeion.scripts.tools": 14.5,
    "hermeion.scripts.engine": 15,
    "hermeion.engines.vllm": 6,
    "hermeion.engines.sglang": 6,
    "hermeion.engines.llamacpp_log": 5.5,
    "hermeion.engines.llamacpp_options": 5.5,
    "hermeion.engines.ollama_store": 5.5,
    "hermeion.engines.llamacpp": 6,
    "hermeion.engines.ollama": 7,
    "hermeion.engines": 8,
    "hermeion.candidates": 8,
    "hermeion.rounds": 8.5,
    "hermeion.search": 9,
    "hermeion.demands": 9,
    "hermeion.fixes": 10,
    "hermeion.placement": 11,
    "hermeion.what_fits": 12,
    "hermeion.planner": 12,
    "hermeion.checks": 12,
    "hermeion.render": 12,
    "hermeion.eject": 13,
    "hermeion.stages": 13,
    "hermeion.reports": 13,
    "hermeion.bars": 10,
    "hermeion.model_config": 5,
    "hermeion.headers": 5,
    "hermeion.views": 11,
    "hermeion.fleet": 14,
    "hermeion.scripts": 14,
    "hermeion.scripts.apt": 14,
    "hermeion.scripts.components": 14,
    "hermeion.scripts.dkms": 14,
    "hermeion.scripts.keys": 14,
    "hermeion.scripts.dnf": 14.1,
    "hermeion.scripts.repositories": 14.1,
    "hermeion.scripts.signed": 14.1,
    "hermeion.scripts.packages": 14.2,
    "hermeion.scripts.driver_apt": 14.2,
    "hermeion.scripts.driver_dnf": 14.2,
    "hermeion.presentation": 14,
    "hermeion.docs": 14,
    "hermeion.scripts.driver": 15,
    "hermeion.scripts.container_runtime": 17,
    "hermeion.scripts.housekeeping": 14,
    "hermeion.scripts.sharing": 15,
    "hermeion.scripts.weights": 15,
    "hermeion.scripts.service": 15,
    "hermeion.pictures": 15,
    "hermeion.explanations": 16,
    "hermeion.pages": 16,
}


def names_used(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every module that is imported and every dotted name that is read, with its line."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield node.lineno, f"{aliases[node.value.id]}.{node.attr}"


def is_below(name: str, banned: str) -> bool:
    """Whether a name is the banned one or something in it."""
    return name == banned or name.startswith(f"{banned}.")


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path from the root is one of the patterns; ``*`` crosses folders."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def violations(path: str, source: str) -> list[str]:
    """What is wrong with one file, with the reason."""
    found = [
        f"{path}:{line}: {name}: {ban.reason}"
        for line, name in names_used(ast.parse(source))
        for ban in BANS
        if matches(path, ban.where) and not matches(path, ban.but)
        if any(is_below(name, banned) for banned in ban.names)
    ]
    own = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if own not in RANKS:
        return found
    for line, name in names_used(ast.parse(source)):
        imported = name if name in RANKS else name.rpartition(".")[0]
        if is_below(name, "hermeion") and name != own and RANKS.get(imported, 99) >= RANKS[own] and imported != own:
            found.append(f"{path}:{line}: {name}: a module imports from the layers below it alone")
    return found


def files() -> list[str]:
    """Every Python file that a ban speaks of."""
    return sorted(
        str(path.relative_to(ROOT))
        for folder in ("hermeion", "deploys", "inventories", "tests/hosts")
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


@pytest.mark.parametrize("path", files())
def test_file_keeps_to_its_layer(path: str) -> None:
    """A file imports and reads what its layer may."""
    assert [] == violations(path, (ROOT / path).read_text())


@pytest.mark.parametrize(
    ("path", "source", "caught"),
    [
        ("hermeion/planner.py", "import time\n", "hermeion/planner.py:1: time: "),
        ("hermeion/planner.py", "from datetime import datetime\n", "hermeion/planner.py:1: datetime.datetime: "),
        ("hermeion/planner.py", "def f():\n    import random\n", "hermeion/planner.py:2: random: "),
        ("hermeion/memory.py", "import os\nx = os.environ['A']\n", "hermeion/memory.py:2: os.environ: "),
        ("hermeion/memory.py", "import os as o\nx = o.getenv('A')\n", "hermeion/memory.py:2: os.getenv: "),
        ("hermeion/memory.py", "from os import environ\n", "hermeion/memory.py:1: os.environ: "),
        ("hermeion/engines/vllm.py", "import pyinfra.api\n", "hermeion/engines/vllm.py:1: pyinfra.api: "),
        ("hermeion/sources.py", "from http.client import x\n", "hermeion/sources.py:1: http.client.x: "),
        ("hermeion/sources.py", "from urllib import request\n", "hermeion/sources.py:1: urllib.request: "),
        ("hermeion/scripts/apt.py", "import subprocess\n", "hermeion/scripts/apt.py:1: subprocess: "),
        ("hermeion/checks.py", "from hermeion.planner import x\n", "hermeion/checks.py:1: hermeion.planner.x: "),
        ("hermeion/checks.py", "from hermeion import planner\n", "hermeion/checks.py:1: hermeion.planner: "),
        ("hermeion/cli/plan.py", "from hermeion.lab import hosts\n", "hermeion/cli/plan.py:1: hermeion.lab.hosts: "),
        ("deploys/driver.py", "import testinfra\n", "deploys/driver.py:1: testinfra: "),
        ("inventories/example_x.py", "import hermeion\n", "inventories/example_x.py:1: hermeion: "),
        ("tests/hosts/test_x.py", "from hermeion import plans\n", "tests/hosts/test_x.py:1: hermeion.plans: "),
        ("hermeion/gpus.py", "from hermeion.hosts import Host\n", "hermeion/gpus.py:1: hermeion.hosts.Host: "),
        ("hermeion/plans.py", "from hermeion.apply import Target\n", "hermeion/plans.py:1: hermeion.apply.Target: "),
    ],
)  # fmt: skip
def test_planted_violation_is_caught(path: str, source: str, caught: str) -> None:
    """Every ban bites: a file that breaks it is named with its line and the reason."""
    assert [caught] == sorted({found[: len(caught)] for found in violations(path, source)})


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hermeion/operations.py", "import time\nimport gevent\n"),
        ("hermeion/scripts/apt.py", "from urllib.parse import urlsplit\n"),
        ("hermeion/cli/lab.py", "from hermeion.lab import hosts\n"),
        ("hermeion/cli/__init__.py", "from hermeion.cli import lab\n"),
        ("hermeion/memory.py", "import os\nx = os.path.sep\n"),
    ],
)
def test_what_is_allowed(path: str, source: str) -> None:
    """What a layer may do is not taken for a violation."""
    assert [] == violations(path, source)


def test_every_core_module_has_a_rank() -> None:
    """A new module is put into a layer, or said to be the edge."""
    edge = {"hermeion/puller/__init__.py", "hermeion/data/__init__.py"}
    core = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in files()
        if matches(path, ("hermeion/*",)) and not matches(path, (*EDGE, ON_HOSTS)) and path not in edge
    }

    assert core == set(RANKS)


def test_bans_have_reasons() -> None:
    """A ban without a reason is a habit."""
    assert [] == [ban.names for ban in BANS if len(ban.reason.split()) < 4]


def test_files_are_found() -> None:
    """The test looks at real files."""
    assert {"hermeion/planner.py", "deploys/hermes.py", "inventories/example_single_card.py"} <= set(files())
    assert (ROOT / Path("hermeion/planner.py")).is_file()
