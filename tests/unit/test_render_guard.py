"""The guard before every start, run: no engine on weights that are not what was checked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hermeion.eject import ejected_files
from hermeion.plans import Service
from tests.unit.builders import TEMPLATES
from tests.unit.render_cases import CASES, COMPOSE, NATIVE, rendered, service_of
from tests.unit.test_render_scripts import KEYS, Ran, assemble, inside, lay_weights

AGAIN = "Run pyinfra INVENTORY deploys/hermes.py again: it checks and repairs."
SOME = ["one-4090", "llamacpp-compose", "ollama-compose", "vllm-native", "llamacpp-native"]


def guard(case: str, root: Path) -> Ran:
    """What runs before the engine, with the folder in place of the host's root."""
    service = service_of(case)
    if case in COMPOSE:
        return assemble(service, KEYS, root)
    current = root / f"opt/hermeion/{service.name}/current"
    current.mkdir(parents=True, exist_ok=True)
    (current / "plan.json").touch()
    return run(rendered(service)["guard.sh"], root)


def run(script: str, root: Path) -> Ran:
    """Run a script with the folder in place of the host's root."""
    script = inside(script, root).replace("-e /opt/", f"-e {root}/opt/")
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr, root)


def first_file(service: Service, root: Path) -> Path:
    """Blob of the service's first file, of the sort that the manifest has first."""
    snapshot = lay_weights(service, root)
    return (snapshot / (service.files[0] if service.files else "config.json")).resolve()


def later(path: Path) -> None:
    """A nanosecond later."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def shorter(path: Path) -> None:
    """Cut off, at the same time."""
    stat = path.stat()
    path.write_text("cut")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (later, "was changed after it was checked"),
        (shorter, "has 3 bytes, and had 7 when it was checked"),
        (Path.unlink, "is missing"),
    ],
)
@pytest.mark.parametrize("case", SOME)
def test_no_start_on_other_weights(case: str, change: Callable[[Path], None], problem: str, tmp_path: Path) -> None:
    """A file that is not the one that was checked stops the start; one sentence says which and what to do."""
    service = service_of(case)
    change(first_file(service, tmp_path))
    name = service.files[0] if service.files else "config.json"

    assert (1, "", f"{service.name}: {name} of its weights {problem}. {AGAIN}\n") == guard(case, tmp_path)[:3]
    assert not (tmp_path / "run/hermeion").exists()


@pytest.mark.parametrize("case", CASES)
def test_start_on_what_was_checked(case: str, tmp_path: Path) -> None:
    """Every service starts on what was checked, from another disk too, whatever happens to another pull's files."""
    snapshot = lay_weights(service_of(case), tmp_path)
    (snapshot / "another pull's").resolve().unlink()
    hub = snapshot.parents[2]
    shutil.copytree(hub, tmp_path / "backup", symlinks=True)
    shutil.rmtree(hub)
    shutil.copytree(tmp_path / "backup", hub, symlinks=True)

    assert (0, "") == guard(case, tmp_path)[:2]


@pytest.mark.parametrize("case", SOME)
@pytest.mark.parametrize("content", [None, ""])
def test_no_start_without_a_record(case: str, content: str | None, tmp_path: Path) -> None:
    """Weights of which nothing says that they were checked are not started on; the message names what is missing."""
    service = service_of(case)
    lay_weights(service, tmp_path)
    manifest = Path(f"{tmp_path}{service.cache}/hermeion/{service.snapshot}.manifest")
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    said = f"{service.name}: nothing says that its weights were checked: there is no {manifest}. {AGAIN}\n"

    assert (1, "", said) == guard(case, tmp_path)[:3]


@pytest.mark.parametrize("case", SOME)
def test_a_record_of_an_older_release(case: str, tmp_path: Path) -> None:
    """A record without times is told from weights that were changed."""
    service = service_of(case)
    lay_weights(service, tmp_path)
    Path(f"{tmp_path}{service.cache}/hermeion/{service.snapshot}.manifest").write_text("7 a\n7 b\n")
    said = f"{service.name}: the record of its weights is of another release. {AGAIN}\n"

    assert (1, "", said) == guard(case, tmp_path)[:3]


def test_several_files(tmp_path: Path) -> None:
    """Of several changed files one is named, and the others are counted."""
    shutil.rmtree(lay_weights(service_of("vllm-native"), tmp_path))
    names = {"config.json of its weights is missing", "model 1 [of 1].safetensors of its weights is missing"}
    ran = guard("vllm-native", tmp_path)

    assert {f"hermes: {name} (and 1 more). {AGAIN}\n" for name in names} > {ran.stderr}


@pytest.mark.parametrize("name", ["a\\b 'c' \"d\" $e `f` %s é.safetensors", "1 2 3.4 5"])
def test_hostile_names(name: str, tmp_path: Path) -> None:
    """A file is called what it is called."""
    service = service_of("llamacpp-native").model_copy(update={"files": (name,)})
    change = first_file(service, tmp_path)
    current = tmp_path / "opt/hermeion/hermes/current"
    current.mkdir(parents=True)
    (current / "plan.json").touch()
    script = rendered(service)["guard.sh"]
    assert (0, "", "") == run(script, tmp_path)[:3]

    later(change)
    assert f"hermes: {name} of its weights was changed after it was checked. {AGAIN}\n" == run(script, tmp_path).stderr


@pytest.mark.parametrize("case", ["one-4090", "vllm-native"])
def test_weights_of_the_hosts_own(case: str) -> None:
    """A folder that is the host's own has no record, and no guard."""
    files = rendered(service_of(case).model_copy(update={"path": "/srv/mine"}))

    assert {} == {path: text for path, text in files.items() if "manifest" in text or "guard.sh" in text}
    assert "guard.sh" not in files


@pytest.mark.parametrize("case", NATIVE)
def test_the_unit_runs_the_guard(case: str) -> None:
    """A native unit runs the guard as root, outside of the engine's view of the files, before the engine."""
    service = service_of(case)
    lines = rendered(service)[service.unit].splitlines()

    assert lines.index(f"ExecStartPre=+/bin/sh {service.folder}/current/guard.sh") < lines.index(
        f"ExecStart=/bin/sh {service.folder}/current/launch.sh"
    )


@pytest.mark.parametrize("case", CASES)
def test_no_guard_where_it_was_ejected(case: str, tmp_path: Path) -> None:
    """What is ejected starts without our record: a container's files hold no guard, a native one's steps aside."""
    files = {file.path: file.content for file in ejected_files(service_of(case), TEMPLATES)}

    assert (case in NATIVE) is ("guard.sh" in files)
    assert [] == [path for path, text in files.items() if "hermeion/models--" in text and path != "guard.sh"]
    assert (0, "", "") == run(files.get("guard.sh", ""), tmp_path)[:3]
