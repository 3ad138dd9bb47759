"""The shell scripts that bring a host to its plan."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, Work, start_script, write_files
from hermeion.plans import Package, Service
from hermeion.render import render_files
from hermeion.scripts.apt import apt_install, ca_files
from hermeion.scripts.service import activate_script, image_script, release_script
from hermeion.scripts.tools import tools_script
from hermeion.scripts.weights import puller_files, puller_folder, weights_work
from tests.unit.asking import question_script
from tests.unit.builders import (
    OWN,
    POISON,
    ROOT,
    TEMPLATES,
    final_plan,
    final_service,
    image_of,
    make_probe,
    make_sources,
    make_spec,
)

CA = "-----BEGIN CERTIFICATE-----\n$HOME 'quoted' \"double\" `id`\n-----END CERTIFICATE-----\n"
HOSTILE = "$HOME `id` \"double\" 'single' %n {{ x }} \\ ; exit 3"
MIRRORS = {
    "registry": "mirror:5000",
    "hub": "https://hub.mirror",
    "index": "https://pypi.mirror/simple",
    "apt": {"nvidia": {"url": "https://apt.mirror/nvidia/", "key": "key.asc"}},
    "ca": "ca.pem",
}


def a_spec(*, mirrors: bool = True) -> HostSpec:
    """An inventory with every mirror, or none."""
    return make_spec(hermes_mirrors=MIRRORS if mirrors else {})


def a_service() -> Service:
    """A service whose free values are hostile."""
    return final_service({"name": "hermes", "model": "my-llama", "extra_args": {"x": HOSTILE}}, hermes_catalog=[OWN])


def a_pull(*, mirrors: bool = True, token: str = "hf_x") -> Work:
    """A job that pulls weights, with a source and its secret."""
    service = a_service()
    source = {"kind": "hub", "endpoint": HOSTILE, "token_file": "/run/hermeion/jobs/weights-hermes.secrets/token"}
    return weights_work(
        a_spec(mirrors=mirrors),
        make_probe(),
        service,
        make_sources(service).files,
        [source],
        ca=CA if mirrors else None,
        keys={},
        secrets={"token": token},
        packages=("rsync",),
    )


def scripts(*, mirrors: bool = True, token: str | None = None) -> dict[str, str]:
    """Every script that goes to a host, by name."""
    spec, service = a_spec(mirrors=mirrors), a_service()
    ca = CA if mirrors else None
    return {
        "weights": a_pull(mirrors=mirrors, token=token or "hf_x").script,
        "image": image_script(image_of(service), 5),
        "release": release_script(service, render_files(service, TEMPLATES)),
        "activate": activate_script(service),
        "questions": question_script(spec, service, ca=ca, token=token),
    }


def shell(script: str, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script over standard input, as on a host."""
    return subprocess.run(["sh", *options, "-s"], input=script, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mirrors", [True, False])
@pytest.mark.parametrize("name", scripts())
def test_scripts_are_shell(name: str, mirrors: bool) -> None:
    """Every script can be read by the shell, with hostile values, with mirrors and without."""
    done = shell(scripts(mirrors=mirrors, token=f"{POISON}'$x")[name], "-n")

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("name", [name for name in scripts() if name not in {"questions", "image"}])
def test_scripts_stop_at_the_first_error(name: str) -> None:
    """A job stops at its first failing command, and at an unset variable."""
    assert scripts()[name].startswith("set -eu\n")


def decoded(script: str) -> str:
    """A script and the files in it."""
    files = [base64.b64decode(text).decode() for text in re.findall(r"^put .* (\S+)$", script, re.MULTILINE)]
    return "\n".join([script, *files])


@pytest.mark.parametrize("name", scripts())
def test_token_is_where_it_may_be(name: str) -> None:
    """The Hub's token is in the script that asks the Hub, and in no file that it writes."""
    script = scripts(token=POISON)[name]

    assert (name == "questions") == (POISON in script)
    assert script.count(POISON) == decoded(script).count(POISON)


def test_secret_of_a_pull_is_no_part_of_its_script() -> None:
    """A pull's token is beside its script, and goes to the host over standard input in a form that nobody reads."""
    work = a_pull(token=POISON)

    assert {"token": POISON} == work.secrets
    assert POISON not in work.script + start_script("weights-hermes", work)


def test_same_pull_is_the_same_job() -> None:
    """A run with another token attaches to the pull that is running."""
    assert a_pull(token="hf_a").script == a_pull(token="hf_b").script


def test_puller_is_whole() -> None:
    """Every module of the puller goes to the host, and another text into another folder."""
    folder = ROOT / "hermeion" / "puller"

    assert {path.name for path in folder.glob("*.py")} == set(puller_files())
    assert f"put {puller_folder()}/puller/__main__.py " in a_pull().script
    assert f"export PYTHONPATH={puller_folder()} " in a_pull().script


@pytest.mark.parametrize(
    ("answers", "python"),
    [
        ({}, "python3"),
        ({"os": ["ID=rocky", "VERSION_ID=9.6"], "tools": ["curl", "dnf"]}, "python3.11"),
        ({"os": ["ID=rocky", "VERSION_ID=10.1"], "tools": ["curl", "dnf"]}, "python3"),
    ],
)
def test_python_of_the_puller(answers: dict[str, Any], python: str) -> None:
    """The Hub's client wants Python 3.10: where the system's is older, a newer one beside it is taken."""
    script = tools_script(make_spec(), make_probe(**answers), ca=None, keys={})

    assert f"  {python} -m venv " in script
    assert f"{python} -c 'import sys; sys.exit(sys.version_info < (3, 10))'" in script


def test_job_hides_its_script() -> None:
    """A job's script lies in a private folder for as long as it runs, and its text is on no command line."""
    text = start_script("weights-hermes", Work(scripts(token=POISON)["questions"]))

    assert POISON not in text
    assert "umask 077" in text.splitlines()
    assert "install -d -m 0700 /run/hermeion/jobs" in text.splitlines()
    assert not any("systemd-run" in line and "base64" in line for line in text.splitlines())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("weights", "cd /"),
        ("weights", "command -v rsync >/dev/null 2>&1 || {"),
        ("image", 'echo "##total 5"'),
        ("release", "docker compose -f /opt/hermeion/hermes/releases/%s/compose.yaml config -q"),
        ("activate", "switch releases/%s"),
    ],
)  # fmt: skip
def test_lines(name: str, line: str) -> None:
    """What a script does at its heart."""
    assert line.replace("%s", a_service().release_id) in scripts()[name].splitlines()


