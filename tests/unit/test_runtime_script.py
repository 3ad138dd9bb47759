"""The script of the runtime stage, run for real with stand-ins for Docker, systemd and NVIDIA's tools."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermeion.inventory import HostSpec
from hermeion.plans import RuntimePlan
from hermeion.scripts.container_runtime import runtime_script
from tests.unit.builders import make_probe, make_spec, uuid_of

OLD = '{"data-root": "/d"}'
NEW = '{\n  "data-root": "/d",\n  "features": {\n    "cdi": true\n  }\n}\n'
RESTART = RuntimePlan(reasons=("x",), daemon_json=NEW, restart="restart")
GENERATE = RuntimePlan(reasons=("x",), specification=True)
SPEC = f'devices:\n  - name: "{uuid_of(0)}"\ncontainerEdits:\n  mounts:\n    - hostPath: %s\n'

DOCKER = """case "$1 $*" in
  ps*--filter*) cat {root}/own ;;
  ps*Names*) cat {root}/running ;;
  ps*) cat {root}/running ;;
  info*LiveRestore*) cat {root}/live ;;
  info*CDISpecDirs*) cat {root}/folders ;;
  info*Runtimes*) echo '{{"nvidia":{{}},"runc":{{}}}}' ;;
  version*) echo 26.1.5 ;;
esac"""

SYSTEMCTL = """echo "$@" >> {root}/systemctl.log
case "$*" in
  'is-active docker') cat {root}/active ;;
  'restart docker') grep -q FAILS {root}/etc/docker/daemon.json && exit 1 ;;
  'restart nvidia-cdi-refresh.service') [ -f {root}/skipped ] || cp {root}/spec {root}/var/run/cdi/nvidia.yaml ;;
esac
exit 0"""


def stand_in(folder: Path, name: str, text: str) -> None:
    """A stand-in for a program of the host."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder that stands for a host's root: Docker runs, one GPU answers, and no container runs."""
    for folder in ("etc/docker", "etc/cdi", "etc/apt/sources.list.d", "var/run/cdi"):
        (tmp_path / folder).mkdir(parents=True)
    for name, text in (
        ("running", ""), ("own", ""), ("live", "false inactive\n"), ("folders", '["/var/run/cdi"]\n'),
        ("active", "active\n"), ("spec", SPEC % tmp_path), ("etc/docker/daemon.json", OLD), ("systemctl.log", ""),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    stand_in(tmp_path, "docker", DOCKER.format(root=tmp_path))
    stand_in(tmp_path, "systemctl", SYSTEMCTL.format(root=tmp_path))
    stand_in(tmp_path, "journalctl", "echo 'invalid thing in line 3'")
    stand_in(
        tmp_path,
        "dockerd",
        'case "$*" in --help) echo "  --validate" ;; *) grep -q INVALID "$3" && exit 1 ;; esac; exit 0',
    )
    stand_in(tmp_path, "nvidia-smi", f"echo '{uuid_of(0)}, Disabled'; echo 'GPU-mig, Enabled'")
    stand_in(
        tmp_path,
        "nvidia-ctk",
        f"""case "$*" in
  'cdi list') sed -n 's/.*name: "\\(.*\\)"/nvidia.com\\/gpu=\\1/p' {tmp_path}/var/run/cdi/nvidia.yaml ;;
  *) echo "$@ ${{NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS:-}}" > {tmp_path}/ctk.log
     cp {tmp_path}/spec "${{3#--output=}}" ;;
esac""",
    )
    return tmp_path


def run(
    host: Path, plan: RuntimePlan, spec: HostSpec | None = None, **answers: Any
) -> subprocess.CompletedProcess[str]:
    """Run the real script of a plan with the host's folders in place of the machine's."""
    script = runtime_script(spec or make_spec(), make_probe(**answers), plan, ca=None, keys={})
    for root in ("/etc/", "/var/run/", "/snap/", "/var/lib/snapd"):
        script = script.replace(root, f"{host}{root}")
    script = script.replace(" root:root ", f" {host.stat().st_uid}:{host.stat().st_gid} ")
    script = f"PATH={host}/bin:$PATH\n{script}"
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)


def daemon_json(host: Path) -> str:
    """Docker's configuration as it lies there."""
    return (host / "etc/docker/daemon.json").read_text()


def told(host: Path) -> list[str]:
    """What systemd was told about Docker, apart from questions."""
    lines = (host / "systemctl.log").read_text().splitlines()
    return [line for line in lines if "docker" in line and not line.startswith("is-active")]


