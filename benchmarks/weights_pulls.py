"""How fast weights come: one host against ``curl``, many hosts against one, an uplink of a gigabit."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

from weights_bench import Bench
from weights_lab import CACHE, Pull
from weights_load import Load

GIGABIT = 125_000_000
"""Bytes a second of a line of 1 Gbit/s."""

CURL = """
mkdir -p {folder}; cd {folder}
begun=$(date +%s.%N)
curl -sS --fail --cacert /etc/hermeion/ca.pem --remote-name-all {options} {urls}
sync -f .
ended=$(date +%s.%N)
times > /run/bench-times
echo $begun $ended $(tail -n 1 /run/bench-times) $(cat * | wc -c)
"""


class Setting(NamedTuple):
    """Where hosts' caches are, and how fast the Hub gives in all, in bytes a second."""

    text: str
    in_memory: bool
    rate: int | None


SETTINGS = (
    Setting("caches on the one disk, the Hub at full speed", False, None),
    Setting("caches in memory, the Hub at full speed", True, None),
    Setting("caches in memory, the Hub at 1 Gbit/s", True, GIGABIT),
)


def _curl(bench: Bench, options: str) -> Pull:
    """Curl has the same files on the same disk."""
    lab = bench.lab
    lab.forget(lab.hosts)
    entry = bench.weights.entry
    base = f"{lab.data['mirrors']['hub']}/{entry['repo']}/resolve/{entry['revision']}"
    urls = " ".join(f"{base}/{name}" for name in bench.weights.names)
    script = CURL.format(folder=f"{CACHE}/curl", options=options, urls=urls)
    begun, ended, *times, size = lab.ssh(lab.hosts[0], script).split()
    if int(size) != bench.weights.size:
        raise ValueError(f"curl brought {size} bytes of {bench.weights.size}")
    cores = sum(60 * int(minutes) + float(seconds) for minutes, seconds in (text[:-1].split("m") for text in times))
    return Pull(float(begun), float(ended), cores, {})


def pull_rate(bench: Bench) -> list[tuple[str, str, str]]:
    """One host, nothing there: the real job, from the order to its unit's end, against curl. Both end with a sync."""
    ways: dict[str, Callable[[], Pull]] = {
        "`curl`, one file after the other": lambda: _curl(bench, ""),
        "`curl --parallel --parallel-max 8`": lambda: _curl(bench, "--parallel --parallel-max 8"),
        "pull: the same, checked, in the Hub's cache": lambda: bench.pull(bench.weights)[0],
    }
    rows = []
    for line, rate in (("full speed", None), ("1 Gbit/s", GIGABIT)):
        bench.lab.knobs(**({"bytes_per_second_total": rate} if rate else {}))
        times: dict[str, list[float]] = {name: [] for name in ways}
        said = {}
        for _ in range(1 if rate else bench.rounds):
            for name, way in ways.items():
                with Load() as load:
                    pull = way()
                times[name].append(pull.seconds)
                said[name] = f"{pull.cores:.1f} s of a core; {load.between(pull.begun, pull.ended)}"
                print(f"{name}, the Hub at {line}: {pull.seconds:.1f} s, {said[name]}", flush=True)
        middle = {name: statistics.median(values) for name, values in times.items()}
        best = min(list(middle.values())[:2])
        rows += [
            (
                f"{name}, the Hub at {line}",
                f"{seconds:.1f} s, {bench.weights.size / 1e6 / seconds:.0f} MB/s",
                f"{best / seconds:.2f} of the faster `curl`; {said[name]}",
            )
            for name, seconds in middle.items()
        ]
    bench.lab.knobs()
    return rows


def many_hosts(bench: Bench) -> list[tuple[str, str, str]]:
    """1, 2, 4 … hosts without a shared filesystem, from the first order to the last end; and what the Hub gave."""
    lab = bench.lab
    rows = []
    for setting in SETTINGS:
        alone = 0.0
        for count in [count for count in (1, 2, 4, 6, 8) if count <= len(lab.hosts)]:
            lab.knobs(**({"bytes_per_second_total": setting.rate} if setting.rate else {}))
            lab.count_anew()
            with Load() as load:
                pulls = bench.pull(bench.fleet, count, in_memory=setting.in_memory)
            begun, ended = min(pull.begun for pull in pulls), max(pull.ended for pull in pulls)
            alone = alone or ended - begun
            given = f"the Hub gave {lab.served() / bench.fleet.size:.3f} times the repository"
            cores = " + ".join(f"{pull.cores:.1f}" for pull in pulls)
            did = f"jobs took {cores} s of a core; {load.between(begun, ended)}"
            compared = f"{(ended - begun) / alone:.2f} of one host; {given}; {did}"
            hosts = "1 host" if count == 1 else f"{count} hosts"
            rows.append((f"{hosts}, {setting.text}", f"{ended - begun:.1f} s", compared))
            print(*rows[-1], sep=": ", flush=True)
    lab.knobs()
    lab.forget(lab.hosts)
    return rows
