"""``hermeion cache``: what is shown, what is ordered from which host, and how it ends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hermeion import cli
from hermeion.errors import HermeionError
from hermeion.scripts.housekeeping import listing_script
from tests.unit.cache_folders import COMMITS, REPO, lay_out, release, run
from tests.unit.fakes import command_line, write_inventory

NEXT = "`pyinfra i.py deploys/hermes.py`"


class Fleet:
    """Three hosts, the first of which has a cache; pyinfra's runs are answered from this machine."""

    def __init__(self, tmp_path: Path) -> None:
        self.cache, self.tmp_path = tmp_path / "models", tmp_path
        self.cache.mkdir()
        self.runs: list[tuple[str, tuple[str, ...]]] = []
        self.orders: dict[str, dict[str, str]] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self.names = ["gpu-1", "gpu-2"]
        self.python = "/usr/bin/python3"

    def hosts(self, _: str) -> list[dict[str, Any]]:
        """The inventory's."""
        return [{"name": name, "groups": [], "data": {}} for name in self.names]

    def deploy(self, inventory: str, *options: str, quiet: bool = False, file: str) -> tuple[int, dict[str, Any]]:
        """A run of pyinfra; it is shown where bytes are counted."""
        assert (file != "cache_work.py") <= quiet
        assert "i.py" == inventory
        self.runs.append((file, options))
        if file == "cache_work.py":
            self.orders = json.loads(Path(os.environ["HERMEION_ORDERS"]).read_text())
        hosts = self.reports.get(file, {})
        if file == "cache_list.py":
            for name, folder in (("gpu-1", self.cache), ("gpu-2", self.tmp_path / "nowhere")):
                if name not in self.failed:
                    script = listing_script(str(folder)).replace("/usr/bin/python3", self.python)
                    said = run(script, self.tmp_path).stdout
                    hosts[name] = {"cache": str(folder), "listing": "".join(said.splitlines())}
        return 0, {"hosts": hosts, "seconds": {}, "failed": self.failed if file == "cache_list.py" else {}}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet in place of pyinfra."""
    fleet = Fleet(tmp_path)
    for module in ("hermeion.cli.cache_answers", "hermeion.cli.pyinfra"):
        __import__(module)
        monkeypatch.setattr(sys.modules[module], "deploy", fleet.deploy)
    monkeypatch.setattr(sys.modules["hermeion.cli.cache_answers"], "load_inventory", fleet.hosts)
    return fleet


def call(command: str, *arguments: str) -> Result:
    """Call the command line in this process."""
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"})
    return runner.invoke(cli.app, ["cache", command, "i.py", *arguments])


def words(result: Result) -> str:
    """What was printed, spaces made one."""
    return " ".join(result.stdout.split())


def test_ls(fleet: Fleet) -> None:
    """A person sees every cache, each snapshot with its state and users, and what a prune would free."""
    lay_out(fleet.cache)
    lay_out(fleet.cache, COMMITS[1], {"x": b"x" * 5000}, repo="org/idle")
    lay_out(fleet.cache, COMMITS[2], {"y": b"y"}, repo="org/foreign", record=False)
    release(fleet.tmp_path / "opt", COMMITS[0], release_id="f6fe229240e2")
    result = call("ls", "gpu-1")

    assert (0, "") == (result.exit_code, result.stderr)
    assert [("cache_list.py", ("--dry", "-y"))] == fleet.runs  # all hosts, whoever is named
    assert "gpu-2" not in result.stdout
    text = words(result)
    assert "org/model 11111111 1.5 KiB 3 complete hermes@gpu-1" in text
    assert "f6fe229240e2 model-bf16 2026-11-21" in text
    assert "org/idle 22222222 4.9 KiB 1 complete –" in text
    assert "org/foreign 33333333 1 bytes 1 not ours –" in text
    assert "a prune would free 5." in text


def test_ls_of_damage(fleet: Fleet) -> None:
    """Damage is named with the next step."""
    lay_out(fleet.cache)
    (fleet.cache / "hub/models--org--model/snapshots" / COMMITS[0] / "config.json").resolve().write_bytes(b"[]")

    assert (
        "damaged: org/model 11111111: not as it was when it was checked: config.json. `hermeion cache verify i.py` "
        f"reads every byte; {NEXT} fetches again what is wrong, and that alone."
    ) in words(call("ls"))


def test_ls_as_json(fleet: Fleet) -> None:
    """Programs get the same with every figure."""
    name = lay_out(fleet.cache)
    answer = json.loads(call("ls", "gpu-1", "--json").stdout)

    assert {"caches", "failed"} == set(answer)
    (cache,) = answer["caches"]
    (row,) = cache["snapshots"]
    assert (["gpu-1"], str(fleet.cache)) == (cache["hosts"], cache["cache"])
    assert (name, "complete", 1502, 3) == (row["name"], row["state"], row["bytes"], row["files"])
    assert cache["prune"]["bytes"] > 1502


def test_host_that_does_not_answer(fleet: Fleet) -> None:
    """A host that does not answer is named, and the others are shown; the exit code tells."""
    lay_out(fleet.cache)
    fleet.failed = {"gpu-2": "gpu-2: could not connect"}
    result = call("ls")

    assert (1, "gpu-2: could not connect\n") == (result.exit_code, result.stderr)
    assert "org/model" in result.stdout


def test_unknown_host(fleet: Fleet) -> None:
    """A host that the inventory does not have is an error that names those it has."""
    assert "not in i.py: gpu-9; there are gpu-1, gpu-2" == str(call("ls", "gpu-9").exception)


def test_prune_is_dry(fleet: Fleet) -> None:
    """Without -y a prune shows what would go, and nothing is ordered."""
    lay_out(fleet.cache)
    result = call("prune")

    assert 0 == result.exit_code
    assert ["cache_list.py"] == [file for file, _ in fleet.runs]
    assert "org/model: 2.4 KiB (commit 11111111, which no release names)" in result.stdout
    assert "2.4 KiB would be freed; nothing was removed. Do it: hermeion cache prune i.py -y" in words(result)


def test_prune(fleet: Fleet) -> None:
    """With -y one host of each filesystem is ordered to; what it freed and had to leave is told."""
    lay_out(fleet.cache)
    fleet.reports["cache_work.py"] = {"gpu-1": {"result": "left hub/x: somebody needs it\nfreed 2048"}}
    result = call("prune", "-y")

    assert ("cache_work.py", ("-y", "--limit", "gpu-1")) == fleet.runs[1]
    assert ["gpu-1"] == list(fleet.orders)
    assert COMMITS[0] in fleet.orders["gpu-1"]["script"]
    assert "HERMEION_ORDERS" not in os.environ
    assert 1 == result.exit_code
    assert "left gpu-1: hub/x: somebody needs it" in result.stdout.splitlines()
    assert "2.0 KiB freed" in result.stdout.splitlines()


def test_prune_of_nothing(fleet: Fleet) -> None:
    """Where nothing can go, nothing is ordered."""
    lay_out(fleet.cache)
    release(fleet.tmp_path / "opt", COMMITS[0])
    result = call("prune", "-y")

    assert 0 == result.exit_code
    assert ["cache_list.py"] == [file for file, _ in fleet.runs]
    assert "nothing to remove" in result.stdout


def test_prune_keeps_young_pulls(fleet: Fleet) -> None:
    """What has just been pulled is shown to stay, unless --grace says otherwise."""
    name = lay_out(fleet.cache, old=False)

    assert f"stays: {name}: came less than 60 min ago: its service may be on its way" in words(call("prune"))
    assert "would be freed" in words(call("prune", "--grace", "0"))


def test_prune_that_is_refused(fleet: Fleet) -> None:
    """A refusal ends with exit code 1, and nothing is ordered."""
    lay_out(fleet.cache)
    plan = fleet.tmp_path / "opt" / "hermes" / "releases" / "abc" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{")
    result = call("prune", "gpu-1", "-y")

    assert (1, ["cache_list.py"]) == (result.exit_code, [file for file, _ in fleet.runs])
    assert (
        f"nothing is removed from {fleet.cache} of gpu-1: /opt/hermeion/hermes/releases/abc/plan.json on gpu-1 "
        "cannot be read. Look at it, or deploy that service again, then run again.\n"
    ) == result.stderr


FOUND = {
    "names": {
        f"models--org--model@{COMMITS[0]}": {
            "skipped": "", "files": 3, "bytes": 1500, "renewed": ["a"],
            "damaged": [{"path": "my file", "promised": "ab" * 32, "found": "cd" * 32}],
        }
    },
    "hashed": 2048,
    "seconds": 2.0,
}  # fmt: skip


def test_verify(fleet: Fleet) -> None:
    """One host hashes what is recorded; what is damaged is named with both hashes and the next step."""
    lay_out(fleet.cache)
    fleet.reports["cache_work.py"] = {"gpu-1": {"result": json.dumps(FOUND)}}
    result = call("verify")

    assert 1 == result.exit_code
    assert ("cache_work.py", ("-y", "--limit", "gpu-1")) == fleet.runs[1]
    assert [
        "gpu-1: 2.0 KiB hashed in 2.0 s, 1.0 KiB/s",
        f"  models--org--model@{COMMITS[0]}: 1 of 3 files damaged; 1 had another time or place on disk than recorded",
        f"    my file: promised {'ab' * 32}, found {'cd' * 32}",
        f"Next: {NEXT} fetches again what is damaged, and that alone.",
    ] == result.stdout.splitlines()


def test_verify_as_json(fleet: Fleet) -> None:
    """Programs get the findings by host."""
    lay_out(fleet.cache)
    fleet.reports["cache_work.py"] = {"gpu-1": {"result": json.dumps(FOUND)}}

    assert {"hosts": {"gpu-1": FOUND}, "failed": {}} == json.loads(call("verify", "--json").stdout)


def test_verify_without_a_result(fleet: Fleet) -> None:
    """A host that left no result is no success."""
    lay_out(fleet.cache)
    result = call("verify")

    assert (1, "gpu-1: left no result. Run again.\n") == (result.exit_code, result.stderr)


def test_verify_of_another_repository(fleet: Fleet) -> None:
    """A repository that no cache has a record of is an error that names those it has."""
    lay_out(fleet.cache)
    assert f"--repo: no cache has a record of org/x. There is {REPO}." == str(
        call("verify", "--repo", "org/x").exception
    )


def test_verify_of_nothing(fleet: Fleet) -> None:
    """Where nothing is recorded, that is said, and nothing is ordered."""
    result = call("verify")

    assert (0, 1) == (result.exit_code, len(fleet.runs))
    assert (
        "there is nothing to check: no cache has a record of weights. `hermeion cache ls` shows what is there.\n"
        == result.stdout
    )


def test_verify_without_python(fleet: Fleet) -> None:
    """A host without Python is told what to do."""
    lay_out(fleet.cache)
    fleet.python = "/nowhere/python3"
    error = call("verify").exception

    assert isinstance(error, HermeionError)
    assert (
        "gpu-1: there is no Python to hash with. Install python3 there (a deploy that pulls weights does), "
        "then run again."
    ) == str(error)


def test_cancel(fleet: Fleet) -> None:
    """Every pull that was stopped is told with the bytes that stay, and the next step."""
    fleet.reports["cache_cancel.py"] = {
        "gpu-1": {"stopped": ["weights-hermes 1024 4096", "weights-new", ""]}, "gpu-2": {"stopped": []}
    }  # fmt: skip
    result = call("cancel", "gpu-1", "gpu-2")

    assert 0 == result.exit_code
    assert [("cache_cancel.py", ("-y", "--limit", "gpu-1", "--limit", "gpu-2"))] == fleet.runs
    assert [
        f"gpu-1: weights-hermes stopped; 1.0 KiB of 4.0 KiB stay. Run {NEXT} to go on.",
        f"gpu-1: weights-new stopped; it had just begun. Run {NEXT} to go on.",
        "gpu-2: no pull runs",
    ] == result.stdout.splitlines()


@pytest.mark.parametrize("command", ["ls", "verify", "prune", "cancel"])
def test_help(command: str) -> None:
    """Each command's help has an example and its exit codes."""
    text = words(CliRunner(env={"COLUMNS": "100"}).invoke(cli.app, ["cache", command, "--help"]))

    assert f"Example: hermeion cache {command} inventories/lab.py" in text.replace("`", "")
    assert "Exit code: 0" in text


def test_in_earnest(tmp_path: Path) -> None:
    """The command itself asks each host through pyinfra, shows who answers, and names who does not."""
    cache = tmp_path / "models"
    cache.mkdir()
    lay_out(cache)
    said = run(listing_script(str(cache)), tmp_path).stdout.splitlines()
    base = {"fake_delay": 0, "fake_delay_jitter": 0, "hermes_services": []}
    inventory = write_inventory(
        tmp_path,
        {
            "good": base | {"fake_responses": {"sh -s": said}},
            "mute": base | {"fake_responses": {"sh -s": ["aGVsbG8A"]}},
        },
    )
    done = command_line("-m", "hermeion", "cache", "ls", str(inventory))

    assert 1 == done.returncode, done.stderr
    assert "@fake/mute: its answer about the cache cannot be understood: 'hello'" in done.stderr
    assert "org/model" in done.stdout
