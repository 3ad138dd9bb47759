"""Docker's configuration: merged, never overwritten."""

from __future__ import annotations

import json

import pytest

from hermeion.errors import PlacementError
from hermeion.inventory import Mirrors
from hermeion.runtime import gpu_access, merged_daemon_json, registry_ca_path
from hermeion.runtime.daemon import decide_daemon
from hermeion.runtime.engine import docker_version
from tests.unit.builders import make_probe


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        (None, {"features": {"cdi": True}}),
        ("", {"features": {"cdi": True}}),
        (" \n", {"features": {"cdi": True}}),
        ("{}", {"features": {"cdi": True}}),
        ('{"features": {"cdi": false}}', {"features": {"cdi": True}}),
        (
            '{"log-driver": "local", "features": {"containerd-snapshotter": true}, "runtimes": {"x": {"path": "é"}}}',
            {
                "log-driver": "local",
                "features": {"containerd-snapshotter": True, "cdi": True},
                "runtimes": {"x": {"path": "é"}},
            },
        ),
    ],
)
def test_merge_of_cdi(text: str | None, merged: dict[str, object]) -> None:
    """CDI is switched on; every other key stays, in its order."""
    assert json.dumps(merged, indent=2, ensure_ascii=False) + "\n" == merged_daemon_json("gpu-1", text)


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        (None, {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}),
        (
            '{"runtimes": {"kata": {"path": "k"}}, "debug": true}',
            {
                "runtimes": {"kata": {"path": "k"}, "nvidia": {"path": "nvidia-container-runtime", "args": []}},
                "debug": True,
            },
        ),
    ],
)
def test_merge_of_the_runtime(text: str | None, merged: dict[str, object]) -> None:
    """NVIDIA's runtime is added beside others."""
    assert json.dumps(merged, indent=2) + "\n" == merged_daemon_json("gpu-1", text, "runtime")


@pytest.mark.parametrize("text", ['{"features": {"cdi": true}}', '{"features":{"cdi":true},"live-restore":true}'])
def test_nothing_to_merge(text: str) -> None:
    """A configuration that says it already is not written again."""
    assert None is merged_daemon_json("gpu-1", text)


def test_own_runtime_stays() -> None:
    """A runtime nvidia that somebody configured is not changed."""
    assert None is merged_daemon_json("gpu-1", '{"runtimes": {"nvidia": {"path": "/opt/own"}}}', "runtime")


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("{", "line 1, column 2: Expecting property name enclosed in double quotes"),
        ('{\n  "debug": true,\n}', "line 2, column 16: Illegal trailing comma before end of object"),
        ("[]", "it is not a JSON object"),
        ('{"features": []}', "its features is [], not an object"),
        ('{"features": null}', "its features is null, not an object"),
        ('{"runtimes": ["nvidia"]}', 'its runtimes is ["nvidia"], not an object'),
    ],
)
def test_refused_configuration(text: str, evidence: str) -> None:
    """A file that Docker would refuse is not touched: path, place in it, next step."""
    with pytest.raises(PlacementError) as caught:
        merged_daemon_json("gpu-1", text)

    # Python 3.13 words the trailing comma in its own way.
    message = str(caught.value).replace(
        "line 3, column 1: Expecting property name enclosed in double quotes",
        "line 2, column 16: Illegal trailing comma before end of object",
    )
    assert (
        f"gpu-1: /etc/docker/daemon.json cannot be used: {evidence}. Docker does not start with it either. Repair it "
        "or move it away, then run again."
    ) == message


def test_folders_of_specifications() -> None:
    """A Docker that looks elsewhere for specifications would not see the toolkit's: refused, with the key to change."""
    probe = make_probe()
    probe = probe.model_copy(update={"engine": probe.engine.model_copy(update={"cdi_folders": ("/opt/cdi",)})})
    with pytest.raises(PlacementError) as caught:
        decide_daemon("gpu-1", probe, "cdi", (26, 1, 5))

    assert (
        "gpu-1: Docker looks for CDI specifications in /opt/cdi alone, and NVIDIA's toolkit writes to /var/run/cdi. "
        'Add it to "cdi-spec-dirs" in /etc/docker/daemon.json, restart Docker, then run again.'
    ) == str(caught.value)


def test_cdi_that_the_file_does_not_say() -> None:
    """A Docker that has CDI by an option of its unit is not given it twice, which it would refuse."""
    probe = make_probe().model_copy(update={"daemon_json": None})
    daemon = decide_daemon("gpu-1", probe, "cdi", (26, 1, 5))

    assert (None, "none", "") == (daemon.text, daemon.restart, daemon.reason)
    assert ("CDI is on in the running Docker, although /etc/docker/daemon.json does not say so.",) == daemon.remarks


@pytest.mark.parametrize(
    ("docker", "text", "restart", "changed"),
    [
        ("25.0.0", None, "restart", True),
        ("28.1.1", "{}", "restart", True),
        ("28.2.0", None, "none", False),
        ("29.1.3", '{"features": {"buildkit": true}}', "none", False),
        ("24.0.7", None, "reload", True),
    ],
)
def test_ladder(docker: str, text: str | None, restart: str, changed: bool) -> None:
    """What Docker needs follows its version: a restart from 25 to 28.1, nothing from 28.2 on, a reload before 25."""
    probe = make_probe(docker=docker, daemon_json=text)
    daemon = decide_daemon("gpu-1", probe, gpu_access(probe), docker_version(probe))

    assert (restart, changed) == (daemon.restart, daemon.text is not None)


def test_cdi_switched_off_by_hand() -> None:
    """Docker 28.2 and newer with CDI switched off gets it back."""
    probe = make_probe(docker="29.1.3", daemon_json='{"features": {"cdi": false}}')
    probe = probe.model_copy(update={"engine": probe.engine.model_copy(update={"cdi_folders": ()})})
    daemon = decide_daemon("gpu-1", probe, "cdi", (29, 1, 3))

    assert ("restart", "CDI is off in /etc/docker/daemon.json.") == (daemon.restart, daemon.reason)
    assert {"features": {"cdi": True}} == json.loads(daemon.text or "")


@pytest.mark.parametrize(
    ("mirrors", "path"),
    [
        ({}, None),
        ({"registry": "mirror:5000"}, None),
        ({"ca": "/ca.pem"}, None),
        ({"registry": "mirror:5000", "ca": "/ca.pem"}, "/etc/docker/certs.d/mirror:5000/ca.crt"),
    ],
)
def test_registry_certificates(mirrors: dict[str, str], path: str | None) -> None:
    """Docker gets certificates for a mirror that has some of its own."""
    assert path == registry_ca_path(Mirrors.model_validate(mirrors))