def test_restart(host: Path) -> None:
    """A new configuration is written beside a copy of the old one, and Docker restarted once."""
    done = run(host, RESTART)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert NEW == daemon_json(host)
    assert OLD == (host / "etc/docker/daemon.json.before-hermeion").read_text()
    assert ["restart docker", "reset-failed docker", "enable --now --quiet docker"] == told(host)


def test_twice_is_once(host: Path) -> None:
    """A script that was run again ends as it did the first time."""
    run(host, RESTART)

    assert 0 == run(host, RESTART).returncode
    assert NEW == daemon_json(host)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"running": "other\n"},
            "containers run (other) and live-restore is off: restarting Docker would stop them.\nAdd "
            '"live-restore": true to /etc/docker/daemon.json, `systemctl reload docker`, run again; or allow it with '
            "hermes_disrupt.\n",
        ),
        (
            {"running": "hermeion-x\n", "own": "a1\n", "live": "true inactive\n"},
            "services of Hermeion run (hermeion-x) and stop with Docker: allow its restart with hermes_disrupt.\n",
        ),
        (
            {"running": "other\n", "live": "true active\n"},
            "containers run (other) and live-restore is off: restarting Docker would stop them.\nAdd "
            '"live-restore": true to /etc/docker/daemon.json, `systemctl reload docker`, run again; or allow it with '
            "hermes_disrupt.\n",
        ),
    ],
)
def test_containers_that_came_meanwhile(host: Path, files: dict[str, str], message: str) -> None:
    """Containers that were started since the plan was made stop the stage before anything was changed."""
    for name, text in files.items():
        (host / name).write_text(text)
    done = run(host, RESTART)

    assert (1, message) == (done.returncode, done.stdout.replace(str(host), ""))
    assert (OLD, []) == (daemon_json(host), told(host))


@pytest.mark.parametrize(("live", "keys"), [("true inactive", {}), ("false inactive", {"hermes_disrupt": True})])
def test_containers_that_do_not_matter(host: Path, live: str, keys: dict[str, Any]) -> None:
    """With live-restore or with consent, Docker is restarted under running containers."""
    (host / "running").write_text("other\n")
    (host / "live").write_text(f"{live}\n")

    assert 0 == run(host, RESTART, make_spec(**keys)).returncode
    assert "restart docker" in told(host)


@pytest.mark.parametrize(("fault", "last"), [("INVALID", []), ("FAILS", ["restart docker"])])
def test_configuration_that_docker_refuses(host: Path, fault: str, last: list[str]) -> None:
    """A configuration that Docker does not read, or does not start with, is taken back; only then it is restarted."""
    done = run(host, RESTART.model_copy(update={"daemon_json": f'{{"x": "{fault}"}}'}))

    assert 1 == done.returncode
    assert "Docker refuses the new /etc/docker/daemon.json; the old one is back\n" == done.stdout.replace(str(host), "")
    assert OLD == daemon_json(host)
    assert last == told(host)[-1:]


def test_without_a_file_before(host: Path) -> None:
    """Where there was no configuration, none is left after a refusal."""
    (host / "etc/docker/daemon.json").unlink()

    assert 1 == run(host, RESTART.model_copy(update={"daemon_json": "FAILS"})).returncode
    assert [] == list((host / "etc/docker").iterdir())


def test_reload(host: Path) -> None:
    """A runtime needs a reload, which no container notices."""
    (host / "running").write_text("other\n")
    done = run(host, RESTART.model_copy(update={"restart": "reload"}), docker="24.0.7")

    assert (0, "") == (done.returncode, done.stdout)
    assert "reload docker" in told(host)
    assert "restart docker" not in told(host)


def test_stopped_docker_is_started_with_it(host: Path) -> None:
    """A Docker that does not run gets its configuration first and is started with it, not restarted."""
    (host / "active").write_text("inactive\n")

    assert 0 == run(host, RESTART).returncode
    assert (NEW, ["reset-failed docker", "enable --now --quiet docker"]) == (daemon_json(host), told(host))


def test_cdi_that_stays_off(host: Path) -> None:
    """A Docker that does not look for specifications afterwards is a failure, in words."""
    (host / "folders").write_text("null\n")
    done = run(host, RuntimePlan(reasons=("x",), restart="restart"))

    assert 1 == done.returncode
    assert "Docker 26.1.5 does not look for CDI specifications" in done.stdout


def test_specification(host: Path) -> None:
    """The toolkit's service writes the specification, and every GPU that is not cut up is found in it."""
    done = run(host, GENERATE)

    assert (0, f"nvidia.com/gpu={uuid_of(0)}\n", "") == (done.returncode, done.stdout, done.stderr)
    assert not (host / "ctk.log").exists()


