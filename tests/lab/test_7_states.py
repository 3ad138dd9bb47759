"""Every state that the lab can put a host into: what the deploy says of it, and what it makes of it.

One lab with a host for each state; no service is wanted of them, only the driver, and of some also Docker and NVIDIA's
toolkit. The deploy runs on all of them at once, and again: what converged has nothing to do, what was refused is
refused in the same words and was not touched. Then those that a key of the inventory helps get it. Every word is in
``tests/golden/states.txt``, which ``--update-golden`` writes anew.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.lab.conftest import INVENTORY, ROOT, standing

LAB = "test-states"
GOLDEN = ROOT / "tests" / "golden" / "states.txt"

WITH_DOCKER = {
    "cdi-missing",
    "cdi-stale",
    "containers-running",
    "daemon-json-broken",
    "daemon-json-foreign",
    "daemon-json-runtimes",
    "docker",
    "docker-old",
    "docker-stopped",
    "docker-without-compose",
    "legacy-containers",
    "ready",
    "toolkit",
    "toolkit-lists",
    "toolkit-mixed",
    "toolkit-old",
}
"""States that are about Docker, the toolkit or CDI: of the others the driver alone is wanted."""

HELPED: dict[str, dict[str, Any]] = {
    "containers-running": {"hermes_disrupt": True},
    "dkms-failed": {"hermes_driver": {"repair": True}},
    "dpkg-interrupted": {"hermes_driver": {"repair": True}},
    "legacy-containers": {"hermes_disrupt": True},
    "wrong-flavour": {"hermes_driver": {"upgrade": True}},
}
"""States that are refused at first, and the keys that allow what has to be done."""

UNTOUCHED = (
    "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' | sha256sum; "
    "find /etc /usr/local -type f -printf '%p %s %T@\\n' | sort | sha256sum"
)
"""What a refused host must look like afterwards as it did before."""


class Runs(NamedTuple):
    """Reports of the runs on all hosts, and what refused hosts looked like before and after."""

    first: dict[str, Any]
    again: dict[str, Any]
    helped: dict[str, Any]
    helped_again: dict[str, Any]
    before: dict[str, str]
    after: dict[str, str]


def states() -> list[str]:
    """Names of all states, from their files."""
    folder = ROOT / "hermeion" / "lab" / "states"
    return sorted(path.stem for path in folder.glob("*.sh") if path.stem != "common")


def write_inventory(folder: Path, names: list[str], keys: dict[str, dict[str, Any]]) -> Path:
    """An inventory of these hosts of the lab, no service on them."""
    path = folder / "states.py"
    path.write_text(
        (ROOT / INVENTORY).read_text()
        + f"\n_names, _keys, _docker = {names!r}, {keys!r}, {WITH_DOCKER!r}\n"
        + "_wanted = {'hermes_services': [], 'hermes_driver': {}}\n"
        + "_runtime = {name: {'hermes_runtime': {}} for name in _docker}\n"
        + "lab = [(name, data | _wanted | _runtime.get(name, {}) | _keys.get(name, {})) for name, data in lab]\n"
        + "lab = [(name, data) for name, data in lab if name in _names]\n"
    )
    return path


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """A host in each state, and the deploy run on them as the tests need it."""
    folder = tmp_path_factory.mktemp("states")
    wanted = [part for name in states() for part in ("--state", name)]
    with standing(LAB, "--no-engine", *wanted) as lab:
        refused = [name for name in states() if section(name).startswith("refused: ")]
        before = {name: lab.ssh(name, UNTOUCHED) for name in refused}
        everything = write_inventory(folder, states(), {})
        first = lab.pyinfra(everything, "-y").report
        again = lab.pyinfra(everything, "-y").report
        after = {name: lab.ssh(name, UNTOUCHED) for name in refused}
        some = write_inventory(folder, sorted(HELPED), HELPED)
        helped = lab.pyinfra(some, "-y").report
        helped_again = lab.pyinfra(some, "-y").report
        yield Runs(first, again, helped, helped_again, before, after)


def section(name: str) -> str:
    """What the golden file says of a state."""
    text = GOLDEN.read_text() if GOLDEN.exists() else ""
    return f"\n{text}".partition(f"\n== {name}\n")[2].partition("\n== ")[0].strip("\n")


def told(name: str, report: dict[str, Any]) -> str:
    """What a run said of a host, without what is this machine's alone."""
    host = report["hosts"].get(name, {})
    lines = []
    if "refused" in host:
        lines.append("refused: " + host["refused"].removeprefix(f"{name}: "))
    else:
        lines += [f"{stage}: {reason}" for stage, reasons in host["pending"].items() for reason in reasons]
        lines += [f"mind: {remark}" for remark in host["plan"]["driver"]["remarks"]]
        if name in report["failed"]:
            lines.append("failed: " + report["failed"][name].removeprefix(f"{name}: "))
    text = "\n".join(lines) or "nothing to do"
    text = text.replace(platform.release(), "KERNEL").replace(platform.release().lower(), "KERNEL")
    text = re.sub(r"certs\.d/[\d.]+:\d+", "certs.d/MIRROR", text)
    text = re.sub(r"apt-get install linux-image-[\w.-]+", "apt-get install linux-image-FLAVOUR", text)
    text = re.sub(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    return re.sub(r"process \d+", "process PID", text)


def story(name: str, reports: Runs) -> str:
    """All that was said of a host, run by run."""
    first, again = told(name, reports.first), told(name, reports.again)
    parts = [first, "again: " + ("the same" if again == first and first != "nothing to do" else again)]
    if name in HELPED:
        parts.append(f"with {json.dumps(HELPED[name])}: {told(name, reports.helped)}")
        parts.append(f"again: {told(name, reports.helped_again)}")
    return "\n".join(parts)


@pytest.mark.parametrize("name", states())
def test_state(name: str, reports: Runs, request: pytest.FixtureRequest) -> None:
    """What is said of a host in this state, at first and again, is what the golden file has."""
    if request.config.getoption("--update-golden"):
        text = "".join(f"== {other}\n{story(other, reports)}\n\n" for other in states())
        GOLDEN.write_text(text.rstrip("\n") + "\n")
    assert section(name) == story(name, reports)


@pytest.mark.parametrize("name", states())
def test_converged_or_refused(name: str, reports: Runs) -> None:
    """After the second run a host has nothing to do, or it was refused; no run leaves one in between."""
    again = reports.again["hosts"][name]
    helped = reports.helped_again["hosts"].get(name, {"pending": {}})
    # These two cannot be known before the package manager was asked.
    found_out_late = name in {"dkms-fails", "headers-missing"}
    assert "refused" in again or again["pending"] == {} or found_out_late, again
    assert helped["pending"] == {}, helped


def test_refused_hosts_were_not_touched(reports: Runs) -> None:
    """What was refused has the packages and the files that it had."""
    assert reports.before == reports.after
