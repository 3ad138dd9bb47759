"""Which stages of a host are pending, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hermeion.errors import PlacementError
from hermeion.planner import make_plan
from hermeion.plans import Plan
from hermeion.probe import parse_probe
from hermeion.resources import share
from hermeion.stages import find_stages
from tests.unit.builders import (
    DIGEST,
    NAME,
    RTX_4090,
    TEMPLATES,
    bare_text,
    converged_answers,
    file_row,
    final_plan,
    make_probe,
    make_spec,
    uuid_of,
)

CA = "-----BEGIN CERTIFICATE-----\nMII\n"
MIRRORS = {"registry": "mirror:5000", "ca": "ca.pem"}
CA_PATHS = ("/etc/hermeion/ca.pem", "/etc/docker/certs.d/mirror:5000/ca.crt")

Answers = dict[str, Any]


def converged() -> tuple[Plan, Answers]:
    """A plan with a mirror, and the answers of a host that is as it says."""
    plan = final_plan(hermes_mirrors=MIRRORS)
    answers = converged_answers(plan)
    answers["files"] += [file_row(path, CA) for path in CA_PATHS]
    answers["packages"] = {"nvidia-container-toolkit-base": "1.20.0-1"}
    return plan, answers


def pending(plan: Plan, answers: Answers) -> dict[str, tuple[str, ...]]:
    """Pending stages of a host with these answers, compared with this plan."""
    spec = make_spec(hermes_mirrors=MIRRORS)
    return find_stages(spec, plan, make_probe(**answers), templates=TEMPLATES, ca=CA).pending


def test_converged_host() -> None:
    """A host that is as planned has nothing to do."""
    assert {} == pending(*converged())


def without(key: str, part: str) -> Callable[[Answers], None]:
    """Takes the rows with ``part`` away."""

    def change(answers: Answers) -> None:
        rows = [row for row in answers[key] if part not in row]
        assert len(rows) < len(answers[key])
        answers[key] = rows

    return change


def replaced(key: str, old: str, new: str) -> Callable[[Answers], None]:
    """Replaces a text in the rows."""

    def change(answers: Answers) -> None:
        rows = [row.replace(old, new) for row in answers[key]]
        assert rows != answers[key]
        answers[key] = rows

    return change


def says(**values: Any) -> Callable[[Answers], None]:
    """Sets answers as a whole."""
    return lambda answers: answers.update(values)


def edited(path: str) -> Callable[[Answers], None]:
    """A file that someone edited by hand."""

    def change(answers: Answers) -> None:
        without("files", f" {path}")(answers)
        answers["files"].append(file_row(path, "edited"))

    return change


UNIT = "hermeion-hermes.service"
FOREIGN = ("models--me--other@abc damaged", "blob models--me--other 1073741824 cd")
"""What the probe says of weights that no service wants."""

RELEASE = final_plan(hermes_mirrors=MIRRORS).services[0].release_id
CURRENT = "/opt/hermeion/hermes/current"


@pytest.mark.parametrize(
    ("change", "stage", "reason"),
    [
        (says(packages={}), "runtime", "NVIDIA's container toolkit is missing"),
        (says(cdi=[]), "runtime", "There is no CDI specification of the GPUs"),
        (
            says(cdi=["spec /var/run/cdi/nvidia.yaml", "device all", "device 0"]),
            "runtime",
            f"The CDI specification does not list {uuid_of(0)}",
        ),
        (without("files", CA_PATHS[0]), "runtime", f"{CA_PATHS[0]} differs"),
        (edited(CA_PATHS[1]), "runtime", f"{CA_PATHS[1]} differs"),
        (says(weights=[]), "cache", "hermes-3-8b-bf16 is missing"),
        (replaced("weights", "complete", "damaged"), "cache", "hermes-3-8b-bf16 is damaged"),
        (
            says(weights=["blob models--NousResearch--Hermes-3-Llama-3.1-8B 3221225472 ab.incomplete", *FOREIGN]),
            "cache",
            "hermes-3-8b-bf16 is missing (3.0 GiB of its repository are there)",
        ),
        (says(images=[]), "service", f"hermes: image {DIGEST} is missing"),
        *(
            (change, "service", f"hermes: {CURRENT}/{name} was changed")
            for name in ("assemble.sh", "compose.yaml", "engine.yaml", "plan.json", UNIT)
            for change in (edited(f"{CURRENT}/{name}"), without("files", f"{CURRENT}/{name}"))
        ),
        (edited(f"/etc/systemd/system/{UNIT}"), "service", f"hermes: /etc/systemd/system/{UNIT} was changed"),
        (
            without("files", "api-keys"),
            "service",
            "hermes: /etc/hermeion/hermes/api-keys is missing or open to others",
        ),
        (
            replaced("files", "600 0:0", "644 0:0"),
            "service",
            "hermes: /etc/hermeion/hermes/api-keys is missing or open to others",
        ),
        (says(units=[]), "service", "hermes: the unit is missing"),
        (replaced("units", "ActiveState=active", "ActiveState=failed"), "service", "hermes: the unit is failed"),
        (replaced("units", "=enabled", "=disabled"), "service", "hermes: the unit is disabled"),
        (says(containers=[]), "service", f"hermes: no container of release {RELEASE} is running"),
        (
            replaced("containers", "running", "exited"),
            "service",
            f"hermes: no container of release {RELEASE} is running",
        ),
        (
            replaced("containers", RELEASE, "0123456789ab"),
            "service",
            f"hermes: no container of release {RELEASE} is running",
        ),
        (
            replaced("releases", f"releases/{RELEASE}", "releases/0123456789ab"),
            "service",
            f"hermes: release {RELEASE} is planned, 0123456789ab is current",
        ),
        (says(releases=[]), "service", f"hermes: release {RELEASE} is planned, none is current"),
    ],
)
def test_one_change_is_one_reason(change: Callable[[Answers], None], stage: str, reason: str) -> None:
    """Each single thing that is not as planned turns exactly one reason on."""
    plan, answers = converged()
    change(answers)

    assert {stage: (reason,)} == pending(plan, answers)


def test_unit_that_restarts() -> None:
    """A unit between two starts is not running."""
    plan, answers = converged()
    replaced("units", "SubState=running", "SubState=auto-restart")(answers)

    assert ["service"] == list(pending(plan, answers))


def test_docker_that_does_not_answer() -> None:
    """Without Docker, all that it holds is missing too."""
    plan, answers = converged()
    answers |= {"docker": None, "compose": None, "images": [], "containers": []}

    assert {
        "runtime": ("Docker is missing; debian 13 has 26.1.5+dfsg1-9+deb13u1 with Compose 2.26.1-4",),
        "service": (
            f"hermes: image {DIGEST} is missing",
            f"hermes: no container of release {RELEASE} is running",
        ),
    } == pending(plan, answers)


def test_bare_host() -> None:
    """On a bare host every stage is pending, in the order in which they are applied."""
    spec = make_spec()
    probe = parse_probe(bare_text().splitlines())
    stages = find_stages(spec, make_plan(NAME, spec, probe), probe, templates=TEMPLATES, ca=None)

    assert {
        "driver": ("no driver answers; branch 580 (LTS) with the open kernel module",),
        "runtime": (
            "Docker is missing; debian 13 has 26.1.5+dfsg1-9+deb13u1 with Compose 2.26.1-4",
            "CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so",
            "NVIDIA's container toolkit is missing",
            "The driver changes, and with it the CDI specification",
        ),
        "cache": ("hermes-3-8b-bf16 is missing",),
        "service": ("hermes: not deployed yet",),
    } == stages.pending
    assert ["driver", "runtime", "cache", "service"] == list(stages.pending)


def test_nothing_wanted() -> None:
    """Where no service is wanted, Docker and weights are nobody's business."""
    spec = make_spec(hermes_services=[])
    probe = make_probe(docker=None, compose=None)
    stages = find_stages(spec, make_plan(NAME, spec, probe), probe, templates=TEMPLATES, ca=None)

    assert {} == stages.pending


