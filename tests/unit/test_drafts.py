"""What a host is found to be like before it is planned."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from hermeion import drafts, narration
from hermeion.errors import HermeionError
from hermeion.probe import Probe
from hermeion.scripts.apt import quiet_script
from hermeion.wanted import Wanted
from tests.unit.builders import make_probe, make_spec

BROKEN = ["iHR libpython3.13-minimal"]


def found(monkeypatch: pytest.MonkeyPatch, *probes: Probe) -> tuple[list[str], list[str]]:
    """What is said and run while a host with these answers is drafted."""
    said: list[str] = []
    ran: list[str] = []
    answers = iter(probes)
    host: Any = SimpleNamespace(name="gpu-1")
    wanted = Wanted(spec=make_spec(), ca=None, keys={}, locks={})
    state: Any = SimpleNamespace(inventory=SimpleNamespace(get_host=lambda _: host))
    monkeypatch.setattr(drafts, "_DRAFTS", {})
    monkeypatch.setattr(drafts, "_LOCKS", {})
    monkeypatch.setattr(drafts, "all_wanted", lambda _: {"gpu-1": wanted})
    monkeypatch.setattr(drafts, "observe", lambda *_: next(answers))
    monkeypatch.setattr(drafts, "ctx_host", SimpleNamespace(use=lambda _: nullcontext()))
    monkeypatch.setattr(drafts, "run", lambda _state, _host, script, **_: ran.append(script))
    monkeypatch.setattr(narration, "say", lambda _, text: said.append(text))
    try:
        drafts.draft(state, host)
    except HermeionError as error:
        said.append(str(error))
    return said, ran


def test_packages_in_the_middle_of_their_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which packages are being installed is looked at again when that is over."""
    said, ran = found(monkeypatch, make_probe(broken=BROKEN), make_probe())

    assert ["packages are half-configured: looking again once no package manager is at work"] == said
    assert [quiet_script()] == ran


def test_packages_that_stay_half_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still half-configured then is refused."""
    said, _ = found(monkeypatch, make_probe(broken=BROKEN), make_probe(broken=BROKEN))

    assert said[-1].startswith("gpu-1: dpkg left ")


def test_host_that_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is well is asked once."""
    assert ([], []) == found(monkeypatch, make_probe())


def test_waiting_is_shell() -> None:
    """The script is shell."""
    done = subprocess.run(["sh", "-n"], input=quiet_script(), capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
