"""``hermeion eject``: what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from hermeion import cli
from hermeion.eject import KEY, KEYS_FILE, ejected_files
from hermeion.engines import ENGINES
from hermeion.errors import PlacementError, RenderError
from hermeion.saved_hosts import dump_host
from tests.unit.builders import TEMPLATES, make_probe
from tests.unit.render_cases import CASES, COMPOSE, NATIVE, rendered, service_of

SERVICE = service_of("one-4090")
AGAIN = "It is asked with a connection to the host: run without --from, and after the driver is there."


def ejected(case: str) -> dict[str, str]:
    """Content by path."""
    return {file.path: file.content for file in ejected_files(service_of(case), TEMPLATES)}


@pytest.mark.parametrize("case", COMPOSE)
def test_files_of_a_container(case: str) -> None:
    """A Compose file, what its container reads, and a page; nothing that only our units read."""
    kind = ENGINES[service_of(case).engine].KEYS
    own = {"list": "engine.yaml", "first": "engine.yaml", "file": KEYS_FILE, "none": "prepare.sh"}[kind]

    assert sorted({"README.md", "compose.yaml", own}) == sorted(ejected(case))


@pytest.mark.parametrize("case", NATIVE)
def test_files_of_a_native_service(case: str) -> None:
    """The unit and its script as they would run, a placeholder for the keys, and the requirements."""
    service, files = service_of(case), ejected(case)
    release = rendered(service)
    keys = {KEYS_FILE} if ENGINES[service.engine].KEYS != "none" else set()
    lock = {"requirements.txt"} if ENGINES[service.engine].NATIVE == "venv" else set()

    assert {*(release.keys() - {"plan.json"}), "README.md"} | keys | lock == files.keys()
    assert {path: files[path] for path in release.keys() & files.keys()} == {
        path: text for path, text in release.items() if path in files
    }


@pytest.mark.parametrize("case", CASES)
def test_one_placeholder_for_the_keys(case: str) -> None:
    """A key's place is taken once, where the page says, and by nothing else."""
    files = ejected(case)
    places = {path for path, text in files.items() if KEY in text and path != "README.md"}
    kind = ENGINES[service_of(case).engine].KEYS
    expected = set() if kind == "none" else {KEYS_FILE if kind == "file" or case in NATIVE else "engine.yaml"}

    assert expected == places
    assert all(f's/{KEY}/$key/" {place}' in files["README.md"] for place in places)


@pytest.mark.parametrize("case", ["one-4090", "sglang-compose"])
def test_configuration_with_a_placeholder(case: str) -> None:
    """The engine's configuration is that of the release, with the placeholder where the host would put the keys."""
    key: object = [KEY] if service_of(case).engine == "vllm" else KEY
    released = yaml.safe_load(rendered(service_of(case))["engine.yaml"])

    assert {**released, "api-key": key} == yaml.safe_load(ejected(case)["engine.yaml"])


@pytest.mark.parametrize("case", COMPOSE)
def test_compose_file_stands_alone(case: str) -> None:
    """What would run is what runs; but from files beside it, with a volume, and not as Hermeion's."""
    released = yaml.safe_load(rendered(service_of(case))["compose.yaml"])["services"]["engine"]
    text = yaml.safe_load(ejected(case)["compose.yaml"])
    engine = text["services"]["engine"]
    changed = {"volumes", "container_name", "pull_policy", "labels", "depends_on"}
    sources = [mount["source"] for mount in engine["volumes"]]

    assert {k: v for k, v in released.items() if k not in changed} == {
        k: v for k, v in engine.items() if k not in changed
    }
    assert [] == [key for key in ("container_name", "pull_policy", "labels") if key in engine]
    assert [mount["target"] for mount in released["volumes"]] == [mount["target"] for mount in engine["volumes"]]
    assert ("/srv/models/hub" if case != "mirror-own-model" else "/mnt/big.disk/models/hub", "cache") == (
        sources[0],
        sources[-1],
    )
    assert [] == [source for source in sources[1:-1] if not source.startswith("./") or source[2:] not in ejected(case)]
    assert {"cache": {}} == text["volumes"]


def test_volume_is_the_engines() -> None:
    """A container of root's gives the new volume to the engine's user, with that one capability; root needs none."""
    text = yaml.safe_load(ejected("one-4090")["compose.yaml"])
    cache = text["services"]["cache"]

    assert (["chown", "2000:0", "/var/cache/engine"], ["ALL"], ["CHOWN"]) == (
        cache["entrypoint"],
        cache["cap_drop"],
        cache["cap_add"],
    )
    assert {"cache": {"condition": "service_completed_successfully"}} == text["services"]["engine"]["depends_on"]
    assert ["engine"] == list(yaml.safe_load(ejected("sglang-compose")["compose.yaml"])["services"])


