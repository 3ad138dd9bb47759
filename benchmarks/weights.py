"""What weights cost on the way to hosts, side by side in one run, on a lab of its own (named ``bench-weights``).

    .venv/bin/python benchmarks/weights.py [--size 3] [--shards 24] [--hosts 6] [--rounds 3] [--only pull,hosts]

The repository is random, so nothing can be compressed, and is served over TLS by the lab's Hub from this machine's
memory. Everything shares this machine's cores and its disk: Hub, hosts, and whatever else runs. Prints one table as
Markdown: seconds are medians, MB are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from weights_bench import Bench, Repository
from weights_checks import deep_check, resume, warm_check
from weights_lab import CACHE, Lab
from weights_pulls import many_hosts, pull_rate
from weights_repository import make_repository

PARTS = {"pull": pull_rate, "hosts": many_hosts, "warm": warm_check, "resume": resume, "verify": deep_check}


def publish(lab: Lab, folder: Path, gigabytes: float, shards: int) -> Repository:
    """Make a repository of that size and serve it, by the folder's name."""
    size = make_repository(folder, round(gigabytes * 1e9), shards)
    names = tuple(sorted(path.name for path in folder.iterdir()))
    return Repository(lab.publish(f"hermeion-bench/{folder.name}", folder), names, size)


def disk_rate(lab: Lab) -> float:
    """MB/s that a host writes to its cache's disk, until the bytes are there."""
    script = f"mkdir -p {CACHE}; begun=$(date +%s.%N); dd if=/dev/zero of={CACHE}/zeros bs=1M count=2000 conv=fdatasync"
    said = lab.ssh(lab.hosts[0], f"{script} 2>/dev/null; echo $begun $(date +%s.%N); rm {CACHE}/zeros").split()
    return 2000 * 1.048576 / (float(said[1]) - float(said[0]))


def machine(lab: Lab) -> str:
    """Cores, memory and disk of this machine, which all hosts share."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GB of memory, load {load:.1f} at the beginning; "
        f"its disk takes {disk_rate(lab):.0f} MB/s"
    )


def show(rows: Sequence[tuple[str, str, str]]) -> None:
    """Print the table."""
    print("\n| what | measured | compared |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=3, help="of the repository, in GB")
    parser.add_argument("--fleet-size", type=float, default=2, help="of the one that many hosts share, in GB")
    parser.add_argument("--shards", type=int, default=24, help="files that its weights are in")
    parser.add_argument("--hosts", type=int, default=6, help="of the lab: 1, 2, 4 and 6 of them are given the weights")
    parser.add_argument("--rounds", type=int, default=3, help="in which each thing is measured, in turns")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--keep", action="store_true", help="leave the lab standing")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := sorted(set(chosen) - set(PARTS)):
        sys.exit(f"there is no part {unknown[0]}; parts: {', '.join(PARTS)}")
    lab = Lab("bench-weights", arguments.hosts)
    try:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            bench = Bench(
                lab,
                folder,
                publish(lab, folder / "weights", arguments.size, arguments.shards),
                publish(lab, folder / "fleet", arguments.fleet_size, arguments.shards),
                publish(lab, folder / "many", 0.2, 200),
                arguments.rounds,
            )
            bench.prepare()
            rows = [("machine", machine(lab), f"{arguments.size:g} GB in {arguments.shards} shards")]
            for name in chosen:
                rows += PARTS[name](bench)
                show(rows)
    finally:
        if not arguments.keep:
            lab.close()


if __name__ == "__main__":
    main()
