"""How fast hosts are planned: ``python benchmarks/planner.py [--hosts 1000] [--seed 1]``.

A fleet of hosts as they are bought (one RTX 4090 to eight B200s, two kinds mixed, V100 and T4), half of them without a
driver, with one to three services each, of which many are impossible. Every host's answer is parsed, planned, and,
where there is a plan, planned again on the host as it is then, one host after the other.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from hermeion.errors import PlacementError
from hermeion.inventory import HostSpec
from hermeion.planner import make_plan
from hermeion.plans import Plan
from hermeion.probe import Probe, parse_probe

sys.path.insert(0, str(Path(__file__).parents[1]))  # the unit tests' builders write the hosts' answers

from tests.unit.builders import bare_text, converged_answers, make_spec, probe_text

RTX_3090, RTX_4090, RTX_5090, RTX_6000_ADA, L40S = "2204", "2684", "2b85", "26b1", "26b9"
A100_40, A100_80, H100, H200, B200, V100, T4 = "20b0", "20b2", "2330", "2335", "2901", "1db5", "1eb8"

KINDS: Sequence[Sequence[str]] = (
    [RTX_4090],
    [RTX_5090],
    [RTX_6000_ADA],
    [RTX_3090] * 2,
    [RTX_4090] * 4,
    [L40S] * 4,
    [A100_40] * 4,
    [RTX_4090] * 8,
    [L40S] * 8,
    [A100_80] * 8,
    [H100] * 8,
    [H200] * 8,
    [B200] * 8,
    [RTX_3090, RTX_4090],
    [A100_80] * 4 + [H100] * 4,
    [V100] * 4,
    [T4] * 2,
)
MODELS = ("hermes-3-3b", "hermes-3-8b", "hermes-4-14b", "hermes-4.3-36b", "hermes-4-70b", "hermes-4-405b")


class Case(NamedTuple):
    """One host: what is wanted of it, and the keywords of its answer."""

    spec: HostSpec
    bare: bool
    answers: dict[str, Any]

    def lines(self, **more: Any) -> list[str]:
        """Its answer to the probe."""
        text = bare_text if self.bare else probe_text
        return text(**{**self.answers, **more}).splitlines()


def make_case(source: random.Random, index: int) -> Case:
    """A host and what is wanted of it."""
    gpus = source.choice(KINDS)
    services = [
        {
            "name": f"s{number}",
            "model": source.choice(MODELS),
            "port": 8000 + number,
            "context": source.choice(["max", "max", 16_384, 65_536]),
            "gpus": source.choice(["auto", "auto", 1, 2]),
        }
        for number in range(source.choice([1, 1, 2, 3]))
    ]
    bare = source.random() < 0.5
    answers: dict[str, Any] = {"gpus": gpus, "numa": [place * 2 // len(gpus) for place in range(len(gpus))]}
    if not bare and source.random() < 0.1:
        answers["used"] = {source.randrange(len(gpus)): 9000}
    return Case(make_spec(*services, name=f"gpu-{index}"), bare, answers)


class Timed(NamedTuple):
    """A result and the seconds it took."""

    seconds: float
    value: Any


def timed(function: Callable[[], Any]) -> Timed:
    """Call once, and measure; a refusal is a result."""
    begun = time.perf_counter()
    try:
        value = function()
    except PlacementError as error:
        value = error
    return Timed(time.perf_counter() - begun, value)


def plan_of(case: Case, probe: Probe) -> Plan:
    """The host's plan."""
    return make_plan("gpu", case.spec, probe)


class Run(NamedTuple):
    """One host, measured: its answer parsed, planned, and planned again once the plan is carried out."""

    case: Case
    parsed: Timed
    planned: Timed
    again: Timed | None

    @property
    def is_accepted(self) -> bool:
        """Whether there is a plan."""
        return isinstance(self.planned.value, Plan)


def run(case: Case) -> Run:
    """Measure one host."""
    lines = case.lines()
    parsed = timed(lambda: parse_probe(lines))
    planned = timed(lambda: plan_of(case, parsed.value))
    if case.bare or not isinstance(planned.value, Plan):
        return Run(case, parsed, planned, None)
    after = parse_probe(case.lines(**converged_answers(planned.value)))
    return Run(case, parsed, planned, timed(lambda: plan_of(case, after)))


def rows(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Seconds of each host, by what was done."""
    return {
        "answer parsed": [r.parsed.seconds for r in runs],
        "planned": [r.planned.seconds for r in runs],
        "  accepted": [r.planned.seconds for r in runs if r.is_accepted],
        "  refused, with a fix": [r.planned.seconds for r in runs if not r.is_accepted],
        "  with a driver": [r.planned.seconds for r in runs if not r.case.bare],
        "  without a driver": [r.planned.seconds for r in runs if r.case.bare],
        "planned again, nothing moves": [r.again.seconds for r in runs if r.again],
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    source = random.Random(arguments.seed)  # noqa: S311  # the same fleet in every run
    cases = [make_case(source, index) for index in range(arguments.hosts)]
    first = run(cases[0])  # the catalogue is read, and sizes are computed for the first time
    runs = [run(case) for case in cases]

    table = Table(title=f"{len(runs)} hosts, one after the other", title_justify="left")
    for column in ("", "hosts", "ms each", "median", "slowest", "s for 100", "of parsing", "of accepted"):
        table.add_column(column, justify="left" if not column else "right")
    found = rows(runs)
    floor = statistics.mean(found["answer parsed"])
    accepted = statistics.mean(found["  accepted"] or found["planned"])
    for name, seconds in found.items():
        if not seconds:
            continue
        mean = statistics.mean(seconds)
        cells = [f"{1000 * value:.2f}" for value in (mean, statistics.median(seconds), max(seconds))]
        ratios = [f"{mean / floor:.1f}", f"{mean / accepted:.1f}"]
        table.add_row(name, str(len(seconds)), *cells, f"{100 * mean:.2f}", *ratios)
    Console(width=110).print(table)

    whole = sum(r.parsed.seconds + r.planned.seconds for r in runs)
    good = sum(r.is_accepted for r in runs)
    print(
        f"{len(runs) / whole:.0f} hosts a second, answers parsed and planned: {good} accepted, {len(runs) - good} "
        f"refused; the first plan took {1000 * first.planned.seconds:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
