"""The files of a release: what is in them, whatever they look like."""

from __future__ import annotations

import configparser
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermeion.engines import ENGINES
from hermeion.errors import RenderError
from hermeion.plans import Service
from hermeion.render import plan_json, render_files
from tests.unit.builders import TEMPLATES, final_service, image_of
from tests.unit.render_cases import CASES, COMPOSE, NATIVE, rendered, service_of

WITH_CONFIGURATION = [case for case in CASES if ENGINES[service_of(case).engine].KEYS in {"list", "first"}]


def compose_of(service: Service) -> dict[str, Any]:
    """What Compose reads as the engine's service, before it replaces variables."""
    text = yaml.safe_load(rendered(service)["compose.yaml"])
    engine: dict[str, Any] = text["services"]["engine"]
    return engine


def unit_of(service: Service) -> configparser.RawConfigParser:
    """The unit; of a key that is there several times the last value."""
    unit = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(rendered(service)[service.unit])
    return unit


@pytest.mark.parametrize("case", CASES)
def test_files_of_a_release(case: str) -> None:
    """A release has these files, all readable, sorted, and whatever its engine adds."""
    service = service_of(case)
    own = {"guard.sh", "launch.sh"} if service.package else {"assemble.sh", "compose.yaml"}
    names = {"plan.json", service.unit, *own, *ENGINES[service.engine].files(service)}

    assert [(name, "644") for name in sorted(names)] == [(f.path, f.mode) for f in render_files(service, TEMPLATES)]


@pytest.mark.parametrize("case", WITH_CONFIGURATION)
def test_engine_configuration_round_trip(case: str) -> None:
    """A YAML reader finds in engine.yaml what the plan says, hostile values included."""
    service = service_of(case)
    found = yaml.safe_load(rendered(service)["engine.yaml"])
    # Some options of SGLang's want JSON as text.
    texts = {name for name, value in service.config.items() if isinstance(value, dict) and isinstance(found[name], str)}

    assert service.config == {name: json.loads(value) if name in texts else value for name, value in found.items()}


@pytest.mark.parametrize("case", CASES)
def test_plan_round_trip(case: str) -> None:
    """The plan on the host is the plan."""
    service = service_of(case)

    assert service == Service.model_validate(json.loads(plan_json(service)))


@pytest.mark.parametrize("case", COMPOSE)
def test_compose_file(case: str) -> None:
    """Image by digest, port on loopback, weights read-only, release as a label; systemd alone starts it again."""
    service = service_of(case)
    engine = compose_of(service)

    assert (image_of(service).reference, "never", "no") == (engine["image"], engine["pull_policy"], engine["restart"])
    assert [f"127.0.0.1:{service.port}:{ENGINES[service.engine].PORT}"] == engine["ports"]
    assert {"org.hermeion.service": service.name, "org.hermeion.release": service.release_id} == engine["labels"]
    assert (f"{service.cache}/hub", True) == (engine["volumes"][0]["source"], engine["volumes"][0]["read_only"])


@pytest.mark.parametrize("case", COMPOSE)
def test_container_is_confined(case: str) -> None:
    """No capability, no new privilege; one folder to write in, named after the image; of an unprivileged user no other.

    Nothing of the host's is made if it is not there.
    """
    service = service_of(case)
    engine = compose_of(service)
    writable = [mount["source"] for mount in engine["volumes"] if not mount.get("read_only")]

    assert (["ALL"], ["no-new-privileges:true"]) == (engine["cap_drop"], engine["security_opt"])
    assert [f"/var/cache/hermeion/{service.name}/{image_of(service).digest[7:19]}"] == writable  # type: ignore[index]
    assert [{"create_host_path": False}] * len(engine["volumes"]) == [mount["bind"] for mount in engine["volumes"]]
    assert (engine["user"] != "0:0") == engine.get("read_only", False)
    assert "/var/cache/engine" == engine["environment"]["HOME"]


@pytest.mark.parametrize("case", COMPOSE)
def test_container_health(case: str) -> None:
    """Docker asks the engine's own port, with what its image has, and not before its start may have ended."""
    service = service_of(case)
    engine = ENGINES[service.engine]
    health = compose_of(service)["healthcheck"]
    address = f"http://127.0.0.1:{engine.PORT}{engine.HEALTH}"
    curl = ["CMD", "curl", "-fsS", "-m", "20", "-o", "/dev/null", address]

    assert (["CMD", "ollama", "list"] if service.engine == "ollama" else curl) == health["test"]
    assert f"{service.start_seconds}s" == health["start_period"]