def test_what_prepares_runs_in_a_container() -> None:
    """Ollama's folder is laid out before it starts, with the paths that a container sees."""
    files = ejected("ollama-compose")
    services = yaml.safe_load(files["compose.yaml"])["services"]

    assert "cache=/var/cache/engine " in files["prepare.sh"]
    assert "/var/cache/hermeion" not in files["prepare.sh"]
    assert ["sh", "/run/prepare.sh"] == services["prepare"]["entrypoint"]
    assert {"prepare": {"condition": "service_completed_successfully"}} == services["engine"]["depends_on"]


@pytest.mark.parametrize("case", CASES)
def test_commands_of_the_page(case: str, tmp_path: Path) -> None:
    """A shell can read every command of the page, and nothing of a template is left in it."""
    page = ejected(case)["README.md"]
    script = "\n".join(line[4:] for line in page.splitlines() if line.startswith("    "))
    (tmp_path / "page.sh").write_text(script)
    done = subprocess.run(["sh", "-n", tmp_path / "page.sh"], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert "None" not in page
    assert "{{" not in page


@pytest.mark.parametrize("case", ["one-4090", "llamacpp-compose", "vllm-native"])
def test_key_of_the_page(case: str, tmp_path: Path) -> None:
    """The page's two commands put a new key in the placeholder's place."""
    files = ejected(case)
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    commands = [line[4:] for line in files["README.md"].splitlines() if line.startswith(("    key=", "    sed "))]
    script = "\n".join([*commands, 'echo "$key"'])
    key = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    holders = [path for path in files if path != "README.md" and key in (tmp_path / path).read_text()]

    assert 2 == len(commands)
    assert "sk-" == key[:3] and len(key) > 40
    assert ["engine.yaml" if case == "one-4090" else KEYS_FILE] == holders


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"revision": None}, "the commit of its weights"),
        ({"image": SERVICE.image.model_copy(update={"digest": None})}, "the digest of its image"),  # type: ignore[union-attr]
        ({"files": ("a-*-of-00002.gguf",), "revision": None}, "the commit of its weights, the names of its files"),
        ({"gpus": (SERVICE.gpus[0].model_copy(update={"uuid": None}),)}, "the UUIDs of its GPUs"),
    ],
)
def test_what_is_not_known_yet(change: dict[str, Any], what: str) -> None:
    """A service of which something is to be asked from its host is refused, with what that is."""
    with pytest.raises(PlacementError) as caught:
        ejected_files(SERVICE.model_copy(update=change), TEMPLATES)

    assert f"gpu-1: hermes: not known yet: {what}. {AGAIN}" == str(caught.value)


def test_other_requirements() -> None:
    """Requirements that are not those of the plan are refused; those that the inventory names are written."""
    service = service_of("vllm-native")
    with pytest.raises(RenderError) as caught:
        ejected_files(service, TEMPLATES, "vllm==0.1\n")

    assert (
        "gpu-1: hermes: the locked requirements of vllm-0.33.0 are not here as they were planned. Name their file in "
        "requirements, as it was when the service was planned." == str(caught.value)
    )
    assert service.package
    own = sha256(b"vllm==0.1\n").hexdigest()
    planned = service.model_copy(update={"package": service.package.model_copy(update={"sha256": own})})
    assert "vllm==0.1\n" in [file.content for file in ejected_files(planned, TEMPLATES, "vllm==0.1\n")]


HERMES = {"name": "hermes", "model": "hermes-3-8b"}
"""The wish behind :data:`SERVICE`."""