def test_apt_looks_before_it_installs() -> None:
    """A package that no source has is named before anything is installed."""
    lines = apt_install(["a", "b"]).splitlines()

    assert lines.index("apt update") < lines.index("none=$(missing a b | tr '\\n' ' ')")
    assert "apt install -y --no-install-recommends a b" == lines[-1]


@pytest.mark.parametrize(
    ("mirrors", "ca", "paths"),
    [
        ({}, None, []),
        ({"ca": "x"}, CA, ["/etc/hermeion/ca.pem"]),
        (MIRRORS, CA, ["/etc/hermeion/ca.pem", "/etc/docker/certs.d/mirror:5000/ca.crt"]),
    ],
)
def test_ca_files(mirrors: dict[str, object], ca: str | None, paths: list[str]) -> None:
    """The site's certificates lie where everything that fetches looks for them."""
    assert paths == [file.path for file in ca_files(make_spec(hermes_mirrors=mirrors), ca)]


def local(script: str, folder: Path) -> str:
    """A script with its folders moved and without its owners."""
    for root in ("/etc/", "/opt/", "/run/hermeion", "/var/cache/"):
        script = script.replace(root, f"{folder}{root}")
    return script.replace(" root:root ", f" {folder.stat().st_uid}:{folder.stat().st_gid} ")