@pytest.mark.parametrize("case", [case for case in COMPOSE if case != "old-docker"])
def test_gpus_by_cdi(case: str) -> None:
    """GPUs are asked for by CDI, with their UUIDs, and in no other way."""
    service = service_of(case)
    engine = compose_of(service)
    (devices,) = engine["deploy"]["resources"]["reservations"]["devices"]

    assert "cdi" == devices["driver"]
    assert [f"nvidia.com/gpu={gpu.uuid}" for gpu in service.gpus] == devices["device_ids"]
    assert "runtime" not in engine
    assert "NVIDIA_VISIBLE_DEVICES" not in engine["environment"]


def test_gpus_by_runtime() -> None:
    """Where Docker knows no CDI, NVIDIA's runtime gets the UUIDs, and no device is asked for."""
    service = service_of("old-docker")
    engine = compose_of(service)

    assert ("nvidia", ",".join(str(gpu.uuid) for gpu in service.gpus)) == (
        engine["runtime"],
        engine["environment"]["NVIDIA_VISIBLE_DEVICES"],
    )
    assert 2 == len(service.gpus)
    assert "deploy" not in engine


@pytest.mark.parametrize("case", CASES)
def test_unit_file(case: str) -> None:
    """systemd waits for weights and folders, restarts whatever the exit code, and gives up after five times an hour."""
    service = service_of(case)
    unit = unit_of(service)
    folders = [f"{service.cache}/hub", f"/opt/hermeion/{service.name}"]
    if service.package:
        folders.append(str(service.package.folder))

    assert " ".join(folders) == unit["Unit"]["RequiresMountsFor"]
    assert ("3600", "5") == (unit["Unit"]["StartLimitIntervalSec"], unit["Unit"]["StartLimitBurst"])
    assert "always" == unit["Service"]["Restart"]


@pytest.mark.parametrize("case", NATIVE)
def test_native_unit(case: str) -> None:
    """A native engine has a user and folders of its own, weights read-only, and keys if any as a credential."""
    service = service_of(case)
    unit = unit_of(service)["Service"]
    keys = f"api-keys:/etc/hermeion/{service.name}/api-keys"

    assert ("yes", f"hermeion-{service.name}", f"hermeion-{service.name}") == (
        unit["DynamicUser"],
        unit["CacheDirectory"],
        unit["RuntimeDirectory"],
    )
    assert f"{service.cache}/hub" == unit["BindReadOnlyPaths"]
    assert (None if ENGINES[service.engine].KEYS == "none" else keys) == unit.get("LoadCredential")
    # With any of these CUDA does not start.
    assert [] == [key for key in ("PrivateDevices", "MemoryDenyWriteExecute", "PrivateUsers") if key in unit]
    assert [] == [key for key in ("PrivateNetwork", "ProcSubset") if key in unit]


def test_weights_in_a_folder_of_the_hosts() -> None:
    """Weights that lie in a folder of their own are what the unit waits for and the engine sees, not the cache."""
    own = {"path": "/home/me/weights"}
    compose = final_service().model_copy(update=own)
    native = service_of("sglang-native").model_copy(update=own)

    assert ("/home/me/weights", "/models/local") == tuple(
        compose_of(compose)["volumes"][0][key] for key in ("source", "target")
    )
    assert unit_of(compose)["Unit"]["RequiresMountsFor"].startswith("/home/me/weights ")
    assert "/home/me/weights" == unit_of(native)["Service"]["BindReadOnlyPaths"]


def test_unknown_name_in_template(tmp_path: Path) -> None:
    """A template that names something the plan does not have is an error with both names."""
    for template in TEMPLATES.iterdir():
        shutil.copy(template, tmp_path)
    (tmp_path / "compose.yaml.j2").write_text("{{ service.colour }}")
    with pytest.raises(RenderError) as caught:
        render_files(final_service(), tmp_path)

    assert "templates/compose.yaml.j2: 'hermeion.plans.Service object' has no attribute 'colour'" == str(caught.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [({"environment": {"X": "a\0b"}}, "environment X"), ({"config": {"alias": "\0"}}, "option alias")],
)
def test_value_for_no_process(change: dict[str, Any], what: str) -> None:
    """A NUL, which ends every argument and variable, is refused by name."""
    with pytest.raises(RenderError) as caught:
        render_files(final_service().model_copy(update=change), TEMPLATES)

    assert f"gpu-1: hermes: '{what}' holds a NUL, which no process can be given" == str(caught.value)


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
