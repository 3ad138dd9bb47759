"""``hermeion probe``: hosts are asked once, shown, and kept in files."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hermeion import cli
from hermeion.cli.probe import file_name, targets
from hermeion.errors import HermeionError
from hermeion.saved_hosts import dump_host, load_host
from tests.unit.builders import L40S, POISON, RTX_4090, bare_text, converged_answers, final_plan, make_probe, probe_text
from tests.unit.fakes import command_line, fake_host, write_inventory

Calls = list[tuple[tuple[str, ...], dict[str, Any]]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Have pyinfra's run leave the answers of two hosts; returns how it was called."""
    calls: Calls = []
    done = make_probe([L40S] * 2, **converged_answers(final_plan(gpus=[L40S] * 2)))
    bare = make_probe([RTX_4090], driver=None, docker=None)
    hosts = {
        "gpu-1": {"saved": dump_host("gpu-1", done), "unread": None},
        "gpu-2": {"saved": dump_host("gpu-2", bare), "unread": "gpu-2: the Hub cannot be reached"},
    }

    def deploy(*arguments: str, **options: Any) -> tuple[int, dict[str, Any]]:
        calls.append((arguments, options))
        names = [name for name in hosts if name in arguments] or list(hosts)
        return 0, {"hosts": {name: hosts[name] for name in names}, "seconds": {}, "failed": {}}

    monkeypatch.setattr(sys.modules["hermeion.cli.probe"], "deploy", deploy)
    return calls


def call(*arguments: str) -> Result:
    """Call the command line in this process."""
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(cli.app, ["probe", "i.py", *arguments])


def test_shown(answers: Calls) -> None:
    """Without a file a person sees each host in a few lines."""
    result = call()

    assert 0 == result.exit_code
    assert [(("i.py", "--dry", "-y"), {"quiet": True, "file": "probe.py"})] == answers
    for line in (
        "gpu-1",
        "  debian 13, kernel 6.12.48+deb13-amd64, x86_64",
        "  GPUs: 2 × NVIDIA L40S; driver 580.178.04 (open module 580.178.04, libraries 580.178.04); "
        "Docker 26.1.5+dfsg1, Compose 2.26.1-4",
        "  /srv/models: 1.7 TiB free of 1.8 TiB",
        "  GPUs: 1 × NVIDIA GeForce RTX 4090; no driver answers; no Docker",
    ):
        assert line in result.stdout.splitlines()
    assert re.search(r"^  hermes: release [0-9a-f]{12}$", result.stdout, re.MULTILINE)
    assert "gpu-2: saved without its own models: gpu-2: the Hub cannot be reached" in result.stderr


def test_saved_into_a_folder(answers: Calls, tmp_path: Path) -> None:
    """Each host is saved into a file of its own in a folder, which is made; where is said."""
    folder = tmp_path / "a" / "b"
    result = call("--save", str(folder))

    assert (0, "") == (result.exit_code, result.stdout)
    assert ["gpu-1.json", "gpu-2.json"] == sorted(path.name for path in folder.iterdir())
    assert "gpu-1" == load_host((folder / "gpu-1.json").read_text(), "x").host
    assert f"gpu-1: {folder}/gpu-1.json" in result.stderr


def test_saved_into_a_file(answers: Calls, tmp_path: Path) -> None:
    """One host is saved into the file that is named; limits are handed on."""
    path = tmp_path / "host.json"
    result = call("gpu-1", "--save", str(path))

    assert 0 == result.exit_code
    assert ("i.py", "--dry", "-y", "--limit", "gpu-1") == answers[0][0]
    assert "gpu-1" == load_host(path.read_text(), "x").host


def test_several_hosts_for_one_file(answers: Calls, tmp_path: Path) -> None:
    """Several hosts are not saved into one file."""
    path = tmp_path / "host.json"
    result = call("--save", str(path))

    assert isinstance(result.exception, HermeionError)
    assert f"{path} is one file, and 2 hosts answered. Name a folder, or one host." == str(result.exception)
    assert not path.exists()


def test_folder_that_cannot_be_made(answers: Calls, tmp_path: Path) -> None:
    """A folder that cannot be made is one error with its name."""
    (tmp_path / "file").write_text("")
    result = call("--save", str(tmp_path / "file" / "x"))

    assert isinstance(result.exception, HermeionError)
    assert f"{tmp_path}/file/x cannot be made: Not a directory" == str(result.exception)


def test_as_json(answers: Calls, tmp_path: Path) -> None:
    """Programs get what the files hold, by host, and who did not answer."""
    result = call("--json", "--save", str(tmp_path))
    answer = json.loads(result.stdout)

    assert {"hosts", "failed"} == set(answer)
    assert json.loads((tmp_path / "gpu-1.json").read_text()) == answer["hosts"]["gpu-1"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("gpu-1.example", "gpu-1.example.json"), ("@docker/x:y", "_docker_x_y.json"), ("../x", "_._x.json")],
)
def test_names_of_files(host: str, expected: str) -> None:
    """A host's name never leads out of the folder."""
    assert expected == file_name(host)


def test_two_hosts_of_one_file_name(tmp_path: Path) -> None:
    """Two hosts whose files would have one name are not written over each other."""
    message = f"{tmp_path}/_x.json would be the file of two hosts; probe them one by one, each into its own file."
    with pytest.raises(HermeionError, match=f"^{re.escape(message)}$"):
        targets(["@x", "/x"], tmp_path)


def test_probe_in_earnest(tmp_path: Path) -> None:
    """The command itself asks each host once, saves who answers, names who does not, and no secret is in any file."""
    secret = json.dumps({"features": {"cdi": True}, "proxies": {"http-proxy": f"http://me:{POISON}@proxy:3128"}})
    plan = final_plan(name="@fake/done")
    inventory = write_inventory(
        tmp_path,
        {
            "bare": fake_host(bare_text()),
            "done": fake_host(probe_text(**converged_answers(plan), daemon_json=secret)),
            "silent": fake_host(""),
        },
    )
    done = command_line("-m", "hermeion", "probe", str(inventory), "--save", str(tmp_path / "saved"), HF_TOKEN=POISON)

    assert (1, "") == (done.returncode, done.stdout)
    assert "@fake/silent: the probe gave no answer. Log in and look whether `sh` works there." in done.stderr
    files = {path.name: path.read_text() for path in (tmp_path / "saved").iterdir()}
    assert {"_fake_bare.json", "_fake_done.json"} == set(files)
    assert plan.services[0].release_id == load_host(files["_fake_done.json"], "x").probe.releases["hermes"][0]
    assert POISON not in done.stderr + "".join(files.values())


def test_limit_that_leaves_nobody(tmp_path: Path) -> None:
    """pyinfra calls a run on no host a success; here it is an error."""
    inventory = write_inventory(tmp_path, {"bare": fake_host(bare_text())})
    done = command_line("-m", "hermeion", "probe", str(inventory), "nope")

    assert (1, f"error: not in {inventory}: nope\n") == (done.returncode, done.stderr)