def tool(folder: Path, name: str, text: str = "exit 0") -> None:
    """A stand-in for a program of the host."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def write_release(folder: Path, service: Service) -> Path:
    """Run the real release script in a folder; returns the folder of the release."""
    tool(folder, "docker", f'echo "$@" >> {folder}/docker.log')
    tool(folder, "systemd-analyze", f'echo "$@" >> {folder}/systemd-analyze.log')
    script = f"PATH={folder}/bin:$PATH\n" + local(release_script(service, render_files(service, TEMPLATES)), folder)
    done = shell(script)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    return folder / "opt" / "hermeion" / service.name / "releases" / service.release_id


def test_release_is_written(tmp_path: Path) -> None:
    """The files of a release arrive byte for byte, Compose is asked about them, and nothing is switched."""
    service = a_service()
    release = write_release(tmp_path, service)

    assert {file.path: file.content for file in render_files(service, TEMPLATES)} == {
        path.name: path.read_text() for path in release.iterdir()
    }
    assert f"compose -f {release}/compose.yaml config -q\n" == (tmp_path / "docker.log").read_text()
    assert ["releases"] == [path.name for path in release.parent.parent.iterdir()]


def test_keys_are_made_once(tmp_path: Path) -> None:
    """A key is made at the first release, is private, and stays; it is long and plain."""
    keys = tmp_path / "etc" / "hermeion" / "hermes" / "api-keys"
    write_release(tmp_path, a_service())
    first = keys.read_text()
    write_release(tmp_path, a_service().model_copy(update={"port": 9000}))

    assert first == keys.read_text()
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}\n", first)
    assert "0o100600" == oct(keys.stat().st_mode)
    assert "0o40700" == oct(keys.parent.stat().st_mode)


def test_a_key_that_looks_like_an_option_is_made_anew(tmp_path: Path) -> None:
    """A key that begins with a dash never worked: vLLM takes it for an option. Any other key stays."""
    keys = tmp_path / "etc" / "hermeion" / "hermes" / "api-keys"
    write_release(tmp_path, a_service())
    keys.write_text("-abc\n")
    write_release(tmp_path, a_service())
    renewed = keys.read_text()
    keys.write_text("a-b-c\n")
    write_release(tmp_path, a_service())

    assert renewed.startswith("sk-")
    assert "a-b-c\n" == keys.read_text()


def test_foreign_files_leave_the_release(tmp_path: Path) -> None:
    """A file that is not of the release does not stay in its folder, and an edited one is restored."""
    service = a_service()
    release = write_release(tmp_path, service)
    (release / "compose.override.yaml").write_text("services: {}")
    (release / "engine.yaml").write_text("edited")
    write_release(tmp_path, service)

    assert sorted(file.path for file in render_files(service, TEMPLATES)) == sorted(p.name for p in release.iterdir())
    assert "edited" != (release / "engine.yaml").read_text()


HEALTHY = "exit 0"
DEAD = "exit 7"


def activate(folder: Path, service: Service, curl: str) -> subprocess.CompletedProcess[str]:
    """Run the real activation with stand-ins for systemd, Docker, journal and curl."""
    tool(folder, "systemctl", f'case "$1" in show) echo 1 ;; *) echo "$@" >> {folder}/systemctl.log ;; esac')
    tool(folder, "docker", "echo last line of the engine")
    tool(
        folder,
        "journalctl",
        "echo ' Container starting'; echo 'hermeion-hermes  | the engine died'; echo 'hermeion-hermes  | of this'",
    )
    tool(folder, "curl", f'echo "$@" >> {folder}/curl.log\n{curl}')
    (folder / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    (folder / "systemctl.log").write_text("")
    return shell(f"PATH={folder}/bin:$PATH\n" + local(activate_script(service), folder))


def current(folder: Path) -> str:
    """The release that is current."""
    return (folder / "opt/hermeion/hermes/current").readlink().name


def test_activation(tmp_path: Path) -> None:
    """A release is switched to, its unit installed and enabled, and the switch ends when the model has answered."""
    service = a_service()
    write_release(tmp_path, service)
    done = activate(tmp_path, service, HEALTHY)

    assert (0, "") == (done.returncode, done.stderr)
    assert service.release_id == current(tmp_path)
    assert (tmp_path / "etc/systemd/system" / service.unit).read_text() == next(
        file.content for file in render_files(service, TEMPLATES) if file.path == service.unit
    )
    assert [
        "daemon-reload",
        f"enable --quiet {service.unit}",
        f"reset-failed {service.unit}",
        f"restart {service.unit}",
    ] == (tmp_path / "systemctl.log").read_text().splitlines()
    assert "##note answers\n" == done.stdout


def test_key_is_on_no_command_line(tmp_path: Path) -> None:
    """The question to the model carries the key over standard input."""
    service = a_service()
    write_release(tmp_path, service)
    activate(tmp_path, service, HEALTHY)
    key = (tmp_path / "etc/hermeion/hermes/api-keys").read_text().strip()
    asked = (tmp_path / "curl.log").read_text()

    assert "/v1/chat/completions" in asked
    assert key not in asked


@pytest.mark.parametrize(("engine", "seconds"), [("llamacpp", "120"), ("ollama", "364")])
def test_a_model_that_loads_late_is_waited_for(engine: str, seconds: str) -> None:
    """The first question to Ollama loads the model, and may take as long as a start."""
    service = final_service({"name": "hermes", "model": "hermes-3-8b", "variant": "q8_0", "engine": engine})

    assert f"curl -fsS -m {seconds} -K -" in activate_script(service)


def test_first_release_that_dies(tmp_path: Path) -> None:
    """A first release that does not answer is stopped, and the engine's last lines are shown."""
    service = a_service()
    write_release(tmp_path, service)
    done = activate(tmp_path, service, DEAD)

    assert 1 == done.returncode
    assert [
        "##log the engine died",
        "##log of this",
        f"the engine of release {service.release_id} does not answer; its last lines:",
        "the engine died",
        "of this",
    ] == done.stdout.splitlines()[1:]
    assert f"stop {service.unit}" == (tmp_path / "systemctl.log").read_text().splitlines()[-1]


