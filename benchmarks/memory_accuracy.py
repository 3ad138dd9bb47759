"""The memory budget against what vLLM printed: ``python benchmarks/memory_accuracy.py [--markdown]``.

Every row of ``tests/unit/data/vllm-memory-logs.csv`` (47 starts of vLLM 0.19.0 on H100s), planned from the model's
``config.json`` alone; errors are ours less theirs, in GiB.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from hermeion.budgets import BudgetOptions, BudgetReport, make_budget
from hermeion.model_config import parse_config
from hermeion.units import GIB, MIB

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "tests" / "unit" / "data" / "vllm-memory-logs.csv"
CONFIGS = ROOT / "tests" / "unit" / "data" / "configs"


class Row(NamedTuple):
    """One start: what was logged and what is computed."""

    log: Mapping[str, str]
    report: BudgetReport

    @property
    def weights_error(self) -> float:
        """GiB of weights too many."""
        first = self.report.ranks[0]
        return (first.weights + first.scales + first.rotary) / GIB - float(self.log["weights_gib"])

    @property
    def kv_error(self) -> float:
        """GiB of KV cache too many."""
        return self.report.kv_cache_bytes / GIB - float(self.log["kv_gib"])

    @property
    def tokens_error(self) -> float:
        """Share of KV tokens too many."""
        return self.report.kv_cache_tokens / int(self.log["kv_tokens"]) - 1


def report_of(log: Mapping[str, str]) -> BudgetReport:
    """The budget for a row, from the model's configuration and the options of the log."""
    text = (CONFIGS / f"{log['model'].replace('/', '--')}.json").read_text(encoding="utf-8")
    options = BudgetOptions(
        gpu_total_mib=round(float(log["total_gib"]) * GIB / MIB),
        tp=int(log["tp"]),
        pp=int(log["pp"]),
        engine_version=log["ver"],
        max_model_len=int(log["max_len"]),
        gpu_memory_utilization=float(log["util"]),
        max_num_batched_tokens=int(log["mnbt"]),
        kv_cache_dtype=log["kv_dtype"],
        quantization=log["quant"].lower(),
        dtype=log["dtype"],
    )
    return make_budget(parse_config(text, log["model"]), options)


def rows(path: Path = LOGS) -> Iterator[Row]:
    """Every row of the logs with its budget."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    for log in csv.DictReader(lines):
        yield Row(log, report_of(log))


def _cells(row: Row) -> tuple[str, ...]:
    log = row.log
    return (
        log["model"].partition("/")[2],
        f"{log['tp']}×{log['pp']}",
        log["dtype"].removesuffix("loat16").removesuffix("loat32") if log["quant"] == "None" else log["quant"],
        log["weights_gib"],
        f"{row.weights_error:+.2f}",
        f"{100 * row.weights_error / float(log['weights_gib']):+.1f} %",
        log["kv_gib"],
        f"{row.kv_error:+.2f}",
        f"{100 * row.tokens_error:+.1f} %",
    )


HEADER = ("model", "TP×PP", "type", "weights", "error", "", "KV cache", "error", "KV tokens")


def main() -> int:
    """Print the table, and the worst of each column."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--logs", type=Path, default=LOGS, help="another CSV of the same columns")
    arguments = parser.parse_args()
    found = list(rows(arguments.logs))
    if arguments.markdown:
        print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
        for row in found:
            print("| " + " | ".join(_cells(row)) + " |")
    else:
        table = Table(*HEADER, title="Memory budget against vLLM's logs (GiB)", title_justify="left")
        for row in found:
            table.add_row(*_cells(row))
        Console(width=140).print(table)
    weights = max(abs(row.weights_error) / float(row.log["weights_gib"]) for row in found)
    kv = max(abs(row.kv_error) for row in found)
    mean = sum(abs(row.kv_error) / float(row.log["kv_gib"]) for row in found) / len(found)
    print(
        f"{len(found)} rows: weights within {100 * weights:.2f} %, KV cache within {kv:.2f} GiB, "
        f"{100 * mean:.2f} % on average"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
