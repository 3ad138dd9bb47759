"""Where the time of a first run goes: a bare lab host until its model answers, in seconds by stage.

    .venv/bin/python benchmarks/bare_host.py [--gpus 1xL40S]

Raises a lab of its own (named `bench`), deploys on its one bare host, prints a table, takes the lab down. The lab's
own building is not counted. Its disks and network are this machine's; the driver's package is a stand-in whose build
takes no time, so the driver's row is what everything around the compiler costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INVENTORY = "inventories/lab.py"
LAB = "bench"
PYINFRA = str(Path(sys.executable).with_name("pyinfra"))


def lab(*arguments: str) -> None:
    """`hermeion lab …` on the benchmark's own lab; must succeed."""
    subprocess.run([sys.executable, "-m", "hermeion", "lab", *arguments, "--name", LAB], check=True)


def deploy(report: Path) -> tuple[float, dict[str, float]]:
    """Wall seconds of the main command, and seconds by stage."""
    begun = time.perf_counter()
    environment = os.environ | {"HERMEION_LAB": LAB, "HERMEION_REPORT": str(report)}
    subprocess.run(
        [PYINFRA, INVENTORY, "deploys/hermes.py", "-y"], check=True, env=environment, stdin=subprocess.DEVNULL
    )
    return time.perf_counter() - begun, json.loads(report.read_text())["seconds"]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", default="1xL40S", help="GPU set of the host, as `hermeion lab up --host` has it")
    arguments = parser.parse_args()
    lab("up", "--host", f"gpu-1={arguments.gpus}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            wall, stages = deploy(Path(folder) / "report.json")
    finally:
        lab("down")
    rest = wall - sum(stages.values())
    print(f"\n| stage of a bare host's first run ({arguments.gpus}) | seconds | share |\n|---|---|---|")
    for stage, seconds in {**stages, "connect, probe, plan, ask the sources": rest}.items():
        print(f"| {stage} | {seconds:.1f} | {seconds / wall:.0%} |")
    print(f"| **in all** | **{wall:.1f}** | |")


if __name__ == "__main__":
    main()