def test_service_that_skips_itself(host: Path) -> None:
    """Where the toolkit's service writes nothing, the specification is generated without it, and that is said."""
    (host / "skipped").touch()
    done = run(host, GENERATE)

    assert 0 == done.returncode
    assert "nvidia-cdi-refresh.service wrote nothing; the CDI specification is generated without it" in done.stdout
    assert f"cdi generate --output={host}/var/run/cdi/nvidia.yaml \n" == (host / "ctk.log").read_text()


def test_docker_before_26_1(host: Path) -> None:
    """A Docker that cannot read additional groups gets a specification without them, once and for good."""
    (host / "skipped").touch()
    run(host, GENERATE, docker="25.0.3")
    run(host, GENERATE, docker="25.0.3")
    settings = host / "etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"

    assert "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS=no-additional-gids-for-device-nodes\n" == settings.read_text()
    assert (host / "ctk.log").read_text().endswith(" no-additional-gids-for-device-nodes\n")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("devices: []\n", f"the new CDI specification /var/run/cdi/nvidia.yaml does not list {uuid_of(0)}\n"),
        (SPEC % "/no/such/file", "the new CDI specification names /no/such/file, which is not there\n"),
    ],
)
def test_specification_that_is_not_good(host: Path, spec: str, message: str) -> None:
    """A specification without a GPU, or with files that are not there, is a failure, in words."""
    (host / "spec").write_text(spec)
    done = run(host, GENERATE)

    assert (1, message) == (done.returncode, done.stdout.replace(str(host), ""))


def test_driver_that_does_not_answer(host: Path) -> None:
    """What nvidia-smi says is shown when it fails: it says it on standard output."""
    stand_in(host, "nvidia-smi", "echo 'No devices were found'; exit 6")
    done = run(host, GENERATE)

    assert (1, "nvidia-smi: No devices were found\n") == (done.returncode, done.stdout)


def test_moved_aside(host: Path) -> None:
    """What stands in the way is moved aside under a name that says so, and never deleted; again: nothing."""
    (host / "etc/cdi/nvidia.yaml").write_text("old")
    (host / "etc/apt/sources.list.d/nvidia-docker.list").write_text("deb x")
    plan = RuntimePlan(reasons=("x",), remove=("/etc/cdi/nvidia.yaml", "/etc/apt/sources.list.d/nvidia-docker.list"))
    assert 0 == run(host, plan).returncode

    assert "old" == (host / "etc/cdi/nvidia.yaml.before-hermeion").read_text()
    assert "deb x" == (host / "etc/apt/sources.list.d/nvidia-docker.list.before-hermeion").read_text()
    assert not (host / "etc/cdi/nvidia.yaml").exists()
    assert (0, "") == ((again := run(host, plan)).returncode, again.stdout)


def test_snap(host: Path) -> None:
    """Docker of a snap is in no list of packages: it is found before another one is installed beside it."""
    (host / "snap/bin").mkdir(parents=True)
    (host / "snap/bin/docker").touch()
    plan = RuntimePlan(reasons=("x",), engine="distribution", packages=("docker.io",))
    done = run(host, plan, docker=None)

    assert 1 == done.returncode
    assert "Docker is here as a snap, which sees neither GPUs nor the folders that services need.\n`snap remove" in (
        done.stdout
    )


BASE = "nvidia-container-toolkit-base=1.20.0-1"
INSTALL = RuntimePlan(reasons=("x",), engine="docker", packages=("docker-ce",), toolkit=(BASE,))
DNF = {"os": ("ID=rocky", 'VERSION_ID="9.6"'), "tools": ("dnf",)}


@pytest.mark.parametrize(
    ("answers", "there", "not_there"),
    [
        ({}, ["nvidia.github.io", "download.docker.com", f"docker-ce {BASE}"], []),
        (DNF, ["nvidia.github.io", "docker-ce nvidia-container-toolkit-base-1.20.0-1"], ["apt-get"]),
    ],
)
def test_installation(answers: dict[str, Any], there: list[str], not_there: list[str]) -> None:
    """The repositories come first, and Docker and the toolkit are one transaction."""
    script = runtime_script(make_spec(), make_probe(**answers), INSTALL, ca=None, keys={})
    read = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)

    assert (0, "") == (read.returncode, read.stderr)
    assert [] == [part for part in there if part not in script]
    assert [] == [part for part in not_there if part in script]


def test_nothing_is_installed_without_packages() -> None:
    """Where no package is planned, no package manager is called."""
    script = runtime_script(make_spec(), make_probe(), RESTART, ca=None, keys={})

    assert "apt" not in script
