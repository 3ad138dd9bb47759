"""The scripts of a release, run: assemble.sh as root would, launch.sh with a stand-in for the engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermeion.engines import ENGINES
from hermeion.engines.places import places_of
from hermeion.plans import Service
from hermeion.render import environment_of
from tests.unit.laid_weights import lay, record
from tests.unit.render_cases import CASES, COMPOSE, HOSTILE, HOSTILE_ENVIRONMENT, NATIVE, rendered, service_of

KEYS = "# of Ada\nfirst-key_1\n\n+second/key~2=\n# of Bob\n.third.\n"
FOUND = ["first-key_1", "+second/key~2=", ".third."]

WRONG = [
    ("-begins-with-a-dash\n", "line 1 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ("good\n=bad\n", "line 2 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ('two words\ngood\nquote"d\n', "line 1 3 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ("windows\r\n", "line 1 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ("caf\u00e9\n", "line 1 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ("a\\nb\n\\c\n", "line 1 2 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ("nul\0l\n", "line 1 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ("$(id)\n", "line 1 is no key: letters, digits and ._~+/=- only, no dash in front"),
    ("# nothing\n\n", "holds no key"),
    ("", "holds no key"),
]
"""Files that stop a start, each with what is said of it."""

PREPARE = "echo prepared >&2"
"""Stands for the engine's own program that lays out its folder."""

KEYED = [case for case in CASES if ENGINES[service_of(case).engine].KEYS != "none"]


class Ran(NamedTuple):
    """How a script ended, and the folder in which it believed to be on a host."""

    code: int
    stdout: str
    stderr: str
    root: Path


def lay_weights(service: Service, root: Path) -> Path:
    """The service's weights as a finished pull leaves them, below the folder; their snapshot."""
    cache, repo = Path(f"{root}{service.cache}"), f"models--{service.repo.replace('/', '--')}"
    names = service.files or ("config.json", "model 1 [of 1].safetensors")
    snapshot = lay(cache, repo, dict.fromkeys(names, "weights"), str(service.revision))
    record(cache, snapshot, service.snapshot.partition(str(service.revision))[2])
    lay(cache, repo, {"another pull's": "weights"}, str(service.revision))
    return snapshot


def inside(text: str, root: Path) -> str:
    """The text with the host's folders moved below another one."""
    for folder in ("/run/", "/var/", "/opt/", "/etc/", "/srv/", "/mnt/"):
        text = text.replace(f" {folder}", f" {root}{folder}").replace(f"={folder}", f"={root}{folder}")
        text = text.replace(f'"{folder}', f'"{root}{folder}')
    return text


