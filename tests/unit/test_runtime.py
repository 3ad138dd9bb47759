"""What is decided about Docker, Compose and NVIDIA's container toolkit as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.errors import PlacementError
from hermeion.plans import RuntimePlan
from hermeion.probe import Probe
from hermeion.probe.containers import Docker
from hermeion.runtime import TOOLKIT, check_hooks, decide_runtime, gpu_access
from tests.unit.builders import cdi_section, make_probe, make_spec, uuid_of

UUIDS = frozenset({uuid_of(0)})
BASE = f"nvidia-container-toolkit-base={TOOLKIT}-1"
DEBIAN_12 = ("ID=debian", 'VERSION_ID="12"', "VERSION_CODENAME=bookworm")
UBUNTU = ("ID=ubuntu", 'VERSION_ID="24.04"', "VERSION_CODENAME=noble")
ROCKY = ("ID=rocky", 'VERSION_ID="9.6"', 'ID_LIKE="rhel centos fedora"')
RUNNING = f"{'a1' * 32} other running - -"
OURS = f"{'a2' * 32} hermeion-hermes running hermes 0123456789ab"
NO_DOCKER: dict[str, Any] = {"docker": None, "compose": None, "daemon_json": None, "packages": {}, "cdi": []}
LIVE = ("active=active", "enabled=enabled", "live_restore=true", "swarm=inactive")
SWARM = ("active=active", "enabled=enabled", "live_restore=true", "swarm=active")
NAMES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
ALL_FOUR = dict.fromkeys(NAMES, f"{TOOLKIT}-1")
ALL_PACKAGES = tuple(f"{package}={TOOLKIT}-1" for package in ALL_FOUR)
MERGED = '{\n  "features": {\n    "cdi": true\n  }\n}\n'
WITH_RUNTIME = (
    '{\n  "runtimes": {\n    "nvidia": {\n      "path": "nvidia-container-runtime",\n      "args": []\n    }\n  }\n}\n'
)


def decide(answers: dict[str, Any], *, driver_changes: bool = False, **keys: Any) -> RuntimePlan:
    """The decision for a host that answers so."""
    probe = make_probe(**answers)
    return decide_runtime("gpu-1", make_spec(**keys), probe, uuids=UUIDS, driver_changes=driver_changes)


def stopped(active: str = "inactive", enabled: str = "enabled", **answers: Any) -> Probe:
    """A host whose Docker is installed and does not answer."""
    engine = Docker(installed=True, active=active, enabled=enabled)
    return make_probe(**answers).model_copy(update={"docker": None, "engine": engine})


@pytest.mark.parametrize(
    ("answers", "remarks"),
    [
        (
            {"packages": {"docker.io": "26.1.5", "nvidia-container-toolkit-base": "1.18.0-1"}},
            ("NVIDIA's container toolkit 1.18.0 is left alone; 1.20.0 is the newest known here.",),
        ),
        ({"packages": {"docker.io": "26.1.5", "nvidia-container-toolkit-base": "1.20.0-1"}}, ()),
        ({"packages": {"nvidia-container-toolkit-base": "1.21.3-1"}, "docker": "29.1.3", "daemon_json": None}, ()),
        (
            {"packages": {"nvidia-container-toolkit-base": "1.20.0-1"}, "docker_rows": SWARM},
            ("Docker is part of a swarm, where live-restore does not work.",),
        ),
        (
            {"packages": ALL_FOUR, "cdi": cdi_section([uuid_of(0)], "/etc/cdi/nvidia.yaml")},
            ("/etc/cdi/nvidia.yaml was made by hand: nothing renews it when the driver changes.",),
        ),
        ({"packages": ALL_FOUR, "docker": "24.0.7", "docker_rows": (*LIVE, "runtimes=nvidia"), "cdi": []}, ()),
    ],
)
def test_nothing_to_do(answers: dict[str, Any], remarks: tuple[str, ...]) -> None:
    """A host that hands out its GPUs is left alone; what a person should know is remarked."""
    assert RuntimePlan(remarks=remarks) == decide(answers)


DONE: list[tuple[dict[str, Any], RuntimePlan]] = [
    (
        NO_DOCKER,
        RuntimePlan(
            reasons=(
                "Docker is missing; debian 13 has 26.1.5+dfsg1-9+deb13u1 with Compose 2.26.1-4.",
                "CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so.",
                "NVIDIA's container toolkit is missing.",
                "There is no CDI specification of the GPUs.",
            ),
            engine="distribution",
            packages=("docker.io", "docker-cli", "docker-compose"),
            toolkit=(BASE,),
            daemon_json=MERGED,
            specification=True,
        ),
    ),
    (
        {**NO_DOCKER, "os": UBUNTU},
        RuntimePlan(
            reasons=(
                "Docker is missing; ubuntu 24.04 has 29.1.3-0ubuntu3~24.04.2 with Compose 2.40.3+ds1-0ubuntu1~24.04.1.",
                "NVIDIA's container toolkit is missing.",
                "There is no CDI specification of the GPUs.",
            ),
            engine="distribution",
            packages=("docker.io", "docker-compose-v2"),
            toolkit=(BASE,),
            specification=True,
        ),
    ),
    (
        {**NO_DOCKER, "os": DEBIAN_12, "packages": {"nvidia-container-toolkit-base": "1.20.0-1"}},
        RuntimePlan(
            reasons=(
                "Docker is missing; it comes from Docker's own repository.",
                "There is no CDI specification of the GPUs.",
            ),
            engine="docker",
            packages=("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin"),
            specification=True,
        ),
    ),
    (
        {**NO_DOCKER, "os": ROCKY, "tools": ("dnf",)},
        RuntimePlan(
            reasons=(
                "Docker is missing; it comes from Docker's own repository.",
                "NVIDIA's container toolkit is missing.",
                "There is no CDI specification of the GPUs.",
            ),
            engine="docker",
            packages=("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin"),
            toolkit=(BASE,),
            specification=True,
        ),
    ),
    (
        {"packages": ALL_FOUR, "daemon_json": '{"data-root": "/d"}'},
        RuntimePlan(
            reasons=("CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so.",),
            daemon_json='{\n  "data-root": "/d",\n  "features": {\n    "cdi": true\n  }\n}\n',
            restart="restart",
        ),
    ),
    (
        {"packages": {**ALL_FOUR, "docker.io": "26.1.5"}, "compose": None},
        RuntimePlan(reasons=("Docker Compose is missing; docker-compose brings it.",), packages=("docker-compose",)),
    ),
    (
        {"packages": {**ALL_FOUR, "docker-ce": "5:29.1.3-1"}, "docker": "29.1.3", "compose": None, "os": DEBIAN_12},
        RuntimePlan(
            reasons=("Docker Compose is missing; docker-compose-plugin brings it.",),
            packages=("docker-compose-plugin",),
        ),
    ),
    (
        {"docker": "24.0.7", "daemon_json": None, "packages": {"nvidia-container-toolkit-base": "1.20.0-1"}},
        RuntimePlan(
            reasons=(
                "Docker before 25 needs NVIDIA's runtime in /etc/docker/daemon.json.",
                "nvidia-container-toolkit, libnvidia-container-tools, libnvidia-container1 is missing: Docker "
                "before 25 needs the whole toolkit.",
            ),
            toolkit=ALL_PACKAGES,
            daemon_json=WITH_RUNTIME,
            restart="reload",
        ),
    ),
    (
        {"docker": "24.0.7", "daemon_json": WITH_RUNTIME, "packages": ALL_FOUR},
        RuntimePlan(
            reasons=("Docker has not read the runtime nvidia in /etc/docker/daemon.json yet.",), restart="reload"
        ),
    ),
    (
        {"packages": {"nvidia-container-toolkit-base": "1.17.8-1"}},
        RuntimePlan(
            reasons=(
                "NVIDIA's container toolkit 1.17.8 does not renew the CDI specification by itself; 1.18 is the "
                "first that does.",
            ),
            toolkit=(BASE,),
            specification=True,
        ),
    ),
    (
        {
            "packages": {**ALL_FOUR, "libnvidia-container1": "1.17.8-1"},
            "repositories": (
                "/etc/apt/sources.list.d/libnvidia-container.list: deb https://nvidia.github.io/x /",
                "/etc/apt/sources.list.d/nvidia-docker.list: deb https://nvidia.github.io/y /",
                "/etc/apt/sources.list.d/nvidia-docker.list: deb https://nvidia.github.io/z /",
                "/etc/apt/sources.list.d/cuda.list: deb https://developer.download.nvidia.com/ /",
            ),
        },
        RuntimePlan(
            reasons=(
                "The packages of NVIDIA's container toolkit are of several versions: 1.17.8, 1.20.0.",
                "/etc/apt/sources.list.d/libnvidia-container.list names NVIDIA's repository with another key: it "
                "is moved aside.",
                "/etc/apt/sources.list.d/nvidia-docker.list names NVIDIA's repository with another key: it is "
                "moved aside.",
            ),
            toolkit=ALL_PACKAGES,
            remove=(
                "/etc/apt/sources.list.d/libnvidia-container.list",
                "/etc/apt/sources.list.d/nvidia-docker.list",
            ),
            specification=True,
        ),
    ),
    (
        {"packages": ALL_FOUR, "cdi": cdi_section([uuid_of(7)])},
        RuntimePlan(
            reasons=(f"The CDI specification does not list {uuid_of(0)}.",),
            specification=True,
        ),
    ),
    (
        {"packages": ALL_FOUR, "cdi": [*cdi_section([uuid_of(0)]), "missing /usr/lib/libcuda.so.570.1"]},
        RuntimePlan(
            reasons=(
                "The CDI specification is stale: /var/run/cdi/nvidia.yaml names /usr/lib/libcuda.so.570.1, which "
                "is not there.",
            ),
            specification=True,
        ),
    ),
    (
        {
            "packages": ALL_FOUR,
            "cdi": [*cdi_section([uuid_of(0)], "/etc/cdi/nvidia.yaml"), *cdi_section([uuid_of(0)])],
        },
        RuntimePlan(
            reasons=(
                "/etc/cdi/nvidia.yaml, made by hand, names the same GPUs as /var/run/cdi/nvidia.yaml: it is moved "
                "aside.",
            ),
            remove=("/etc/cdi/nvidia.yaml",),
        ),
    ),
    (
        {"packages": ALL_FOUR, "cdi": cdi_section([uuid_of(7)], "/etc/cdi/nvidia.yaml")},
        RuntimePlan(
            reasons=(
                f"The CDI specification does not list {uuid_of(0)}.",
                "/etc/cdi/nvidia.yaml, made by hand, names the same GPUs as /var/run/cdi/nvidia.yaml: it is moved "
                "aside.",
            ),
            remove=("/etc/cdi/nvidia.yaml",),
            specification=True,
        ),
    ),
]
"""What a host answers, and what is done there."""


@pytest.mark.parametrize(("answers", "plan"), DONE)
def test_what_is_done(answers: dict[str, Any], plan: RuntimePlan) -> None:
    """Each thing that is not as it should be has its reason, and nothing else is done."""
    assert plan == decide(answers)


def test_driver_changes() -> None:
    """A change of driver renews the specification, also one that is good so far."""
    plan = decide({"packages": ALL_FOUR}, driver_changes=True)

    assert RuntimePlan(reasons=("The driver changes, and with it the CDI specification.",), specification=True) == plan


@pytest.mark.parametrize(
    ("probe", "reasons"),
    [
        (stopped(packages={**ALL_FOUR, "docker.io": "26.1.5"}), ("Docker is inactive, and is started.",)),
        (
            stopped("failed", "disabled", packages={**ALL_FOUR, "docker.io": "26.1.5"}),
            ("Docker is failed, and is started.", "Docker does not start at boot, and is enabled."),
        ),
        (stopped("active", packages={**ALL_FOUR, "docker.io": "26.1.5"}), ("Docker does not answer.",)),
    ],
)
def test_docker_is_started(probe: Probe, reasons: tuple[str, ...]) -> None:
    """A Docker that is there and does not run is started, and enabled where it was not."""
    assert RuntimePlan(reasons=reasons) == decide_runtime("gpu-1", make_spec(), probe, uuids=UUIDS)


def test_daemon_that_was_started_too_early() -> None:
    """A Docker that was started before its configuration got CDI is restarted; the file stays."""
    probe = make_probe(packages=ALL_FOUR)
    probe = probe.model_copy(update={"engine": probe.engine.model_copy(update={"cdi_folders": ()})})
    plan = decide_runtime("gpu-1", make_spec(), probe, uuids=UUIDS)

    assert plan == RuntimePlan(
        reasons=("CDI is off in the Docker that runs, which was started before it was on.",), restart="restart"
    )


@pytest.mark.parametrize(
    ("answers", "keys", "message"),
    [
        (
            NO_DOCKER,
            {"hermes_runtime": {"install": False}},
            "gpu-1: Docker is missing, and hermes_runtime/install is false. Install Docker 25 or newer with Compose "
            "2.26.1 or newer by hand, or set it to true, then run again.",
        ),
        (
            {**NO_DOCKER, "os": DEBIAN_12},
            {"hermes_runtime": {"source": "distribution"}},
            "gpu-1: debian 12 has no Docker of its own that knows CDI (25 or newer) and has Compose v2. Set "
            "hermes_runtime/source to 'docker' or 'auto', then run again.",
        ),
        (
            {**NO_DOCKER, "os": ("ID=sles", 'VERSION_ID="15.6"')},
            {},
            "gpu-1: Docker is missing, and there is none for sles 15.6 here. Install Docker 25 or newer with Compose "
            "2.26.1 or newer by hand, then run again.",
        ),
        (
            {"docker": "19.03.8"},
            {},
            "gpu-1: Docker 19.03.8 is older than 20.10, the oldest that Hermeion knows. Upgrade it, then run again.",
        ),
        (
            {"compose": "2.24.6+ds1-0ubuntu2", "os": UBUNTU},
            {},
            "gpu-1: Docker Compose 2.24.6+ds1-0ubuntu2 is older than 2.26.1, the oldest that Hermeion's Compose file "
            "was tried with. Upgrade docker-compose-v2, then run again.",
        ),
        (
            {"docker": "20.10.24+dfsg1", "compose": None, "os": DEBIAN_12},
            {},
            "gpu-1: Docker 20.10.24+dfsg1 is here without Compose, and debian 12 has no Compose v2 for it. Put Compose "
            "2.26.1 or newer into /usr/local/lib/docker/cli-plugins, or replace Docker by the one of Docker's "
            "repository, then run again.",
        ),
        (
            {"compose": None},
            {"hermes_runtime": {"install": False}},
            "gpu-1: Docker 26.1.5+dfsg1 is here without Compose, and hermes_runtime/install is false. Install "
            "docker-compose, or set it to true, then run again.",
        ),
        (
            {"compose": None, "packages": {"moby-engine": "25.0.3"}},
            {},
            "gpu-1: Docker 26.1.5+dfsg1 is here without Compose. Install Compose v2 from where moby-engine came from "
            "(moby-compose), then run again.",
        ),
        (
            {"docker_rows": ("rootless=yes",)},
            {},
            "gpu-1: the Docker that answers is a rootless one, and services of the system need Docker's own service. "
            "Take DOCKER_HOST or the context out of root's environment, then run again.",
        ),
        (
            {"docker_rows": ("active=active", "enabled=masked")},
            {},
            "gpu-1: docker.service is masked: somebody has switched it off for good. `systemctl unmask docker`, then "
            "run again.",
        ),
        (
            {"packages": {"nvidia-container-toolkit-base": "1.17.8-1"}, "held": ["nvidia-container-toolkit-base"]},
            {},
            "gpu-1: NVIDIA's container toolkit 1.17.8 does not renew the CDI specification by itself; 1.18 is the "
            "first that does. All of them are brought to 1.20.0, but nvidia-container-toolkit-base is held. `apt-mark "
            "unhold nvidia-container-toolkit-base`, then run again.",
        ),
        (
            {**NO_DOCKER, "tools": ("systemctl",)},
            {},
            "gpu-1: neither apt-get nor dnf is here to install docker.io, docker-cli, docker-compose, "
            f"{BASE}. Install them by hand, then run again.",
        ),
        (
            {"daemon_json": None, "containers": [RUNNING]},
            {},
            "gpu-1: CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so. Docker has to be "
            "restarted, which would stop the container other: live-restore is off. Add \"live-restore\": true to "
            "/etc/docker/daemon.json, `systemctl reload docker`, run again; or allow it with hermes_disrupt.",
        ),
        (
            {"daemon_json": None, "containers": [RUNNING], "docker_rows": SWARM},
            {},
            "gpu-1: CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so. Docker has to be "
            "restarted, which would stop the container other: live-restore does not work in a swarm. Drain this node, "
            "or allow it with hermes_disrupt.",
        ),
        (
            {"daemon_json": None, "containers": [RUNNING, OURS], "docker_rows": LIVE},
            {},
            "gpu-1: CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so. Docker has to be "
            "restarted, which would stop the containers other and hermeion-hermes: services of Hermeion stop with "
            "Docker. Allow it with hermes_disrupt.",
        ),
    ],
)  # fmt: skip
def test_refusals(answers: dict[str, Any], keys: dict[str, Any], message: str) -> None:
    """What cannot be done is refused before anything changes: host, evidence, next step."""
    with pytest.raises(PlacementError) as caught:
        decide(answers, **keys)

    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (
            {"podman-docker": "5.4.2"},
            "gpu-1: `docker` is Podman here (package podman-docker), which does not start what Hermeion writes for "
            "Docker Compose. Remove podman-docker, then run again; Podman itself may stay.",
        ),
        (
            {},
            "gpu-1: there is a `docker` command of no package that Hermeion knows, and no Docker answers. Start its "
            "daemon, or remove the command (podman-docker, Docker of a snap), then run again.",
        ),
    ],
)
def test_commands_that_are_not_docker(packages: dict[str, str], message: str) -> None:
    """A command that is called docker and is none is refused."""
    with pytest.raises(PlacementError) as caught:
        decide_runtime("gpu-1", make_spec(), stopped(packages=packages), uuids=UUIDS)

    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("answers", "keys", "remarks"),
    [
        ({"containers": [RUNNING], "docker_rows": LIVE}, {}, ()),
        ({"containers": [RUNNING.replace("running", "exited")]}, {}, ()),
        (
            {"containers": [RUNNING]},
            {"hermes_disrupt": True},
            ("Restarting Docker stops the container other; hermes_disrupt allows it.",),
        ),
    ],
)
def test_restarts_that_are_allowed(answers: dict[str, Any], keys: dict[str, Any], remarks: tuple[str, ...]) -> None:
    """With live-restore, without running containers, or with consent, Docker may be restarted."""
    plan = decide({"packages": ALL_FOUR, "daemon_json": None, **answers}, **keys)

    assert ("restart", remarks) == (plan.restart, plan.remarks)


def test_reload_stops_nothing() -> None:
    """A reload is no restart: containers without live-restore do not stand in its way."""
    plan = decide({"docker": "24.0.7", "daemon_json": None, "packages": ALL_FOUR, "containers": [RUNNING]})

    assert "reload" == plan.restart


@pytest.mark.parametrize(
    ("docker", "access"),
    [("20.10.24+dfsg1", "runtime"), ("24.0.9", "runtime"), ("25.0.0", "cdi"), ("29.1.3", "cdi"), (None, "cdi")],
)
def test_access(docker: str | None, access: str) -> None:
    """GPUs come by CDI, and by NVIDIA's runtime where Docker does not know it."""
    assert access == gpu_access(make_probe(docker=docker))


