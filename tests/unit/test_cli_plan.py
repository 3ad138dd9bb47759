"""``hermeion plan`` from files: nobody is connected to; and its page."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hermeion import cli
from hermeion.cli.faces import check_target, write_atomically
from hermeion.cli.inventories import limited, load_inventory, wanted_by
from hermeion.errors import HermeionError, ProbeError
from hermeion.saved_hosts import dump_host
from tests.unit.builders import L40S, ROOT, RTX_4090, make_probe
from tests.unit.fakes import command_line

HERMES = {"name": "hermes", "model": "hermes-3-8b"}
HUGE = {"name": "hermes", "model": "hermes-4-405b"}
AGAIN = "Make it anew: hermeion probe INVENTORY --save DIR."

Hosts = list[dict[str, Any]]


def inventory_host(name: str, *services: dict[str, Any], **data: Any) -> dict[str, Any]:
    """A host as an inventory has it."""
    return {"name": name, "groups": ["gpu", "all"], "data": {"hermes_services": list(services) or [HERMES], **data}}


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """The hosts of the inventory, which no process reads; nobody is connected to."""
    found = [inventory_host("gpu-1"), inventory_host("gpu-2", HUGE)]

    def deploy(*_: str, **__: object) -> None:
        pytest.fail("a connection was made")

    monkeypatch.setattr("hermeion.cli.faces.deploy", deploy)
    monkeypatch.setattr("hermeion.cli.inventories.load_inventory", lambda _: found)
    return found


def save(folder: Path, name: str, *gpus: str, **answers: Any) -> Path:
    """A saved host in a folder."""
    path = folder / f"{name}.json"
    path.write_text(dump_host(name, make_probe(gpus or (RTX_4090,), **answers)))
    return path


def call(*arguments: str, columns: int = 80) -> Result:
    """Call the command line in this process."""
    runner = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"})
    return runner.invoke(cli.app, list(arguments), catch_exceptions=True)


def plan(folder: Path, *arguments: str) -> Result:
    """Plan an inventory from a folder."""
    return call("plan", "i.py", "--from", str(folder), *arguments)


def flat(result: Result) -> str:
    """What was printed, on one line."""
    return " ".join(result.stdout.split())


def test_planned_from_files(hosts: Hosts, tmp_path: Path) -> None:
    """Saved hosts are planned without a connection; everything that can be planned is exit code 0."""
    save(tmp_path, "gpu-1")
    save(tmp_path, "gpu-2", *["2335"] * 8)
    result = plan(tmp_path)

    assert 0 == result.exit_code
    assert "gpu-1 hermes: hermes-3-8b-bf16 on 1 × NVIDIA GeForce RTX 4090, 39936 tokens × 256 requests" in flat(result)
    assert "not known" in result.stdout


def test_many_files_after_one_from(hosts: Hosts, tmp_path: Path) -> None:
    """Every file after `--from` is a saved host, as a shell's `*.json` gives them."""
    files = [str(save(tmp_path, name, L40S)) for name in ("gpu-1", "gpu-2")]
    report = json.loads(call("plan", "i.py", "--from", *files, "--json").stdout)

    assert ["gpu-1", "gpu-2"] == list(report["hosts"])


def test_a_file_without_from(hosts: Hosts, tmp_path: Path) -> None:
    """A file that stands alone is not taken for something else."""
    path = save(tmp_path, "gpu-1")

    assert f"{path}: what is it for? Saved hosts stand behind --from." == refusal(call("plan", "i.py", str(path)))


def test_refused_from_a_file(hosts: Hosts, tmp_path: Path) -> None:
    """A refused host is exit code 1, with every option and what would fit."""
    save(tmp_path, "gpu-1")
    save(tmp_path, "gpu-2")
    result = plan(tmp_path)

    assert 1 == result.exit_code
    assert "gpu-2 refused: hermes: hermes-4-405b fits on no free GPU of this host." in flat(result)
    assert "What would fit: " in flat(result)


def test_json_from_files(hosts: Hosts, tmp_path: Path) -> None:
    """Programs get the keys that they get from hosts; what is to do is null, for nobody looked."""
    save(tmp_path, "gpu-1")
    save(tmp_path, "gpu-2")
    result = plan(tmp_path, "--json", "--bandwidth", "10")
    report = json.loads(result.stdout)

    assert (1, {"hosts", "failed", "seconds", "unplanned"}) == (result.exit_code, set(report))
    assert ("hermes-3-8b-bf16", None) == (
        report["hosts"]["gpu-1"]["plan"]["services"][0]["variant"],
        report["hosts"]["gpu-1"]["pending"],
    )
    assert {"refused", "rejections", "fix"} <= set(report["hosts"]["gpu-2"])
    assert ["gpu-2"] == list(report["failed"])
    assert "10 Gbit/s" in report["hosts"]["gpu-1"]["services"][0]["estimates"]["pull"]["basis"]