def host(name: str, *services: dict[str, Any]) -> dict[str, Any]:
    """A host as an inventory has it."""
    return {"name": name, "groups": ["all"], "data": {"hermes_services": list(services) or [HERMES]}}


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved host on which the service runs, and its inventory; nobody is connected to."""
    release = f"hermes releases/{SERVICE.release_id} {json.dumps(SERVICE.to_json())}"
    path = tmp_path / "gpu-1.json"
    path.write_text(dump_host("gpu-1", make_probe(releases=[release])))
    monkeypatch.setattr("hermeion.cli.inventories.load_inventory", lambda _: [host("gpu-1")])
    monkeypatch.chdir(tmp_path)
    return path


def call(*arguments: str) -> Result:
    """Call the command line in this process."""
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(cli.app, ["eject", *arguments])


def test_command_writes(saved: Path) -> None:
    """The files are written into a folder named after the service, readable by everybody, and listed."""
    result = call("hermes", "i.py", "--from", str(saved))
    folder = saved.parent / "hermes"

    assert (
        "hermes/README.md\nhermes/compose.yaml\nhermes/engine.yaml\n"
        f"hermes as on gpu-1, release {SERVICE.release_id}; hermes/README.md says how to run it.\n" == result.stdout
    )
    assert 0 == result.exit_code
    assert ejected("one-4090") == {path.name: path.read_text() for path in folder.iterdir()}
    assert {"0o100644"} == {oct(path.stat().st_mode) for path in folder.iterdir()}


def test_command_for_programs(saved: Path) -> None:
    """JSON names service, host, release, folder, and every file with its hash."""
    result = call("hermes", "i.py", "--from", str(saved), "--output", "there", "--json")
    files = {file.path: file.sha256 for file in ejected_files(SERVICE, TEMPLATES)}

    assert {
        "service": "hermes",
        "host": "gpu-1",
        "release": SERVICE.release_id,
        "folder": "there",
        "files": files,
    } == json.loads(result.stdout)


def refused(*arguments: str) -> tuple[int, str]:
    """Exit code and message of a call that is refused."""
    result = call(*arguments)
    error = result.exception
    assert error is not None
    return int(getattr(error, "exit_code", -1)), str(error)


def test_folder_that_is_not_empty(saved: Path) -> None:
    """A folder that holds something is left alone, unless it is told otherwise; what has another name stays then."""
    folder = saved.parent / "hermes"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")

    assert (
        1,
        "hermes is not empty. Name another folder (--output DIR), or write over what has the same names (--force).",
    ) == refused("hermes", "i.py", "--from", str(saved))
    assert ["notes.txt"] == [path.name for path in folder.iterdir()]
    assert 0 == call("hermes", "i.py", "--from", str(saved), "--force").exit_code
    assert {*ejected("one-4090"), "notes.txt"} == {path.name for path in folder.iterdir()}


def test_file_in_place_of_a_folder(saved: Path) -> None:
    """A file is no folder."""
    assert (1, "gpu-1.json is a file. Name a folder: --output DIR.") == refused(
        "hermes", "i.py", "--from", str(saved), "-o", "gpu-1.json"
    )


def test_service_that_is_not_planned(saved: Path) -> None:
    """A service that no plan has is refused with those that are planned, and no folder is made."""
    assert (1, "no plan has a service other; there are hermes") == refused("other", "i.py", "--from", str(saved))
    assert not (saved.parent / "other").exists()


def test_service_of_several_hosts(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several hosts have the service, one is to be chosen."""
    monkeypatch.setattr("hermeion.cli.inventories.load_inventory", lambda _: [host("gpu-1"), host("gpu-2")])
    other = saved.parent / "gpu-2.json"
    other.write_text(dump_host("gpu-2", make_probe()))
    arguments = ("hermes", "i.py", "--from", str(saved), str(other))

    assert (
        1,
        "hermes is planned on gpu-1, gpu-2, each with GPUs of its own. Choose: --host NAME.",
    ) == refused(*arguments)
    assert 0 == call(*arguments, "--host", "gpu-1").exit_code


def test_nothing_asked_from_the_host(saved: Path) -> None:
    """From a saved host on which it does not run, commit and digest are not known."""
    saved.write_text(dump_host("gpu-1", make_probe()))

    assert (
        3,
        f"gpu-1: hermes: not known yet: the commit of its weights, the digest of its image. {AGAIN}",
    ) == refused("hermes", "i.py", "--from", str(saved))


def test_connected(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a connection the plan is that of ``hermeion plan``, for that host alone, and nothing is changed."""
    asked: list[tuple[str, ...]] = []

    def deploy(*arguments: str, **_: object) -> tuple[int, dict[str, Any]]:
        asked.append(arguments)
        plan = {"plan": CASES["one-4090"].to_json(), "wanted": {"hermes_services": [HERMES]}}
        return 0, {"hosts": {"gpu-1": plan}, "failed": {}}

    monkeypatch.setattr("hermeion.cli.faces.deploy", deploy)

    assert 0 == call("hermes", "i.py", "--host", "gpu-1").exit_code
    assert [("i.py", "--dry", "-y", "--limit", "gpu-1")] == asked


def test_page_of_weights_in_a_folder() -> None:
    """Weights that lie in a folder of the host's own are named by it, and not to be downloaded."""
    service = SERVICE.model_copy(update={"path": "/mnt/weights/mine"})
    page = {file.path: file.content for file in ejected_files(service, TEMPLATES)}["README.md"]

    assert "- The weights in `/mnt/weights/mine`, readable by everybody.\n" in page
    assert "hf download" not in page
