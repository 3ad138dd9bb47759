"""The part of the probe that is about Docker and CDI."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hermeion.probe import CdiSpec, Container, Docker, probe_script
from hermeion.probe.containers import parse_docker
from tests.unit.builders import make_probe
from tests.unit.test_probe_drivers import function

INFO = (
    '{"ID":"x","Runtimes":{"io.containerd.runc.v2":{"path":"runc"},"nvidia":{"path":"nvidia-container-runtime"}},'
    '"DefaultRuntime":"runc","Swarm":{"NodeID":"","LocalNodeState":"inactive"},"LiveRestoreEnabled":true,'
    '"SecurityOptions":["name=seccomp,profile=builtin"],"HttpProxy":"http://user:secret@proxy:3128",'
    '"CDISpecDirs":["/etc/cdi","/var/run/cdi"],"ServerVersion":"29.2.0"}'
)


def docker_lines(info: str, running: str = "") -> list[str]:
    """What the script's function prints with a Docker that answers this."""
    standin = f"""have() {{ :; }}
systemctl() {{ echo "$1" | sed 's/is-//'; }}
docker() {{
  case $1 in
    info) printf '%s\\n' '{info}' ;;
    compose) echo 2.40.0 ;;
    ps) [ "$2" = -q ] && printf '%s' '{running}' || : ;;
    inspect) echo "gpus=ab runc cdi,gpu," ;;
  esac
}}
"""
    done = subprocess.run(
        ["sh", "-c", f"{standin}{function('docker_state')}\ndocker_state"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_account_of_docker() -> None:
    """Of Docker's account a few words are taken, and a proxy's password is not among them."""
    lines = docker_lines(INFO)
    fields = parse_docker(lines)

    assert "secret" not in "".join(lines)
    assert ("29.2.0", "2.40.0") == (fields["docker"], fields["compose"])
    assert (
        Docker(
            installed=True,
            active="active",
            enabled="enabled",
            live_restore=True,
            cdi_folders=("/etc/cdi", "/var/run/cdi"),
            runtimes=frozenset({"nvidia"}),
        )
        == fields["engine"]
    )


def test_docker_that_is_down() -> None:
    """A daemon that does not answer leaves its version open; Docker is installed all the same."""
    fields = parse_docker(docker_lines('{"ServerVersion":"","ServerErrors":["Cannot connect"]}'))

    assert (None, True) == (fields["docker"], fields["engine"].installed)


def test_swarm_and_rootless() -> None:
    """A swarm and a rootless daemon are told apart from the usual."""
    info = INFO.replace('"inactive"', '"active"').replace("name=seccomp,profile=builtin", "name=rootless")
    engine = parse_docker(docker_lines(info))["engine"]

    assert (True, True) == (engine.swarm, engine.rootless)


@pytest.mark.parametrize(
    ("row", "access"),
    [
        ("gpus=ab runc cdi,gpu,", "cdi"),
        ("gpus=ab runc nvidia,gpu,", "hook"),
        ("gpus=ab runc ,gpu,", "hook"),
        ("gpus=ab nvidia ", "hook"),
        ("gpus=ab runc ", None),
    ],
)
def test_access_to_gpus(row: str, access: str | None) -> None:
    """How a container came by its GPUs is read from its runtime and its device requests."""
    (container,) = parse_docker([row, "container=ab other running - -"])["containers"]

    assert Container(id="ab", name="other", state="running", gpu_access=access) == container


def test_own_and_foreign_containers() -> None:
    """Ours are those with our labels; a service serves while its container runs."""
    probe = make_probe(
        containers=["c0 hermeion-hermes running hermes abc", "c1 hermeion-old exited old abc", "c2 other running - -"]
    )

    assert ["hermeion-hermes", "hermeion-old"] == [container.name for container in probe.own_containers]
    assert ("hermes",) == probe.serving


def test_specifications(tmp_path: Path) -> None:
    """Each CDI specification of NVIDIA's tells its devices and its missing files; others' are passed over."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    here = tmp_path / "here"
    here.touch()
    (tmp_path / "run/nvidia.yaml").write_text(
        'cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n  - name: "0"\n    containerEdits: {}\n  - name: all\n'
        f"containerEdits:\n  mounts:\n    - hostPath: {here}\n    - {{hostPath: {tmp_path}/gone, options: [ro]}}\n"
    )
    (tmp_path / "etc/nvidia.json").write_text(
        '{\n "kind": "nvidia.com/gpu",\n "devices": [\n  {\n   "name": "GPU-1",\n   "x": 1\n  }\n ]\n}\n'
    )
    (tmp_path / "etc/other.yaml").write_text("kind: vendor.com/nic\ndevices:\n  - name: all\n")
    text = function("cdi").replace("/etc/cdi", f"{tmp_path}/etc").replace("/var/run/cdi", f"{tmp_path}/run")
    rows = subprocess.run(["sh", "-c", f"{text}\ncdi"], capture_output=True, text=True, check=True).stdout.splitlines()

    assert (
        CdiSpec(path=f"{tmp_path}/etc/nvidia.json", devices=frozenset({"GPU-1"})),
        CdiSpec(path=f"{tmp_path}/run/nvidia.yaml", devices=frozenset({"0", "all"}), missing=(f"{tmp_path}/gone",)),
    ) == make_probe(cdi=rows).cdi
    assert "section cdi cdi" in probe_script()
