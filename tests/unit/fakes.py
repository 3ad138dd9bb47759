"""Inventories for pyinfra's ``@fake`` connector, and runs of the whole deploy over them."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from pprint import pformat
from typing import Any

from tests.unit.builders import (
    DIGEST,
    DRIVER,
    H100,
    L40S,
    POISON,
    REVISION,
    ROOT,
    RTX_4090,
    bare_text,
    converged_answers,
    final_plan,
    probe_text,
)

PROBE = "section os os"
"""In the command of the probe and in no other."""

SOURCES = "sh -s"
"""Scripts that go over standard input: what asks the Hub and the registry, and jobs."""

HERMES = {"name": "hermes", "model": "hermes-3-8b"}


def source_lines() -> list[str]:
    """What the Hub and the registry answer when all is well, as ``sources.sh`` prints it."""
    # One answer to every host: the weights of all the examples, as if they were in one repository.
    sizes = {
        "model.safetensors": 16_060_522_496,
        "Hermes-3-Llama-3.1-8B.Q8_0.gguf": 8_540_000_000,
        "hermes-4_3_36b-Q6_K.gguf": 29_670_000_000,
    }
    tree = [{"type": "file", "path": path, "size": size, "lfs": {"oid": "ef" * 32}} for path, size in sizes.items()]
    answers = {
        "revision": ({"sha": REVISION}, "00" * 32),
        "tree": (tree, "00" * 32),
        "manifest": ({"layers": [{"size": 8 << 30}]}, DIGEST[7:]),
    }
    lines = [
        line for name, (body, sha256) in answers.items() for line in (f"@{name}", json.dumps(body), f"@=200 {sha256} ")
    ]
    name, size = "model.safetensors", sizes["model.safetensors"]
    row = f"<Contents><Key>my-llama/{name}</Key><Size>{size}</Size></Contents>"
    stored = {
        "sums": f"{'ef' * 32}  ./{name}",
        "listing": f"<ListBucketResult>{row}</ListBucketResult>",
        "sizes": f"{size} {name}",
    }
    return lines + [line for key, body in stored.items() for line in (f"@{key}", body, f"@=200 {'00' * 32} ")]


def fake_host(probe: str, *services: Mapping[str, object], **keys: object) -> dict[str, Any]:
    """Data of a host whose probe answers ``probe``."""
    return {
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {PROBE: probe.splitlines(), "exit 1": {"success": False}, SOURCES: source_lines()},
        "hermes_services": list(services) or [HERMES],
        **keys,
    }


def write_inventory(folder: Path, hosts: Mapping[str, dict[str, Any]]) -> Path:
    """An inventory file with these hosts on the ``@fake`` connector."""
    path = folder / "inventory.py"
    named = [(f"@fake/{name}", data) for name, data in hosts.items()]
    path.write_text(f"fleet = {pformat(named)}\n")
    return path


def example_hosts() -> dict[str, dict[str, Any]]:
    """Every host of every example, by its name, as the files have them."""
    hosts: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / "inventories").glob("example_*.py")):
        for group in (value for name, value in runpy.run_path(str(path)).items() if not name.startswith("_")):
            hosts |= {name: {**data, "example": path.stem} for name, data in group}
    return hosts


GPUS_OF_EXAMPLES = {
    "example_single_card": (RTX_4090,),
    "example_two_services": (L40S, L40S),
    "example_mirrors": (H100, H100),
    "example_own_model": (L40S, L40S),
    "example_engines": (L40S,) * 4,
    "example_sources": (L40S,),
}


def fake_examples() -> dict[str, dict[str, Any]]:
    """The examples' hosts with their own data, bare but for the driver of the one that brings it itself."""
    hosts = {}
    for name, data in example_hosts().items():
        example = str(data["example"])
        cache = data.get("hermes_cache", "/srv/models")
        disks = [
            f"{cache} 9000000000000 9000000000000 yes /dev/sda1",
            "/var/lib/docker 9000000000000 9000000000000 yes x",
            "/opt/hermeion 2000000000000 1900000000000 yes /dev/nvme0n1p2",
        ]
        driver = DRIVER if example == "example_mirrors" else None
        probe = bare_text(GPUS_OF_EXAMPLES[example], driver=driver, disks=disks)
        hosts[name] = fake_host(probe) | {key: value for key, value in data.items() if not key.startswith("ssh_")}
    return hosts


def command_line(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python at the root of the checkout, without the user's own settings."""
    kept = {key: value for key, value in os.environ.items() if key not in {"HF_TOKEN", "HERMEION_REPORT"}}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=kept | {"PYINFRA_PROGRESS": "off", "COLUMNS": "200", "NO_COLOR": "1"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def deploy(inventory: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the whole deploy by plain pyinfra."""
    return command_line("-m", "pyinfra", str(inventory), "deploys/hermes.py", *options, **environment)


Run = subprocess.CompletedProcess[str]


class Runs:
    """Every run of the deploy and of the command line that the tests look at, all at once: each takes seconds."""

    def __init__(self, folder: Path) -> None:
        self.done = final_plan(name="@fake/done")
        bare = fake_host(bare_text())
        fleets = {
            "fleet": {
                "bare": bare,
                "done": fake_host(probe_text(**converged_answers(self.done))),
                "refused": fake_host(bare_text(secure_boot=True)),
                "silent": fake_host(""),
            },
            "wrong": {
                "bare": bare,
                "typo": {**bare, "hermes_servces": [HERMES]},
                "absent": {**bare, "hermes_mirrors": {"ca": "/nowhere/ca.pem"}},
            },
            "examples": fake_examples(),
        }
        paths = {}
        for name, hosts in fleets.items():
            (folder / name).mkdir()
            paths[name] = write_inventory(folder / name, hosts)
        self.left = folder / "report.json"
        pool = ThreadPoolExecutor(max_workers=3)
        starts = {
            "apply": partial(deploy, paths["fleet"], "-y", "--debug", HERMEION_REPORT=str(self.left), HF_TOKEN=POISON),
            "wrong": partial(deploy, paths["wrong"], "-y", "--debug"),
            "examples": partial(command_line, "-m", "hermeion", "plan", str(paths["examples"]), "--json"),
        }
        self.futures: dict[str, Future[Run]] = {name: pool.submit(start) for name, start in starts.items()}
        pool.shutdown(wait=False)

    def __getitem__(self, name: str) -> Run:
        """The run, once it has ended."""
        return self.futures[name].result()

    def report(self, name: str) -> dict[str, Any]:
        """The report of a run: the one it left, or the one it printed."""
        run = self[name]
        report: dict[str, Any] = json.loads(self.left.read_text() if name == "apply" else run.stdout)
        return report
