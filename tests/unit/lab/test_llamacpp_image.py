"""llama.cpp in the lab: what its image says of itself, its build, its archive's launcher and collector."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from hermeion.errors import LabError
from hermeion.lab import llamacpp, supplies
from hermeion.lab.images import bases
from hermeion.lab.paths import StatePaths
from hermeion.lab.progress import Report

ARCHIVE = Path(llamacpp.__file__).parent / "archive"


def test_the_build_is_what_the_server_says() -> None:
    """The tag follows the program, not a constant: unstable moves on."""
    assert llamacpp.read_build("version: 0.7.0 (build 11669, commit Debian)\nbuilt with GNU 16.2.0\n") == "b11669"


def test_a_server_without_a_build_is_refused() -> None:
    """A tag is never guessed."""
    with pytest.raises(LabError, match=r"does not say its build: 'llama-server: not found'"):
        llamacpp.read_build("llama-server: not found\n")


def test_the_image_keeps_the_official_contract() -> None:
    """Entrypoint, health check and the wish for a driver are those of ``server-cuda``."""
    assert llamacpp.SETTINGS["Entrypoint"] == ["/app/llama-server"]
    assert llamacpp.SETTINGS["Healthcheck"] == {"Test": ["CMD", "curl", "-f", "http://localhost:8080/health"]}
    assert {"CUDA_VERSION=12.8.1", "NVIDIA_REQUIRE_CUDA=cuda>=12.8"} <= set(llamacpp.SETTINGS["Env"])
    assert "User" not in llamacpp.SETTINGS  # root


def test_sid_is_no_suite_for_hosts() -> None:
    """Unstable is a base of images only."""
    assert bases.base_tag("sid") == "hermeion-lab-base:sid"
    assert "sid" not in bases.SUITES


def install(root: Path) -> Path:
    """The archive's folder with a stand-in for the dynamic linker that prints its arguments, one a line."""
    folder = root / "llama-b1"
    (folder / "lib").mkdir(parents=True)
    launcher = folder / "llama-server"
    launcher.write_bytes((ARCHIVE / "llama-server").read_bytes())
    linker = folder / "lib" / "ld-linux-x86-64.so.2"
    linker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    for program in (launcher, linker):
        program.chmod(0o755)
    return launcher


@pytest.mark.parametrize("link", [False, True])
def test_the_launcher_finds_its_libraries(tmp_path: Path, link: bool) -> None:
    """Called by its path or through a link, with arguments of any spelling, it starts the server beside it."""
    program = install(tmp_path / "a folder")
    called = tmp_path / "llama-server"
    if link:
        called.symlink_to(program)
    arguments = ["--alias", "two words", "--chat-template-kwargs", '{"thinking": true}', "$HOME", ""]
    said = subprocess.run(
        [called if link else program, *arguments], cwd="/", capture_output=True, text=True, check=True
    ).stdout
    lib = program.parent / "lib"
    assert said == "\n".join(["--library-path", str(lib), str(lib / "llama-server"), *arguments]) + "\n"


@pytest.mark.parametrize("script", ["collect", "llama-server"])
def test_the_scripts_are_plain_shell(script: str) -> None:
    """dash reads them."""
    assert subprocess.run(["dash", "-n", ARCHIVE / script], check=False).returncode == 0


def test_a_day_without_sid_is_no_day_without_a_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """llama.cpp is left out, with the reason; it is not said to be there."""

    def refuse(*_: object) -> str:
        message = "building the llamacpp image failed: llama.cpp-tools : Depends: libggml0"
        raise LabError(message)

    monkeypatch.setattr(supplies, "ensure_image", refuse)
    assert supplies.ensure_llamacpp(cast("Any", None), "10.1.2.2", StatePaths(tmp_path), Report()) is None
    said = " ".join("".join(capsys.readouterr()).split())
    assert "llama.cpp is left out of this lab: building the llamacpp image failed" in said
