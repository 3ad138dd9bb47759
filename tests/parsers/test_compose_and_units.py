"""What we render is what Compose and systemd accept: the real ones, of this machine or of the lab's hosts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermeion.eject import ejected_files
from hermeion.engines import ENGINES
from hermeion.render import environment_of
from tests.unit.builders import TEMPLATES
from tests.unit.render_cases import CASES, COMPOSE, HOSTILE, NATIVE, rendered, service_of

LAB_IMAGE = "hermeion-lab-kept-docker-trixie"
"""Images of lab hosts with Docker, Compose and systemd, where a lab with such a host was ever up on this machine."""

MOST_EXPOSED = 2.5
"""What ``systemd-analyze security`` may say of a native unit, of 10."""

Shell = Callable[[str, Path], str]
"""Runs a script in a folder and returns what it printed, errors included."""


def _here(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout


def _lab_image() -> str | None:
    if not shutil.which("docker"):
        return None
    command = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next((line for line in done.stdout.splitlines() if line.startswith(LAB_IMAGE)), None)


def _in_the_lab(image: str) -> Shell:
    def run(script: str, folder: Path) -> str:
        command = ["docker", "run", "--rm", "--network", "none", "-v", f"{folder}:{folder}", "-w", str(folder)]
        command += ["--entrypoint", "sh", image, "-c", script]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout

    return run


def _compose_here() -> str | None:
    for words in ("docker compose", "docker-compose"):
        if shutil.which(words.split()[0]) and re.search(r"v?2\.\d", _here(f"{words} version", Path("/"))):
            return words
    return None


@pytest.fixture(scope="module")
def compose() -> Callable[[str, Path], str]:
    """Compose with some arguments, in a folder."""
    if words := _compose_here():
        return lambda arguments, folder: _here(f"{words} {arguments}", folder)
    if image := _lab_image():
        return lambda arguments, folder: _in_the_lab(image)(f"docker-compose {arguments}", folder)
    pytest.skip("Docker Compose 2 is neither on this machine nor in an image of a lab host here")


@pytest.fixture(scope="module", params=["this machine", "a lab host"])
def systemd(request: pytest.FixtureRequest) -> Shell:
    """A shell where ``systemd-analyze`` is: of Debian 12 or whatever this machine is, and of Debian 13."""
    if request.param == "this machine":
        if not shutil.which("systemd-analyze"):
            pytest.skip("systemd is not on this machine")
        return _here
    image = _lab_image()
    if image is None:
        pytest.skip("no image of a lab host with Debian 13 is on this machine")
    return _in_the_lab(image)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case's release in a folder of its own."""
    root = tmp_path_factory.mktemp("releases")
    for case in CASES:
        (root / case).mkdir()
        for path, content in rendered(service_of(case)).items():
            (root / case / path).write_text(content)
    return root


def by_case(output: str) -> Iterator[tuple[str, str]]:
    """Parts of an output, each below a line ``== case``."""
    parts = re.split(r"^== (.+)\n", output, flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def test_compose_accepts(compose: Callable[[str, Path], str], releases: Path) -> None:
    """Compose reads every case's file, and has nothing to say about it."""
    assert dict.fromkeys(COMPOSE, "") == {case: compose("config -q", releases / case) for case in COMPOSE}


def test_compose_accepts_what_is_ejected(compose: Callable[[str, Path], str], tmp_path: Path) -> None:
    """Compose reads every ejected file, where it lies, and every mount of ours is beside it or the weights."""
    said = {}
    for case in COMPOSE:
        folder = tmp_path / case
        folder.mkdir()
        for file in ejected_files(service_of(case), TEMPLATES):
            (folder / file.path).write_text(file.content)
        said[case] = compose("config -q", folder)
        seen = json.loads(compose("config --format json", folder))
        mounts = [mount for service in seen["services"].values() for mount in service.get("volumes", ())]
        sources = {mount["source"] for mount in mounts if mount["type"] == "bind"}
        beside = {source for source in sources if Path(source).parent == folder and Path(source).is_file()}

        assert {f"{service_of(case).cache}/hub"} == sources - beside

    assert dict.fromkeys(COMPOSE, "") == said


def test_systemd_knows_every_line(systemd: Shell, releases: Path) -> None:
    """systemd reads every case's unit, and has nothing to say about it."""
    # Whether Docker is installed is the host's business.
    docker = "sed -i 's#/usr/bin/docker #/bin/true #' */*.service; " if systemd is _here else ""
    script = docker + 'for case in *; do echo "== $case"; systemd-analyze verify --man=no "$PWD/$case"/*.service; done'
    said = dict(by_case(systemd(f"({script}) 2>&1", releases)))

    assert dict.fromkeys(sorted(CASES), "") == dict(sorted(said.items()))


def test_native_units_are_hardened(systemd: Shell, releases: Path) -> None:
    """systemd calls no native unit more exposed than 2.5 of 10."""
    analyse = 'systemd-analyze security --no-pager --offline=true "$PWD/$case"/*.service'
    script = f'for case in {" ".join(NATIVE)}; do echo "== $case"; {analyse}; done'
    said = dict(by_case(systemd(f"({script}) 2>&1", releases)))
    levels = {case: re.search(r"Overall exposure level for .*: ([\d.]+)", text) for case, text in said.items()}
    scores = {case: float(level[1]) if level else said[case] for case, level in levels.items()}

    assert set(NATIVE) == scores.keys()
    assert {} == {case: score for case, score in scores.items() if not isinstance(score, float) or score > MOST_EXPOSED}


NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,20}\Z")
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60) | st.sampled_from(
    [HOSTILE, "$", "$$", "$x", "${x}", "${x:-y}", "{{ x }}", "null", "0x1f", "1e3", "~", "\r\n", "\x85\u2029\ufeff"]
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(environment=st.dictionaries(NAMES, VALUES, min_size=5, max_size=30), options=st.lists(VALUES, max_size=20))
def test_compose_reads_what_the_plan_says(
    compose: Callable[[str, Path], str], tmp_path: Path, environment: dict[str, str], options: list[str]
) -> None:
    """Whatever an environment and options hold, Compose hands it on byte for byte."""
    planned = service_of("llamacpp-compose")
    config = {**planned.config, **{f"x-option-{number}": value for number, value in enumerate(options)}}
    service = planned.model_copy(update={"environment": environment, "config": config})
    (tmp_path / "compose.yaml").write_text(rendered(service)["compose.yaml"])
    seen: dict[str, Any] = json.loads(compose("config --format json", tmp_path))["services"]["engine"]

    # Compose doubles the dollars of what it prints, for this is again a Compose file.
    assert environment_of(service) == {name: value.replace("$$", "$") for name, value in seen["environment"].items()}
    assert list(ENGINES["llamacpp"].arguments(service)) == [word.replace("$$", "$") for word in seen["command"]]