def test_an_engine_that_died_is_not_waited_for(tmp_path: Path) -> None:
    """A process that stays although its engine has died is not waited for until the time for a start is over."""
    service = a_service()
    write_release(tmp_path, service)
    tool(tmp_path, "systemctl", f'case "$1" in show) echo 0 ;; *) echo "$@" >> {tmp_path}/systemctl.log ;; esac')
    tool(tmp_path, "docker", "echo last line of the engine")
    tool(tmp_path, "journalctl", "echo 'hermeion-hermes  | ERROR EngineCore failed to start.'")
    tool(tmp_path, "curl", DEAD)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    done = shell(f"PATH={tmp_path}/bin:$PATH\n" + local(activate_script(service), tmp_path))

    assert 1 == done.returncode
    assert "ERROR EngineCore failed to start." == done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("works", "last"),
    [(True, "the previous release %s serves again"), (False, "the previous release %s does not answer either")],
)
def test_previous_release_comes_back(tmp_path: Path, works: bool, last: str) -> None:
    """When a new release does not answer, the one before it is switched back to, and the run fails."""
    old = a_service()
    new = old.model_copy(update={"port": 9000})
    for service in (old, new):
        write_release(tmp_path, service)
    activate(tmp_path, old, HEALTHY)
    old_unit = (tmp_path / "etc/systemd/system" / old.unit).read_text()
    old_works = f'case "$(readlink {tmp_path}/opt/hermeion/hermes/current)" in */{old.release_id}) exit 0 ;; esac\n'
    done = activate(tmp_path, new, (old_works if works else "") + DEAD)

    assert 1 == done.returncode
    assert last % old.release_id == done.stdout.splitlines()[-1]
    assert old.release_id == current(tmp_path)
    assert old_unit == (tmp_path / "etc/systemd/system" / old.unit).read_text()


def test_old_releases_are_pruned(tmp_path: Path) -> None:
    """What runs, what ran before it, and the newest of the others stay; older releases go."""
    releases = [a_service().model_copy(update={"port": 9000 + n}) for n in range(5)]
    for age, service in enumerate(reversed(releases)):
        write_release(tmp_path, service)
        folder = tmp_path / f"opt/hermeion/hermes/releases/{service.release_id}"
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    activate(tmp_path, releases[0], HEALTHY)  # nothing ran before it: the newest of the others stays beside it
    left = {path.name for path in (tmp_path / "opt/hermeion/hermes/releases").iterdir()}

    assert {releases[0].release_id, releases[4].release_id} == left


def natively(service: Service) -> Service:
    """The same service, run from a package."""
    package = Package(name="vllm-0.33.0", kind="venv", sha256="be" * 32, program=("bin/vllm", "serve"))
    return service.model_copy(update={"runtime": "systemd", "image": None, "package": package})


def test_another_runtime_is_stopped_by_its_own_definition(tmp_path: Path) -> None:
    """A service that leaves its container (or comes into one) is stopped before its unit file is replaced."""
    contained = a_service()
    native = natively(contained)
    for service in (contained, native):
        write_release(tmp_path, service)
    activate(tmp_path, contained, HEALTHY)
    activate(tmp_path, native, HEALTHY)

    assert f"stop {contained.unit}" == (tmp_path / "systemctl.log").read_text().splitlines()[0]


def test_what_no_release_needs_is_pruned(tmp_path: Path) -> None:
    """Engines of no release go; one that a kept release runs from stays."""
    contained = a_service()
    native = natively(contained)
    kept = tmp_path / "opt/hermeion/engines" / str(native.package and native.package.identity)
    gone = tmp_path / "opt/hermeion/engines/vllm-0.1-00000000000f"
    for folder in (kept, gone):
        folder.mkdir(parents=True)
    for service in (contained, native):
        write_release(tmp_path, service)
    activate(tmp_path, contained, HEALTHY)
    activate(tmp_path, native, HEALTHY)

    assert (True, False) == (kept.exists(), gone.exists())


@pytest.mark.parametrize("plan", [final_plan(), final_plan(hermes_mirrors={"registry": "mirror:5000"})])
def test_image_comes_by_digest(plan: object) -> None:
    """The image is pulled by digest, never by tag."""
    service = plan.services[0]  # type: ignore[attr-defined]
    script = image_script(image_of(service), 1)

    assert f"fromImage={image_of(service).name}&tag={image_of(service).digest}" in script
    assert image_of(service).tag not in script


def test_files_keep_their_modes() -> None:
    """A mode is rendered as chmod reads it."""
    (line,) = [
        line for line in write_files([HostFile(path="/a", content="x", mode="0640")]).splitlines() if "put /a" in line
    ]

    assert f"put /a 0640 root:root {base64.b64encode(b'x').decode()}" == line