def test_access_of_a_stopped_docker() -> None:
    """A Docker that does not answer is judged by its package."""
    assert "runtime" == gpu_access(stopped(packages={"docker.io": "20.10.24+dfsg1-1"}))


HOOKED = {"containers": [RUNNING], "docker_rows": (*LIVE, f"gpus={'a1' * 32} runc nvidia,gpu,")}


def test_hooks_are_refused() -> None:
    """A reload of systemd would take the GPUs of containers that got them by hook: named, with the ways out."""
    with pytest.raises(PlacementError) as caught:
        check_hooks("gpu-1", make_spec(), make_probe(**HOOKED))

    assert (
        "gpu-1: the container other got GPUs by NVIDIA's hook, and would lose them when systemd is reloaded, which "
        "every installation does. Make them anew with CDI (`--device nvidia.com/gpu=all`) or stop them, then run "
        "again; or allow it with hermes_disrupt."
    ) == str(caught.value)


@pytest.mark.parametrize(
    ("answers", "keys"),
    [
        (HOOKED, {"hermes_disrupt": True}),
        ({"containers": [RUNNING], "docker_rows": (*LIVE, f"gpus={'a1' * 32} runc cdi,")}, {}),
        ({"containers": [OURS], "docker_rows": (*LIVE, f"gpus={'a2' * 32} nvidia ")}, {}),
        ({**HOOKED, "containers": [RUNNING.replace("running", "exited")]}, {}),
    ],
)
def test_hooks_that_do_not_matter(answers: dict[str, Any], keys: dict[str, Any]) -> None:
    """With consent, by CDI, by the runtime that our services use, or without a running container: no refusal."""
    check_hooks("gpu-1", make_spec(**keys), make_probe(**answers))