def test_only_the_service_that_differs_is_named() -> None:
    """Of two services the one that is not as planned is named; the other is left alone."""
    one = {"name": "one", "model": "hermes-3-3b", "port": 8001}
    two = {"name": "two", "model": "hermes-3-3b", "port": 8002}
    plan = final_plan(one, two, gpus=(RTX_4090, RTX_4090))
    answers = converged_answers(plan)
    answers["containers"] = [row for row in answers["containers"] if " two " not in row]
    spec = make_spec(one, two)
    probe = make_probe((RTX_4090, RTX_4090), **answers)
    stages = find_stages(spec, make_plan(NAME, spec, probe), probe, templates=share("templates"), ca=None)

    release = plan.services[1].release_id
    assert ("two",) == stages.services
    assert {"service": (f"two: no container of release {release} is running",)} == stages.pending


def test_weights_of_two_services() -> None:
    """What two services share is one thing to do."""
    wanted = [{"name": name, "model": "hermes-3-3b", "port": port} for name, port in (("one", 8001), ("two", 8002))]
    plan = final_plan(*wanted, gpus=(RTX_4090, RTX_4090))
    probe = make_probe((RTX_4090, RTX_4090), **converged_answers(plan) | {"weights": []})
    stages = find_stages(make_spec(*wanted), plan, probe, templates=TEMPLATES, ca=None)

    assert {"cache": ("hermes-3-3b-bf16 is missing",)} == stages.pending


