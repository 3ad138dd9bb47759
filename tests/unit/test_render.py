"""The files of a release."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermeion.errors import RenderError
from hermeion.plans import Plan, Service
from hermeion.presentation import plan_text
from hermeion.render import plan_json, quote_compose, quote_unit, render_files
from hermeion.stages import Stages
from tests.unit.builders import H100, OWN, RTX_4090, TEMPLATES, final_plan, final_service
from tests.unit.conftest import Compare

HOSTILE = "$HOME ${x} `id` \"double\" 'single' %n {{ x }} {% y %} # : - \\ é ×"


def old_docker() -> Plan:
    """Two GPUs on a host whose Docker is older than 25: NVIDIA's runtime hands them out."""
    plan = final_plan({"name": "hermes", "model": "hermes-4-14b", "gpus": 2}, gpus=(RTX_4090, RTX_4090))
    services = tuple(service.model_copy(update={"gpu_access": "runtime"}) for service in plan.services)
    return plan.model_copy(update={"services": services})


CASES: dict[str, Plan] = {
    "one-4090": final_plan(),
    "eight-h100": final_plan(
        {"name": "big", "model": "hermes-4-405b", "port": 9000, "thinking": True}, gpus=(H100,) * 8
    ),
    "mirror-own-model": final_plan(
        {
            "name": "mine",
            "model": "my-llama",
            "image": "team/engine:1.0",
            "context": 4096,
            "sequences": 8,
            "kv_precision": "fp8",
            "extra_args": {"seed": 1, "enforce-eager": True},
        },
        hermes_catalog=[OWN],
        hermes_mirrors={"registry": "mirror.example:5000", "hub": "https://hub.example"},
        hermes_cache="/mnt/big.disk/models",
    ),
    "hostile-options": final_plan(
        {
            "name": "hermes",
            "model": "hermes-4-14b",
            "extra_args": {"served": HOSTILE, "$key: %n": "yes", "null": "null"},
        },
        gpus=(RTX_4090, RTX_4090),
    ),
    "old-docker": old_docker(),
}


def rendered(service: Service) -> dict[str, str]:
    """Content by path."""
    return {file.path: file.content for file in render_files(service, TEMPLATES)}


@pytest.mark.parametrize("case", CASES)
def test_golden_files(case: str, golden: Compare) -> None:
    """Every file of a release is, as a whole, the one that was looked at (``--update-golden`` writes them anew)."""
    for path, content in rendered(CASES[case].services[0]).items():
        golden(f"{case}/{path}", content)


@pytest.mark.parametrize("case", CASES)
def test_golden_plan(case: str, golden: Compare) -> None:
    """What a person sees of a plan is the text that was looked at."""
    stages = Stages(service=("hermes: not deployed yet",))

    golden(f"{case}/plan.txt", plan_text(CASES[case], stages) + "\n")


@pytest.mark.parametrize("case", CASES)
def test_files_of_a_release(case: str) -> None:
    """A release has these files, all readable, sorted."""
    service = CASES[case].services[0]

    assert [
        ("assemble-config.sh", "644"),
        ("compose.yaml", "644"),
        ("engine.yaml", "644"),
        (f"hermeion-{service.name}.service", "644"),
        ("plan.json", "644"),
    ] == [(file.path, file.mode) for file in render_files(service, TEMPLATES)]


@pytest.mark.parametrize("case", CASES)
def test_engine_configuration_round_trip(case: str) -> None:
    """A YAML reader finds in engine.yaml what the plan says, hostile values included."""
    service = CASES[case].services[0]

    assert service.config == yaml.safe_load(rendered(service)["engine.yaml"])


@pytest.mark.parametrize("case", CASES)
def test_plan_round_trip(case: str) -> None:
    """The plan on the host is the plan."""
    service = CASES[case].services[0]

    assert service == Service.model_validate(json.loads(plan_json(service)))


def compose_of(service: Service) -> dict[str, Any]:
    """What Compose reads as the engine's service, before it replaces variables."""
    text = yaml.safe_load(rendered(service)["compose.yaml"])
    engine: dict[str, Any] = text["services"]["engine"]
    return engine


@pytest.mark.parametrize("case", CASES)
def test_compose_file(case: str) -> None:
    """Image by digest, GPUs by UUID, port on loopback, weights read-only, release as a label."""
    service = CASES[case].services[0]
    engine = compose_of(service)

    assert service.image.reference == engine["image"]
    assert [f"127.0.0.1:{service.port}:8000"] == engine["ports"]
    assert {
        "org.hermeion.service": service.name,
        "org.hermeion.release": service.release_id,
    } == engine["labels"]
    assert (f"{service.cache}/hub", True) == (engine["volumes"][0]["source"], engine["volumes"][0]["read_only"])
    assert service.environment.items() <= engine["environment"].items()


@pytest.mark.parametrize("case", [case for case in CASES if case != "old-docker"])
def test_gpus_by_cdi(case: str) -> None:
    """GPUs are asked for by CDI, with their UUIDs, and in no other way."""
    service = CASES[case].services[0]
    engine = compose_of(service)
    (devices,) = engine["deploy"]["resources"]["reservations"]["devices"]

    assert "cdi" == devices["driver"]
    assert [f"nvidia.com/gpu={gpu.uuid}" for gpu in service.gpus] == devices["device_ids"]
    assert "runtime" not in engine
    assert service.environment == engine["environment"]


def test_gpus_by_runtime() -> None:
    """Where Docker knows no CDI, NVIDIA's runtime gets the UUIDs, and no device is asked for."""
    service = CASES["old-docker"].services[0]
    engine = compose_of(service)

    assert ("nvidia", ",".join(str(gpu.uuid) for gpu in service.gpus)) == (
        engine["runtime"],
        engine["environment"]["NVIDIA_VISIBLE_DEVICES"],
    )
    assert 2 == len(service.gpus)
    assert "deploy" not in engine