def applied(answers: dict[str, Any], plan: RuntimePlan) -> dict[str, Any]:
    """The answers of a host to which the plan was applied."""
    new: dict[str, Any] = {"packages": {"nvidia-container-toolkit-base": "1.18.0-1"}} | answers
    if plan.engine:
        new["docker"] = "26.1.5" if "docker-cli" in plan.packages else "29.1.3"
    if plan.packages:
        new["compose"] = "2.40.3"
        new["packages"] = {**new["packages"], **dict.fromkeys(plan.packages, "29.1.3")}
    new["packages"] = {**new["packages"], **dict(package.split("=") for package in plan.toolkit)}
    if plan.daemon_json is not None:
        new["daemon_json"] = plan.daemon_json
    if plan.restart == "reload":
        new["docker_rows"] = (*LIVE, "runtimes=nvidia")
    if plan.specification:
        new["cdi"] = cdi_section([uuid_of(0)])
    elif any(path.startswith("/etc/cdi/") for path in plan.remove):
        new["cdi"] = new["cdi"][len(new["cdi"]) // 2 :]
    new["repositories"] = [r for r in new.get("repositories", ()) if r.partition(": ")[0] not in plan.remove]
    return new


@pytest.mark.parametrize(("answers", "plan"), DONE)
def test_applied_plan_leaves_nothing(answers: dict[str, Any], plan: RuntimePlan) -> None:
    """On a host to which a plan was applied there is nothing left to do."""
    again = decide(applied(answers, plan))

    assert RuntimePlan(remarks=again.remarks) == again