@pytest.mark.parametrize("name", ["guard.sh", "launch.sh"])
def test_scripts_of_a_native_service(name: str) -> None:
    """A native service's guard belongs to its release: who edits it or takes it away is found out."""
    wanted = {"name": "hermes", "model": "hermes-3-8b", "runtime": "systemd"}
    plan = final_plan(wanted)
    answers = converged_answers(plan)
    without("files", f"{CURRENT}/{name}")(answers)
    stages = find_stages(make_spec(wanted), plan, make_probe(**answers), templates=TEMPLATES, ca=None)

    assert {"service": (f"hermes: {CURRENT}/{name} was changed",)} == stages.pending


def test_what_must_not_be_is_refused() -> None:
    """A restart of Docker under a service of ours is refused before anything is done, and allowed by one key."""
    plan, answers = converged()
    answers["daemon_json"] = None
    with pytest.raises(PlacementError) as caught:
        pending(plan, answers)

    assert (
        "gpu-1: CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so. Docker has to be restarted, "
        "which would stop the container hermeion-hermes: services of Hermeion stop with Docker. Allow it with "
        "hermes_disrupt." == str(caught.value)
    )
    spec = make_spec(hermes_mirrors=MIRRORS, hermes_disrupt=True)
    stages = find_stages(spec, plan, make_probe(**answers), templates=TEMPLATES, ca=CA)
    assert {"runtime": ("CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so",)} == stages.pending
    assert ("Restarting Docker stops the container hermeion-hermes; hermes_disrupt allows it",) == stages.remarks


def test_hooks_stop_every_change() -> None:
    """While somebody's container has its GPU by NVIDIA's hook nothing is done; with nothing to do nobody cares."""
    plan, answers = converged()
    answers["containers"].append("c1 legacy running - -")
    answers["docker_rows"] = ["gpus=c1 nvidia ", "active=active", "enabled=enabled", "swarm=inactive"]
    assert {} == pending(plan, answers)
    answers["weights"] = []
    with pytest.raises(PlacementError) as caught:
        pending(plan, answers)

    assert (
        "gpu-1: the container legacy got GPUs by NVIDIA's hook, and would lose them when systemd is reloaded, which "
        "every installation does. Make them anew with CDI (`--device nvidia.com/gpu=all`) or stop them, then run "
        "again; or allow it with hermes_disrupt." == str(caught.value)
    )


NATIVE = {"name": "hermes", "model": "hermes-3-8b", "runtime": "systemd"}


def natively(**changes: Any) -> dict[str, tuple[str, ...]]:
    """Pending stages of a host without Docker on which a native service is as planned, but for changed answers."""
    plan = final_plan(NATIVE)
    bare: dict[str, Any] = {"docker": None, "compose": None, "daemon_json": None, "packages": {}, "cdi": []}
    answers = converged_answers(plan) | bare | changes
    return find_stages(make_spec(NATIVE), plan, make_probe(**answers), templates=TEMPLATES, ca=None).pending


def unit_row(**changes: str) -> list[str]:
    """What the probe says of the service's unit."""
    service = final_plan(NATIVE).services[0]
    values = {"NRestarts": "0", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
    values |= {"NeedDaemonReload": "no", "release": service.release_id} | changes
    return [" ".join([service.unit, *(f"{key}={value}" for key, value in values.items())])]


def test_native_service_needs_no_docker() -> None:
    """A host whose services run natively has nothing to do without Docker, toolkit and CDI."""
    assert {} == natively()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engines": []}, "hermes: engine {identity} is missing"),
        ({"units": unit_row(release="000000000000")}, "hermes: no process of release {release} is running"),
        ({"units": unit_row(ActiveState="failed", SubState="failed")}, "hermes: the unit is failed"),
        (
            {"units": unit_row(ActiveState="failed", SubState="failed", NRestarts="5")},
            "hermes: the unit is failed (systemd gave up: its engine died at 5 starts within an hour)",
        ),
    ],
)
def test_one_change_of_a_native_service(changes: dict[str, Any], reason: str) -> None:
    """Each single thing that is not as planned is one reason."""
    service = final_plan(NATIVE).services[0]
    assert service.package

    text = reason.format(identity=service.package.identity, release=service.release_id)
    assert {"service": (text,)} == natively(**changes)