def test_host_without_a_file(hosts: Hosts, tmp_path: Path) -> None:
    """A host without a saved probe is named, with how to make one; its plan is not known, so the exit code is 1."""
    save(tmp_path, "gpu-1")
    result = plan(tmp_path)

    assert 1 == result.exit_code
    assert "gpu-2 not planned: no saved probe; make one with `hermeion probe i.py --save DIR`" in flat(result)
    assert {
        "gpu-2": "gpu-2: not planned: no saved probe; make one with `hermeion probe i.py --save DIR`"
    } == json.loads(plan(tmp_path, "--json").stdout)["failed"]


def test_limit(hosts: Hosts, tmp_path: Path) -> None:
    """A limit leaves out hosts without a file, and files of hosts that it leaves out are no error."""
    save(tmp_path, "gpu-1")
    save(tmp_path, "gpu-2")
    result = plan(tmp_path, "--limit", "gpu-1", "--json")

    assert (0, ["gpu-1"]) == (result.exit_code, list(json.loads(result.stdout)["hosts"]))


def refusal(result: Result) -> str:
    """The error with which a command ended."""
    assert isinstance(result.exception, HermeionError)
    return str(result.exception)


def test_file_of_a_stranger(hosts: Hosts, tmp_path: Path) -> None:
    """A saved probe of a host that is not in the inventory is an error with both names."""
    path = save(tmp_path, "gpu-9")
    result = plan(tmp_path)

    assert f"{path}: a saved probe of gpu-9, which is not in i.py; there are gpu-1, gpu-2" == refusal(result)
    assert isinstance(result.exception, ProbeError)