def test_hostile_environment() -> None:
    """A value with every special character comes back from Compose's file, its dollars doubled."""
    service = final_service().model_copy(update={"environment": {"X": HOSTILE}})

    assert HOSTILE.replace("$", "$$") == compose_of(service)["environment"]["X"]


@pytest.mark.parametrize("case", CASES)
def test_unit_file(case: str) -> None:
    """systemd finds the folder of the current release, and restarts the engine whatever its exit code."""
    service = CASES[case].services[0]
    unit = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(rendered(service)[service.unit])

    assert (f"/opt/hermeion/{service.name}/current", "always") == (
        unit["Service"]["WorkingDirectory"],
        unit["Service"]["Restart"],
    )
    assert f"{service.cache} /opt/hermeion/{service.name}" == unit["Unit"]["RequiresMountsFor"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", '"plain"'),
        ("$x", '"$$x"'),
        ('a"b\\c\n', '"a\\"b\\\\c\\n"'),
        (True, "true"),
        (8, "8"),
        ("{{ x }}", '"{{ x }}"'),
        ("é", '"é"'),
    ],
)
def test_quote_compose(value: object, text: str) -> None:
    """A value is a YAML scalar, and Compose's variables are quoted."""
    assert text == quote_compose(value)


@pytest.mark.parametrize(("value", "text"), [("100 %", "100 %%"), ("%n%i", "%%n%%i"), ("plain", "plain")])
def test_quote_unit(value: str, text: str) -> None:
    """systemd's specifiers are quoted."""
    assert text == quote_unit(value)


def test_unknown_name_in_template(tmp_path: Path) -> None:
    """A template that names something the plan does not have is an error with both names."""
    for template in TEMPLATES.iterdir():
        shutil.copy(template, tmp_path)
    (tmp_path / "compose-vllm.yaml.j2").write_text("{{ service.colour }}")
    with pytest.raises(RenderError) as caught:
        render_files(final_service(), tmp_path)

    assert "templates/compose-vllm.yaml.j2: 'hermeion.plans.Service object' has no attribute 'colour'" == str(
        caught.value
    )


def test_same_plan_same_bytes() -> None:
    """The same plan gives the same files and the same release."""
    one, two = final_service(), final_service()

    assert rendered(one) == rendered(two)
    assert one.release_id == two.release_id


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "f" * 40},
        {"context": 4096},
        {"thinking": True},
        {"port": 8001},
        {"environment": {}},
        {"config": {}},
    ],
)
def test_release_follows_the_plan(change: dict[str, Any]) -> None:
    """Another plan is another release."""
    service = final_service()

    assert service.release_id != service.model_copy(update=change).release_id


def run_assemble(service: Service, keys: str, folder: Path) -> str:
    """Run the real script in a folder in place of the host's root; returns the configuration that the engine reads."""
    script = rendered(service)["assemble-config.sh"].replace("-o 2000 ", "").replace('chown 2000 "$config"', "true")
    for root in ("/run/", "/var/", "/opt/", "/etc/"):
        script = script.replace(root, f"{folder}{root}")
    for path, text in (
        (f"opt/hermeion/{service.name}/current/engine.yaml", rendered(service)["engine.yaml"]),
        (f"etc/hermeion/{service.name}/api-keys", keys),
    ):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)
    (folder / "run").mkdir()
    (folder / "var" / "cache" / "hermeion").mkdir(parents=True)
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    result = folder / "run" / "hermeion" / service.name / "engine.yaml"
    assert "0o100400" == oct(result.stat().st_mode)
    assert ["engine.yaml"] == [path.name for path in result.parent.iterdir()]
    return result.read_text()


def test_keys_join_the_configuration(tmp_path: Path) -> None:
    """What the engine reads is the configuration and every key, in a private file, and nothing is printed."""
    service = CASES["hostile-options"].services[0]
    text = run_assemble(service, "first-key_1\nsecond-key-2\n", tmp_path)

    assert {**service.config, "api-key": ["first-key_1", "second-key-2"]} == yaml.safe_load(text)


def test_no_key_is_rendered() -> None:
    """No file of a release holds a key: they are joined on the host."""
    for plan in CASES.values():
        assert "api-key" not in yaml.safe_load(rendered(plan.services[0])["engine.yaml"])
        assert "api-key" not in plan.services[0].config


def compose_program() -> list[str] | None:
    """Docker Compose of this machine, if it is here."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker"):
        probe = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        return ["docker", "compose"] if probe.returncode == 0 else None
    return None


@pytest.mark.skipif(
    compose_program() is None,
    reason="Docker Compose is not on this machine; the release script asks it on every host (`config -q`)",
)
@pytest.mark.parametrize("case", CASES)
def test_compose_reads_the_file(case: str, tmp_path: Path) -> None:
    """Compose itself finds nothing wrong with the file."""
    file = tmp_path / "compose.yaml"
    file.write_text(rendered(CASES[case].services[0])["compose.yaml"])
    command = [*(compose_program() or []), "-f", str(file), "config", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd is not on this machine; the lab's hosts start the unit itself",
)
@pytest.mark.parametrize("case", CASES)
def test_systemd_reads_the_unit(case: str, tmp_path: Path) -> None:
    """systemd itself knows every line of the unit."""
    service = CASES[case].services[0]
    file = tmp_path / service.unit
    file.write_text(rendered(service)[service.unit])
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)

    assert "Unknown" not in done.stderr
