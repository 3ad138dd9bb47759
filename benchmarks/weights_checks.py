"""What it costs to know that weights are right: in the probe, after a kill, byte by byte."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import time

from weights_bench import Bench
from weights_lab import CACHE, JOB

from hermeion.probe import probe_script
from hermeion.scripts.tools import environment
from hermeion.scripts.weights import puller_folder

PROBE = """
printf %s {script} | base64 -d > /run/bench-probe.sh
for turn in $(seq {turns}); do
  for cache in /srv/nothing {cache}; do
    begun=$(date +%s%N); sh /run/bench-probe.sh $cache > /run/bench-probe.out; ended=$(date +%s%N)
    echo $cache $(((ended - begun) / 1000))
  done
done
grep -c ' complete$' /run/bench-probe.out | sed 's/^/complete /'
"""


def _probe(bench: Bench, turns: int = 30) -> tuple[float, float]:
    """Milliseconds of the probe on a host, without a cache and with this one, in turns."""
    script = base64.b64encode(probe_script().encode()).decode()
    said = bench.lab.ssh(bench.lab.hosts[0], PROBE.format(script=script, turns=turns, cache=CACHE))
    times: dict[str, list[float]] = {}
    for line in said.splitlines():
        name, figure = line.split()
        times.setdefault(name, []).append(float(figure) / 1000)
    if not times["complete"][0]:
        sys.exit("the probe does not call the weights complete")
    return statistics.median(times["/srv/nothing"]), statistics.median(times[CACHE])


def warm_check(bench: Bench) -> list[tuple[str, str, str]]:
    """The probe with and without weights, and what a pull of weights that are there does."""
    lab, host = bench.lab, bench.lab.hosts[0]
    bench.pull(bench.weights)
    rows = []
    for what, inventory in (
        ("the repository", None),
        ("200 shards more", bench.inventory(bench.many)),
    ):
        if inventory:
            lab.deploy(inventory)
        none, some = _probe(bench)
        rows.append(
            (f"probe, {what} in the cache", f"{some:.0f} ms", f"{some - none:.0f} ms more than without a cache")
        )
    report = bench.folder / "report.json"
    lab.deploy(bench.inventory(bench.weights), report)
    pending = json.loads(report.read_text())["hosts"][host]["pending"]
    if "cache" in pending:
        sys.exit(f"the weights are there, and the plan says: {pending['cache']}")
    program = f"PYTHONPATH={puller_folder()} {environment()}/bin/python -m puller /run/hermeion/{JOB}.json"
    said = lab.ssh(host, f"begun=$(date +%s%N); {program}; echo '##fact ms' $((($(date +%s%N) - begun) / 1000000))")
    facts = dict(line.split()[1:3] for line in said.splitlines() if line.startswith("##fact "))
    rows.append(
        (
            "second run",
            "no stage for weights in the plan",
            f"a pull started all the same ends after {facts['ms']} ms: {facts['hashed']} bytes hashed, "
            f"{facts['fetched']} fetched",
        )
    )
    return rows


def resume(bench: Bench) -> list[tuple[str, str, str]]:
    """`kill -9` of everything in the unit at half of the bytes; what the next run fetches again."""
    lab, host = bench.lab, bench.lab.hosts[0]
    lab.forget(lab.hosts)
    lab.count_anew()
    inventory = bench.inventory(bench.weights)
    process = lab.start(inventory)
    there = f"du -cb {CACHE}/hub/models--*/blobs/* 2>/dev/null | tail -n 1 | cut -f 1"
    while process.poll() is None:
        if int(lab.ssh(host, there) or 0) >= bench.weights.size / 2:
            lab.ssh(host, f"systemctl kill --signal=KILL hermeion-{JOB}.service")
            break
        time.sleep(0.1)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
    if not process.returncode:
        sys.exit("the pull was over before it could be killed: take a larger repository")
    kept = int(lab.ssh(host, there))
    lab.deploy(inventory)
    facts = lab.pull_of(host).facts
    again = kept - int(facts["reused"])
    return [
        (
            f"`kill -9` when {kept / bench.weights.size:.0%} were there",
            f"{again} bytes of those fetched again ({int(facts['fetched']) / 1e6:.0f} MB fetched by the next run)",
            f"the Hub gave {lab.served() / bench.weights.size:.3f} times the repository in both runs together",
        )
    ]


def deep_check(bench: Bench) -> list[tuple[str, str, str]]:
    """`hermeion cache verify` against openssl on the same files, which are in memory after the pull."""
    lab, host = bench.lab, bench.lab.hosts[0]
    bench.pull(bench.weights)
    inventory = str(bench.inventory(bench.weights))
    files = f"find {CACHE}/hub/models--*/blobs -type f -print0 | xargs -0"
    ways = {
        "`openssl dgst -sha256`, one file after the other": f"{files} openssl dgst -sha256 -r",
        "`openssl dgst -sha256`, a process for each core": f"{files} -n 1 -P $(nproc) openssl dgst -sha256 -r",
    }
    times: dict[str, list[float]] = {}
    for _ in range(bench.rounds):
        for name, way in ways.items():
            begun, ended = lab.ssh(host, f"echo $(date +%s.%N); {way} > /dev/null; echo $(date +%s.%N)").split()
            times.setdefault(name, []).append(float(ended) - float(begun))
        found = json.loads(lab.hermeion("cache", "verify", inventory, "--json"))["hosts"][host]
        if found["hashed"] != bench.weights.size or any(row["damaged"] for row in found["names"].values()):
            sys.exit(f"cache verify did not find the pulled weights whole: {found}")
        times.setdefault("`hermeion cache verify`", []).append(found["seconds"])
    middle = {name: statistics.median(values) for name, values in times.items()}
    best = min(list(middle.values())[:2])
    return [
        (name, f"{bench.weights.size / 1e6 / seconds:.0f} MB/s", f"{best / seconds:.2f} of the faster `openssl`")
        for name, seconds in middle.items()
    ]
