"""The ``hermeion`` command: what it prints and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hermeion import cli, errors
from hermeion.cli import pyinfra as pyinfra_module
from hermeion.variants import built_in_catalog
from tests.unit.fakes import Runs, command_line, fake_host, write_inventory

Deploy = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, dict[str, Any]], list[Any]]:
    """Have pyinfra's run end with a code and leave a report; returns how it was called."""

    def install(code: int, report: dict[str, Any]) -> list[Any]:
        calls: list[Any] = []

        def deploy(*arguments: str, **options: bool) -> tuple[int, dict[str, Any]]:
            calls.append((arguments, options))
            return code, report

        monkeypatch.setattr("hermeion.cli.faces.deploy", deploy)
        return calls

    return install


def call(*arguments: str) -> Result:
    """Call the command line in this process."""
    return CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1"}).invoke(cli.app, list(arguments), catch_exceptions=False)


def host(pending: dict[str, list[str]]) -> dict[str, Any]:
    """What a report says of a planned host."""
    driver = {"action": "leave alone", "reason": "it answers"}
    return {"plan": {"host": "a", "driver": driver, "services": []}, "pending": pending}


@pytest.mark.parametrize(
    ("code", "hosts", "failed", "expected"),
    [
        (0, {"a": host({})}, {}, 0),
        (0, {"a": host({}), "b": host({"cache": ["x is missing"]})}, {}, 2),
        (0, {"a": host({"cache": ["x"]}), "b": {"refused": "no GPU"}}, {}, 1),
        (0, {"a": host({})}, {"b": "b: could not connect"}, 1),
        (1, {"a": host({})}, {}, 1),
    ],
)
def test_plan_exit_codes(
    answer: Callable[[int, dict[str, Any]], list[Any]],
    code: int,
    hosts: dict[str, Any],
    failed: dict[str, str],
    expected: int,
) -> None:
    """0 is nothing to do, 2 is something to do, 1 is a host that is refused or not reached."""
    answer(code, {"hosts": hosts, "failed": failed, "seconds": {}})

    assert expected == call("plan", "inventory.py").exit_code


def test_plan_table(runs: Runs, answer: Callable[[int, dict[str, Any]], list[Any]]) -> None:
    """A person sees every host with its plan, its refusal or that there is nothing to do."""
    answer(0, runs.report("apply"))
    shown = " ".join(re.sub("[│┃]", " ", call("plan", "inventory.py").stdout).split())

    for text in (
        "@fake/bare hermes hermes-3-8b-bf16 1 × NVIDIA GeForce RTX 4090 39936 × 256 40064 tokens",
        "driver: no driver answers; branch 580 (LTS) with the open kernel module",
        "runtime: Docker is missing; debian 13 has",
        "nothing",
        "Secure Boot is on",
        "the probe gave no answer.",
    ):
        assert text in shown


def test_plan_in_earnest(runs: Runs) -> None:
    """The command itself runs pyinfra, prints JSON alone, and says by its exit code that there is something to do."""
    run = runs["examples"]

    assert (2, "") == (run.returncode, run.stderr)
    assert {"hosts", "seconds", "failed"} == set(json.loads(run.stdout))


def test_plan_of_an_inventory_that_cannot_be_used(tmp_path: Path) -> None:
    """What is wrong with an inventory is told by the command, too, and no empty table."""
    inventory = write_inventory(tmp_path, {"gpu-1": fake_host("", {"name": "hermes", "model": "nope"})})
    done = command_line("-m", "hermeion", "plan", str(inventory))

    assert (1, "") == (done.returncode, done.stdout)
    assert [
        "error: the inventory cannot be used:",
        "@fake/gpu-1: hermes_services/hermes/model: 'nope' is in no catalogue. Known: "
        f"{', '.join(sorted(built_in_catalog()))}. Own models go into hermes_catalog.",
    ] == done.stderr.splitlines()


def test_plan_json(runs: Runs, answer: Callable[[int, dict[str, Any]], list[Any]]) -> None:
    """Programs get the whole report as JSON; nothing is changed for it, and limits are handed on."""
    report = runs.report("examples")
    calls = answer(0, report)
    result = call("plan", "inventory.py", "--json", "--limit", "a", "--limit", "b")

    assert (2, report) == (result.exit_code, json.loads(result.stdout))
    assert [(("inventory.py", "--dry", "-y", "--limit", "a", "--limit", "b"), {"quiet": True})] == calls


def test_plan_names_unreachable_hosts(answer: Callable[[int, dict[str, Any]], list[Any]]) -> None:
    """A host that could not be reached has no plan, and a line of its own."""
    answer(0, {"hosts": {}, "failed": {"b": "b: could not connect"}, "seconds": {}})

    assert "b  not planned: could not connect" in call("plan", "inventory.py").stdout


def test_pyinfra_that_cannot_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """When pyinfra leaves no report, its own words are the message."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "--> Loading\n\nNo lab is up\n")

    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(errors.HermeionError) as caught:
        pyinfra_module.deploy("inventories/lab.py", "--dry", quiet=True)

    assert "No lab is up" == str(caught.value)


def test_error_ends_with_its_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's mistake is one message and the exit code of its kind, never a traceback."""

    def fail() -> None:
        raise errors.PlacementError("gpu-1: no [bold]room[/bold]")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["hermeion", "plan", "inventory.py"])
    with pytest.raises(SystemExit) as caught:
        cli.main()

    assert (3, "error: gpu-1: no [bold]room[/bold]\n") == (caught.value.code, capsys.readouterr().err)


def test_help_names_the_commands() -> None:
    """Without a command the help is shown."""
    text = call("--help").stdout

    assert all(name in text for name in ("plan", "verify"))


def test_verify_runs_the_host_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification is pytest over the host tests, and its exit code is pytest's."""
    seen: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr("subprocess.run", run)
    result = call("verify", "inventory.py", "gpu-1")

    assert 1 == result.exit_code
    assert ["--inventory", "inventory.py", "--only-host", "gpu-1", "-q"] == seen[0][-5:]


def test_plan_of_an_inventory_that_is_not_there() -> None:
    """A missing inventory is named at once, with where examples are."""
    result = CliRunner().invoke(cli.app, ["plan", "nothere.py"])

    assert isinstance(result.exception, errors.HermeionError)
    assert "there is no inventory nothere.py. Examples: inventories/example_*.py" == str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ERROR: say which hosts: --inventory inventories/lab.py (or: hermeion verify INVENTORY)"),
        (
            ["--inventory", "inventories/example_single_card.py", "--only-host", "nohost"],
            "ERROR: not in inventories/example_single_card.py: nohost; there are gpu-1.example",
        ),
    ],
)
def test_verify_says_once_what_is_wrong(arguments: list[str], message: str) -> None:
    """A host test run without inventory, or for a host that is not in it, ends with one line."""
    command = [sys.executable, "-m", "pytest", "tests/hosts", "-c", "tests/hosts/pytest.ini", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert message == done.stderr.strip()
