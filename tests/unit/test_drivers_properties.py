"""What holds for every host: bounds, and that a plan once applied is not made again."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hermeion.drivers import Need, decide_driver
from hermeion.drivers.requirements import requirements_of
from hermeion.drivers.tables import branches
from hermeion.drivers.versions import covers, parse_version
from hermeion.errors import PlacementError
from hermeion.gpus import gpu_models
from hermeion.hosts import reconcile
from hermeion.inventory import parse_host_spec
from hermeion.plans import DriverPlan
from tests.unit.builders import NAME
from tests.unit.driver_cases import GUARDED, host_probe

IDS = sorted(pci_id for pci_id in gpu_models() if ":" not in pci_id)
SYSTEMS: tuple[dict[str, Any], ...] = (
    {"os": ("ID=debian", 'VERSION_ID="13"'), "kernel": "6.12.120+deb13-amd64"},
    {"os": ("ID=debian", 'VERSION_ID="12"'), "kernel": "6.1.0-40-amd64"},
    {"os": ("ID=ubuntu", 'VERSION_ID="22.04"'), "kernel": "5.15.0-100-generic"},
    {"os": ("ID=ubuntu", 'VERSION_ID="24.04"'), "kernel": "6.8.0-51-generic"},
    {"os": ("ID=ubuntu", 'VERSION_ID="26.04"'), "kernel": "7.0.0-14-generic"},
    {"os": ("ID=rocky", 'VERSION_ID="9.6"'), "kernel": "5.14.0-570.el9.x86_64", "tools": ("curl", "systemctl", "dnf")},
    {"os": ("ID=rhel", 'VERSION_ID="10.0"'), "kernel": "6.12.0-55.el10.x86_64", "tools": ("systemctl", "dnf")},
)
IMAGES = (
    Need(service="a", image="i:13", cuda=(13, 0), branch=580, reason="needs CUDA 13.0 (driver 580 or newer)"),
    Need(service="a", image="i:12", cuda=(12, 9), branch=525, reason="needs CUDA 12.9 (driver 525 or newer)"),
    Need(service="a", image="i:590", cuda=None, branch=590, reason="needs driver 590 or newer"),
)
hosts = st.fixed_dictionaries(
    {
        "gpus": st.lists(st.sampled_from(IDS), min_size=1, max_size=4),
        "system": st.sampled_from(SYSTEMS),
        "branch": st.sampled_from([580, 595]),
        "source": st.sampled_from(["auto", "nvidia", "distribution"]),
        "need": st.sampled_from(IMAGES),
        "switches": st.booleans(),
        "nouveau": st.booleans(),
    }
)


def applied(plan: DriverPlan, answers: dict[str, Any]) -> dict[str, Any]:
    """The host after the plan: a driver that answers, its packages, the guard, the fabric."""
    version = {580: "580.178.04", 595: "595.99.02", 550: "550.163.01", 535: "535.309.01"}[plan.branch or 580]
    kernel = answers["kernel"]
    revision = "0ubuntu0.24.04.1" if plan.source == "ubuntu" else "1"
    packages = {
        name.split("=")[0]: f"{version}-{revision}"
        for name in plan.packages
        if ":" not in name and not name.startswith(("linux-headers", "kernel-", "dkms", "infiniband", "nvlsm"))
    }
    licence = "Dual MIT/GPL" if plan.flavour == "open" else "NVIDIA"
    rows = [
        f"module={version}",
        f"flavour={plan.flavour}",
        f"library={version}",
        f"kernel={kernel} yes {version} {licence}",
    ]
    rows += [f"unit={unit} enabled active" for unit in plan.units]
    return {
        **answers,
        "driver": version,
        "packages": packages,
        "driver_rows": rows,
        "files": GUARDED,
        "fabric": ["Completed"] * len(answers["gpus"]) if answers["more_pci"] else [],
    }


@settings(max_examples=300, deadline=None)
@given(hosts)
def test_chosen_lies_between_the_bounds(case: dict[str, Any]) -> None:
    """For every host: lo ≤ chosen ≤ hi and the right flavour, or a refusal that names a GPU, an image or the system;
    and asked again after the plan was applied, the driver is left alone.
    """
    answers: dict[str, Any] = {
        **case["system"],
        "driver": None,
        "packages": {},
        "gpus": case["gpus"],
        "more_pci": ["0000:85:00.0 0x22a3 0x068000"] if case["switches"] else [],
    }
    spec = parse_host_spec(NAME, {"hermes_driver": {"branch": case["branch"], "source": case["source"]}})
    probe = host_probe(nouveau=case["nouveau"], **answers)
    try:
        plan = decide_driver(spec, reconcile(NAME, probe), probe, [case["need"]])
    except PlacementError as error:
        words = str(error)
        assert words.startswith(f"{NAME}: ")
        assert any(
            part in words for part in ("(10de:", case["need"].image, "nvlsm", "Ubuntu 26.04", "no NVIDIA driver of its")
        ), words
        return

    asked = requirements_of(NAME, probe, [case["need"]])
    latest = parse_version(branches()[plan.branch or 0].latest)
    assert "install" == plan.action
    assert all(covers(bound.minima, latest) for bound in (*asked.gpus, *asked.images))
    assert not asked.old or (plan.branch or 0) <= 580
    assert plan.flavour == asked.flavour or plan.source == "debian"
    assert bool(plan.reboot) == case["nouveau"]

    again = host_probe(**applied(plan, answers))
    assert "leave alone" == decide_driver(spec, reconcile(NAME, again), again, [case["need"]]).action


@settings(max_examples=100, deadline=None)
@given(hosts, st.sampled_from(["535.309.01", "550.163.01", "575.57.08", "580.178.04", "595.99.02"]))
def test_driver_that_answers_is_kept_or_refused(case: dict[str, Any], version: str) -> None:
    """Without consent nothing is changed under a driver that answers: it stays, or is refused with the image's name."""
    answers = {**case["system"], "gpus": case["gpus"], "driver": version}
    spec = parse_host_spec(NAME, {})
    probe = host_probe(**answers)
    try:
        plan = decide_driver(spec, reconcile(NAME, probe), probe, [case["need"]])
    except PlacementError as error:
        assert case["need"].image in str(error) or "different kernel modules" in str(error), str(error)
        assert parse_version(version)[0] < case["need"].branch or "different kernel modules" in str(error)
        return

    # A host with HGX B200 or B300 and no fabric manager is the exception: CUDA does not work on it.
    if not {"2901", "2909", "3182"} & set(case["gpus"]):
        assert "leave alone" == plan.action
    assert parse_version(version)[0] >= case["need"].branch
