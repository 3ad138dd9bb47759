"""What a run with nothing to do costs, against the floors: ``pyinfra exec -- true`` and plain ``ssh … true``.

    make demo && .venv/bin/python benchmarks/no_op.py [HOST] [--runs 7]

Measured side by side in one run, in turns, on a converged lab host; prints medians in seconds and ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

INVENTORY = "inventories/lab.py"
PYINFRA = str(Path(sys.executable).with_name("pyinfra"))


def ssh_true(host: str) -> list[str]:
    """The command that runs ``true`` on a lab host by OpenSSH."""
    command = [sys.executable, "-m", "hermeion", "lab", "status", "--json"]
    lab = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    entry = next(row for row in lab["hosts"] if row["name"] == host)
    options = ["-o", f"UserKnownHostsFile={lab['known_hosts']}", "-o", "BatchMode=yes", "-p", str(entry["port"])]
    return ["ssh", "-i", lab["key"], *options, f"{lab['user']}@{entry['address']}", "true"]


def seconds(command: list[str]) -> float:
    """Wall time of a command that must succeed."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host", nargs="?", default="gpu-1")
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    limit = ["--limit", arguments.host]
    commands = {
        "ssh HOST true": ssh_true(arguments.host),
        "pyinfra exec -- true": [PYINFRA, "-y", *limit, INVENTORY, "exec", "--", "true"],
        "hermes.py, nothing to do": [PYINFRA, "-y", *limit, INVENTORY, "deploys/hermes.py"],
    }
    done = subprocess.run(commands["hermes.py, nothing to do"], check=True, capture_output=True, text=True)
    if "nothing to do" not in done.stderr + done.stdout:
        sys.exit(f"{arguments.host} is not converged: run make demo first")
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    floor = statistics.median(times["pyinfra exec -- true"])
    print(f"| command ({arguments.runs} runs in turns) | median, s | of pyinfra's floor |\n|---|---|---|")
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"| `{name}` | {middle:.2f} | {middle / floor:.2f} |")


if __name__ == "__main__":
    main()
