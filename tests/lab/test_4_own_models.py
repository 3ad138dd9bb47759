"""Own models: described by nobody, read from the Hub or from a folder of the host, planned and served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import Lab, hermeion

HOST = "gpu-1"
FOLDER = "/srv/models/local/tiny"


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inventory of a host that serves a model from a folder; its own deploy has been run before."""
    lab.ssh(HOST, f"rm -rf {FOLDER} && mkdir -p /srv/models/local && cp -rL /srv/models/hub/*/snapshots/* {FOLDER}")
    changes: dict[str, Any] = {
        "hermes_gpus": "1xL40S",
        "hermes_catalog": [{"name": "local-llama", "path": FOLDER}],
        "hermes_services": lab.service(model="local-llama"),
    }
    path = lab.inventory(tmp_path_factory.mktemp("folder"), HOST, **changes)
    run = lab.pyinfra(path, "-y")
    assert run.code == 0, run.text
    return path


def test_a_folder_is_served(lab: Lab, served: Path) -> None:
    """A model in a folder of the host is planned from its own files and mounted read-only."""
    plan = json.loads(lab.ssh(HOST, "cat /opt/hermeion/hermes/current/plan.json"))

    assert (FOLDER, "local-llama", "bf16", 4096) == (plan["path"], plan["variant"], plan["precision"], plan["context"])
    assert ["hermes", "local-llama"] == plan["served_names"]
    run = hermeion("verify", str(served), HOST)
    assert run.code == 0, run.text


def test_it_is_not_read_again(lab: Lab, served: Path) -> None:
    """A second run has nothing to do: what runs is what is wanted, and nobody opens the model's files."""
    before = lab.ssh(HOST, f"stat -c %X {FOLDER}/config.json")
    run = lab.pyinfra(served, "-y")

    assert run.code == 0, run.text
    assert "nothing to do: hermes serves local-llama" in run.text
    assert before == lab.ssh(HOST, f"stat -c %X {FOLDER}/config.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hermes_catalog": [{"name": "other", "path": "/srv/models/local/none"}]},
            "hermes_catalog/other/path: there is no folder /srv/models/local/none on the host. Copy the model "
            "there first.",
        ),
        (
            {"hermes_catalog": [{"name": "other", "repo": "hermeion-lab/none"}]},
            "hermes_catalog/other: the Hub ",
        ),
        (
            {"hermes_gpus": "8xH100"},
            "hermes_gpus declares 8xH100, found are 1 × NVIDIA L40S. Look for a card that is missing (lspci -nn -d "
            "10de:), or correct hermes_gpus.",
        ),
    ],
)
def test_refusals(lab: Lab, served: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """A model that is nowhere and GPUs that are not there are refused before anything is changed."""
    model = "other" if "hermes_catalog" in changes else lab.data["models"][0]["name"]
    path = lab.inventory(tmp_path, HOST, hermes_services=lab.service(model=model), **changes)
    before = lab.ssh(HOST, "docker ps -q --no-trunc")
    run = lab.pyinfra(path, "-y")

    assert run.code == 1
    assert message in run.text
    assert before == lab.ssh(HOST, "docker ps -q --no-trunc")


def test_plans_from_saved_probes(lab: Lab, served: Path, tmp_path: Path) -> None:
    """What a host answered once can be saved and planned from without it, own models included."""
    saved = hermeion("probe", str(served), HOST, "--save", str(tmp_path / "saved"))
    assert saved.code == 0, saved.text
    planned = hermeion("plan", str(served), "--from", str(tmp_path / "saved" / f"{HOST}.json"), "--json")

    (service,) = json.loads(planned.text)["hosts"][HOST]["plan"]["services"]
    assert (FOLDER, "local-llama") == (service["path"], service["variant"])
