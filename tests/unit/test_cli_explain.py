"""``hermeion explain``: the whole reasoning for one service, from hosts and from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hermeion import cli
from hermeion.errors import HermeionError
from hermeion.saved_hosts import dump_host
from tests.unit.builders import H200, RTX_4090, make_probe
from tests.unit.fakes import Runs
from tests.unit.planned import report
from tests.unit.test_cli_plan import HUGE, inventory_host


def call(*arguments: str) -> Result:
    """Call the command line in this process."""
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(cli.app, ["explain", *arguments])


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have pyinfra's run leave a report; returns how it was called."""
    calls: list[Any] = []

    def deploy(*arguments: str, **options: bool) -> tuple[int, dict[str, Any]]:
        calls.append((arguments, options))
        return 0, report()

    monkeypatch.setattr("hermeion.cli.faces.deploy", deploy)
    return calls


def test_explained_on_each_host(reported: list[Any]) -> None:
    """Without files the hosts are asked as ``plan`` asks them; each host with the service is explained."""
    result = call("hermes", "-i", "i.py", "--host", "gpu")

    assert 1 == result.exit_code
    assert [(("i.py", "--dry", "-y", "--limit", "gpu"), {"quiet": True})] == reported
    headings = [line for line in result.stdout.splitlines() if line.startswith("hermes on ")]
    assert [f"hermes on {name}" for name in ("one", "weight-only", "eight", "refused", "away")] == headings


def test_default_inventory(reported: list[Any]) -> None:
    """The inventory is the user's own unless another is named."""
    call("big")

    assert "inventory.py" == reported[0][0][0]


def test_explained_as_json(reported: list[Any]) -> None:
    """Programs get the same: wanted, found, tried, taken, memory by term, cache, estimates, refusals."""
    result = call("hermes", "-i", "i.py", "--json")
    answer = json.loads(result.stdout)

    assert (1, "hermes") == (result.exit_code, answer["service"])
    one, refused = answer["hosts"]["one"], answer["hosts"]["refused"]
    assert {"name": "hermes", "model": "hermes-3-8b"} == one["wanted"]["service"]
    assert ["used"] == [gpu["use"] for gpu in one["gpus"]]
    assert one["service"]["device_bytes"] == sum(term["bytes"] for term in one["service"]["terms"])
    assert {"pull", "start", "decode"} == set(one["service"]["estimates"])
    assert (None, "refused") == (refused["service"], refused["state"])
    assert refused["rejections"]
    assert refused["fix"]["text"]
    assert "not planned" == answer["hosts"]["away"]["state"]


def test_explained_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From files nobody is connected to; all planned is exit code 0."""
    hosts = [inventory_host("gpu-1"), inventory_host("gpu-2", {**HUGE, "name": "huge"})]
    monkeypatch.setattr("hermeion.cli.inventories.load_inventory", lambda _: hosts)
    for name, gpus in (("gpu-1", [RTX_4090]), ("gpu-2", [H200] * 8)):
        (tmp_path / f"{name}.json").write_text(dump_host(name, make_probe(gpus)))
    result = call("huge", "-i", "i.py", "--from", str(tmp_path))

    assert 0 == result.exit_code
    assert ["huge on gpu-2"] == [line for line in result.stdout.splitlines() if " on gpu-" in line and line[0] != " "]
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_service_that_nobody_has(reported: list[Any]) -> None:
    """A service that no host has is an error with those there are."""
    result = call("nope", "-i", "i.py")

    assert isinstance(result.exception, HermeionError)
    assert "i.py: no host has a service 'nope'. There are: big, hermes, small." == str(result.exception)


def test_explained_after_a_real_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's own report has all that is explained: what was wanted and found, also of refused hosts."""
    monkeypatch.setattr("hermeion.cli.faces.deploy", lambda *_, **__: (1, runs.report("apply")))
    text = " ".join(call("hermes", "-i", "i.py").stdout.split())

    release = runs.done.services[0].release_id
    assert f"nothing: release {release} runs, what is wanted is still the same" in text
    assert 'hermes on @fake/refused Wanted model = "hermes-3-8b" everything else at its default Found' in text
    assert "0000:01:00.0 NVIDIA GeForce RTX 4090: free, 24.0 GiB Refused Secure Boot is on" in text
    assert "hermes on @fake/silent Wanted" in text
    assert "no GPU of which anything is known Refused the probe gave no answer." in text