def assemble(service: Service, keys: str, root: Path) -> Ran:
    """Run the real script in a folder in place of the host's root; its files stay those of whoever runs the test."""
    files = rendered(service)
    script = files["assemble.sh"].replace('-o "$owner" ', "").replace('chown "$owner"', "test -f")
    for path, text in {
        **{f"opt/hermeion/{service.name}/current/{name}": text for name, text in files.items()},
        f"etc/hermeion/{service.name}/api-keys": keys,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    if "prepare.sh" in files:
        (root / f"opt/hermeion/{service.name}/current/prepare.sh").write_text(PREPARE)
    if not Path(f"{root}{service.cache}").exists():
        lay_weights(service, root)
    for folder in ("run", "var/cache/hermeion", f"opt/hermeion/{service.name}/releases/running"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["sh", "-s"], input=inside(script, root), capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr, root)


def launch(service: Service, keys: str, root: Path) -> Ran:
    """Run the real script; what it starts writes its arguments and environment to ``argv`` and ``environ``."""
    assert service.package
    files = rendered(service)
    program = root / f"opt/hermeion/engines/{service.package.identity}" / service.package.program[0]
    current = root / f"opt/hermeion/{service.name}/current"
    credentials, run = root / "credentials", root / "run"
    for folder in (program.parent, current, credentials, run):
        folder.mkdir(parents=True, exist_ok=True)
    copies = (f"/bin/cat /proc/$$/cmdline > {root}/argv", f"/bin/cat /proc/$$/environ > {root}/environ")
    program.write_text("#!/bin/sh\n" + "\n".join(copies) + "\n")
    program.chmod(0o755)
    (current / "engine.yaml").write_text(files.get("engine.yaml", ""))
    (credentials / "api-keys").write_text(keys)
    if "prepare.sh" in files:
        (current / "prepare.sh").write_text(PREPARE)
    script = files["launch.sh"].replace(" /opt/hermeion/", f" {root}/opt/hermeion/")
    done = subprocess.run(
        ["sh", "-s"],
        input=script.encode(),
        env={"PATH": os.environ["PATH"], "CREDENTIALS_DIRECTORY": str(credentials), "RUNTIME_DIRECTORY": str(run)},
        capture_output=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode(), root)


def start(case: str, keys: str, root: Path) -> Ran:
    """What either runtime runs before the engine."""
    return (assemble if case in COMPOSE else launch)(service_of(case), keys, root)


def words_of(path: Path) -> list[str]:
    """Words that end with a NUL each."""
    return path.read_bytes().decode().split("\0")[:-1]


def configuration(case: str, root: Path) -> Path:
    """What the engine reads."""
    name = service_of(case).name
    return root / (f"run/hermeion/{name}/engine.yaml" if case in COMPOSE else "run/engine.yaml")


@pytest.mark.parametrize("case", [case for case in KEYED if ENGINES[service_of(case).engine].KEYS in {"list", "first"}])
def test_keys_join_the_configuration(case: str, tmp_path: Path) -> None:
    """What the engine reads is its configuration and every key that it takes, in a private file; nothing is printed."""
    ran = start(case, KEYS, tmp_path)
    service = service_of(case)
    keys: object = FOUND if ENGINES[service.engine].KEYS == "list" else FOUND[0]
    file = configuration(case, tmp_path)

    without = yaml.safe_load(rendered(service)["engine.yaml"])

    assert (0, "", "") == ran[:3]
    assert {**without, "api-key": keys} == yaml.safe_load(file.read_text())
    assert ("0o100400" if case in COMPOSE else "0o100600") == oct(file.stat().st_mode)
    assert ["engine.yaml"] == [path.name for path in file.parent.iterdir()]


def test_keys_in_a_file_of_their_own(tmp_path: Path) -> None:
    """An engine that reads keys from a file gets them all, without comments, in a private file."""
    ran = start("llamacpp-compose", KEYS, tmp_path)
    file = tmp_path / "run/hermeion/hermes/api-keys"

    assert (0, "", "") == ran[:3]
    assert FOUND == file.read_text().splitlines()
    assert "0o100400" == oct(file.stat().st_mode)


@pytest.mark.parametrize("case", ["one-4090", "sglang-compose", "llamacpp-compose", *KEYED[-3:]])
@pytest.mark.parametrize(("keys", "said"), WRONG)
def test_no_start_without_good_keys(case: str, keys: str, said: str, tmp_path: Path) -> None:
    """What is no key stops the start, named by its line and not shown; nothing is left for the engine to read."""
    ran = start(case, keys, tmp_path)
    colon = "" if said.startswith("holds") else ":"
    root = tmp_path if case in COMPOSE else ""

    assert (1, "", f"{root}/etc/hermeion/{service_of(case).name}/api-keys{colon} {said}\n") == ran[:3]
    assert not configuration(case, tmp_path).exists() or case in NATIVE
    assert not (tmp_path / f"run/hermeion/{service_of(case).name}/api-keys").exists()
    assert not (tmp_path / "argv").exists()


@pytest.mark.parametrize("case", NATIVE)
def test_launch(case: str, tmp_path: Path) -> None:
    """The engine gets its command line and its environment byte for byte, and its keys through neither."""
    ran = launch(service_of(case), KEYS, tmp_path)
    check_process(service_of(case), ran)


def check_process(service: Service, ran: Ran) -> None:
    """The stand-in saw what the plan says."""
    assert service.package
    engine = ENGINES[service.engine]
    argv, environ = words_of(ran.root / "argv"), words_of(ran.root / "environ")
    found = dict(word.split("=", 1) for word in environ)
    wanted = environment_of(service)
    program = f"{ran.root}{service.package.folder}/{service.package.program[0]}"

    assert (0, "", "prepared\n" if "prepare.sh" in engine.files(service) else "") == ran[:3]
    # The kernel names the interpreter of a script first.
    assert ["/bin/sh", program, *service.package.program[1:], *engine.arguments(service)] == argv
    assert wanted == {name: found[name] for name in wanted}
    assert {*wanted, "PATH", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY"} == found.keys() - {"PWD", "OLDPWD", "_"}
    assert [] == [word for word in (*argv, *environ) if any(key in word for key in FOUND)]


NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,20}\Z").filter(lambda name: name not in {"_", "PWD", "OLDPWD"})
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60) | st.sampled_from(
    [HOSTILE, "'", "\\", "$(exit 3)", "\x81\x82", "-n", "a\\\nb"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(environment=st.dictionaries(NAMES, VALUES, max_size=5), options=st.lists(VALUES, max_size=4))
def test_launch_of_anything(environment: dict[str, str], options: list[str], tmp_path: Path) -> None:
    """Whatever the environment and the options hold, the process gets it byte for byte."""
    service = service_of("llamacpp-native")
    config = {**service.config, **{f"x-option-{number}": value for number, value in enumerate(options)}}
    changed = service.model_copy(update={"environment": environment, "config": config})
    check_process(changed, launch(changed, KEYS, tmp_path))


def test_no_start_unprepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lays out an engine's folder runs before it, in both runtimes, and if it fails the engine does not start."""
    monkeypatch.setattr("tests.unit.test_render_scripts.PREPARE", "exit 7")
    compose = assemble(service_of("ollama-compose"), "", tmp_path / "compose")
    native = launch(service_of("ollama-native"), "", tmp_path / "native")

    assert (7, 7) == (compose.code, native.code)
    assert not (tmp_path / "native" / "argv").exists()


def test_path_of_a_virtual_environment(tmp_path: Path) -> None:
    """What is installed beside Python is found first, unless the inventory says another PATH."""
    service = service_of("vllm-native")
    assert service.package
    launch(service, KEYS, tmp_path)
    given_path = dict(word.split("=", 1) for word in words_of(tmp_path / "environ"))["PATH"]
    launch(service.model_copy(update={"environment": {}}), KEYS, tmp_path)
    own_path = dict(word.split("=", 1) for word in words_of(tmp_path / "environ"))["PATH"]

    assert HOSTILE_ENVIRONMENT["PATH"] == given_path
    assert f"{service.package.folder}/bin:{os.environ['PATH']}" == own_path


def test_caches_of_images_that_are_gone(tmp_path: Path) -> None:
    """The folder of an image that no release has any more is taken away; that of one that can come back stays."""
    service = service_of("one-4090")
    cache = tmp_path / "var/cache/hermeion/hermes"
    release = tmp_path / "opt/hermeion/hermes/releases/previous"
    for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", service.build):
        (cache / name).mkdir(parents=True)
    release.mkdir(parents=True)
    (release / "compose.yaml").write_text(f"source: {cache}/bbbbbbbbbbbb\n")
    assemble(service, KEYS, tmp_path)

    assert sorted([service.build, "bbbbbbbbbbbb"]) == sorted(path.name for path in cache.iterdir())


@pytest.mark.parametrize("case", CASES)
def test_no_key_is_rendered(case: str) -> None:
    """No file of a release holds a key: they are joined on the host, from a file of the host's own."""
    service = service_of(case)
    places = places_of(service, ENGINES[service.engine].PORT)

    assert "api-key" not in service.config
    assert "api-key" not in yaml.safe_load(rendered(service).get("engine.yaml", "{}"))
    if "api-key-file" in service.config:
        assert places.keys == service.config["api-key-file"]