def test_two_files_of_a_host(hosts: Hosts, tmp_path: Path) -> None:
    """Two saved probes of one host are an error that names both."""
    first = save(tmp_path, "gpu-1")
    second = tmp_path / "other.json"
    second.write_text(first.read_text())

    assert f"{second}: a second probe of gpu-1; the first is {first}" == refusal(plan(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b"{", "{path}: broken: no JSON from line 1, column 2 on (Expecting property name enclosed in double "
         f"quotes). {AGAIN}"),
        ("x.json", b"\xff\xfe", "{path}: cannot be read: it is no text"),
        ("x.json", b"{}", "{path}: not a saved host. hermeion probe INVENTORY --save DIR makes one."),
        (
            "x.txt",
            b"{}",
            "{folder}: no saved host (*.json) in this folder. Make one: hermeion probe INVENTORY --save DIR.",
        ),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(hosts: Hosts, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A file that cannot be read is one error with its name."""
    path = tmp_path / name
    path.write_bytes(content)

    assert message.format(path=path, folder=tmp_path) == refusal(plan(tmp_path))


def test_file_that_is_not_there(hosts: Hosts, tmp_path: Path) -> None:
    """A file that is not there is one error with its name."""
    assert f"{tmp_path}/no.json: cannot be read: No such file or directory" == refusal(plan(tmp_path / "no.json"))


def test_file_with_impossible_values(hosts: Hosts, tmp_path: Path) -> None:
    """A file whose values no host answers is an error with its name, never a traceback."""
    path = save(tmp_path, "gpu-1", driver="unheard.of")

    assert f"{path}: holds what no host answers (tuple index out of range). {AGAIN}" == refusal(plan(tmp_path))


def test_wrong_inventory(hosts: Hosts, tmp_path: Path) -> None:
    """Every problem of the inventory is told, before any file is read; the exit code is not that of something to do."""
    hosts[0]["data"] = {"hermes_servces": []}
    hosts[1]["data"] = {"hermes_services": [{"name": "hermes", "model": "nope"}]}
    result = plan(tmp_path)

    first, second, third = refusal(result).splitlines()
    assert "the inventory cannot be used:" == first
    assert "gpu-1: hermes_servces: unknown key; did you mean 'hermes_services'?" == second
    assert third.startswith("gpu-2: hermes_services/hermes/model: 'nope' is in no catalogue. Known: ")
    assert isinstance(result.exception, HermeionError)
    assert 1 == result.exception.exit_code


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1", "x"])
def test_bandwidth_is_a_number(hosts: Hosts, tmp_path: Path, value: str) -> None:
    """A bandwidth that is no number of Gbit/s is refused."""
    assert 2 == plan(tmp_path, "--bandwidth", value).exit_code


def test_page(hosts: Hosts, tmp_path: Path) -> None:
    """The page is written, readable by everybody whom the umask lets, and nothing else is left in the folder."""
    (tmp_path / "saved").mkdir()
    save(tmp_path / "saved", "gpu-1")
    page = tmp_path / "plan.html"
    page.write_text("old")
    result = plan(tmp_path / "saved", "--html", str(page), "--limit", "gpu-1")
    umask = os.umask(0)
    os.umask(umask)

    assert 0 == result.exit_code
    assert f"The page: {page}" in result.stdout.replace("\n", "")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert 0o666 & ~umask == stat.S_IMODE(page.stat().st_mode)
    assert {"saved", "plan.html"} == {path.name for path in tmp_path.iterdir()}


def test_page_and_json(hosts: Hosts, tmp_path: Path) -> None:
    """With ``--json`` nothing but JSON is printed, and the page is written all the same."""
    save(tmp_path, "gpu-1")
    result = plan(tmp_path, "--html", str(tmp_path / "p.html"), "--limit", "gpu-1", "--json")

    assert json.loads(result.stdout)
    assert (tmp_path / "p.html").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "{folder} is a folder. Name a file in it, such as {folder}/plan.html."),
        ("no/plan.html", "{folder}/no/plan.html cannot be written: there is no folder {folder}/no."),
    ],
)
def test_page_that_cannot_be_written(hosts: Hosts, tmp_path: Path, path: str, message: str) -> None:
    """What is no file is refused before anything is asked."""
    assert message.format(folder=tmp_path) == refusal(plan(tmp_path, "--html", str(tmp_path / path)))


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be written whole stays as it was, and nothing is left beside it."""
    path = tmp_path / "plan.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    message = f"^{re.escape(str(path))} cannot be written: No space left on device$"
    with pytest.raises(HermeionError, match=message):
        write_atomically(path, "new")
    assert ("old", [path]) == (path.read_text(), list(tmp_path.iterdir()))
    check_target(path)


def test_limits_of_an_inventory() -> None:
    """A limit is a name, a pattern or a group, as pyinfra has it."""
    hosts = [inventory_host("gpu-1"), inventory_host("gpu-2"), {**inventory_host("cpu"), "groups": ["other", "all"]}]

    def names(*limit: str) -> list[str]:
        return [host["name"] for host in limited("i.py", hosts, limit)]

    assert [["gpu-1", "gpu-2", "cpu"], ["gpu-1", "gpu-2"], ["gpu-1", "gpu-2"], ["gpu-1", "cpu"]] == [
        names(),
        names("gpu"),
        names("gpu-*"),
        names("gpu-1", "other"),
    ]
    with pytest.raises(HermeionError, match=r"^not in i\.py: nope; there are gpu-1, gpu-2, cpu$"):
        names("gpu", "nope")


Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an inventory, and return its path."""

    def file(text: str) -> str:
        path = tmp_path / "inventory.py"
        path.write_text(text)
        return str(path)

    return file


def test_inventories_are_read_by_pyinfra(write: Write, tmp_path: Path) -> None:
    """Names, groups and data are those that a run would have: group data too; other keys stay where they are."""
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data" / "gpu.py").write_text("hermes_cache = '/data'\n")
    path = write(
        "from pathlib import Path as _Path\nprint('hello')\n"
        "gpu = [('a', {'ssh_password': 'POISON', 'hermes_services': []}), 'b']\nother = ['c']\n"
    )

    assert [
        ("a", {"gpu", "inventory", "all"}, {"hermes_services": [], "hermes_cache": "/data"}),
        ("b", {"gpu", "inventory", "all"}, {"hermes_cache": "/data"}),
        ("c", {"other", "inventory", "all"}, {}),
    ] == [(host["name"], set(host["groups"]), host["data"]) for host in load_inventory(path)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu = [(", "{path} cannot be read: line 1 of {path}: '(' was never closed"),
        ("raise ValueError('boom')", "{path} cannot be read: line 1 of {path}: ValueError: boom"),
        ("raise SystemExit('no lab is up')", "{path} cannot be read: no lab is up"),
        (
            "gpu = [('a', {'hermes_services': [object]})]",
            "{path} cannot be read: a: hermes_services: Object of type type is not JSON serializable",
        ),
        (
            "gpu = [1]",
            '{path} names no host: Ignoring host group "gpu". Host groups may only contain strings (host) or tuples '
            "(host, data).",
        ),
        ("", "{path} names no host"),
    ],
)
def test_inventories_that_cannot_be_read(write: Write, text: str, message: str) -> None:
    """What is wrong with an inventory is said in one line, in its own words."""
    path = write(text)
    with pytest.raises(HermeionError, match=f"^{re.escape(message.format(path=path))}$"):
        load_inventory(path)


def test_inventory_that_is_not_there() -> None:
    """A missing inventory is named at once, with where examples are."""
    with pytest.raises(HermeionError, match=r"^there is no inventory no\.py\. Examples: inventories/example_\*\.py$"):
        load_inventory("no.py")


def example_of_two_services(folder: Path) -> Sequence[str]:
    """Arguments that plan an example from a file."""
    name = "gpu-2.example"
    (folder / "probe.json").write_text(dump_host(name, make_probe([L40S] * 2)))
    return "plan", str(ROOT / "inventories/example_two_services.py"), "--from", str(folder / "probe.json")


def test_plan_from_a_file_in_earnest(tmp_path: Path) -> None:
    """The command itself plans an example without a connection, at 80 columns and without colour."""
    done = command_line("-m", "hermeion", *example_of_two_services(tmp_path), COLUMNS="80")

    assert (0, "") == (done.returncode, done.stderr)
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "\x1b" not in done.stdout
    assert "[WWWW" in done.stdout


def test_wanted_of_an_example(tmp_path: Path) -> None:
    """What a host of an example wants is read as a run reads it."""
    specs = wanted_by(load_inventory(str(ROOT / "inventories/example_two_services.py")))

    assert ["chat", "small"] == [service.name for service in specs["gpu-2.example"].hermes_services]
