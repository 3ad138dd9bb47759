"""A driver that answers: left alone, brought to what the images need, or given what it lacks."""

from __future__ import annotations

from hermeion.drivers.case import Case, check_reboot, check_undisturbed, others
from hermeion.drivers.choice import check_held, choose, install_plan, purged
from hermeion.drivers.fabric import unsettled
from hermeion.drivers.installed import GUARD, MARKER, builds_module
from hermeion.drivers.remarks import remarks_of_driver
from hermeion.drivers.systems import UNSUFFIXED, exactly, find_system, headers_of, units_of
from hermeion.drivers.tables import breaks_build
from hermeion.drivers.ubuntu import signed_modules
from hermeion.drivers.versions import parse_version, upstream
from hermeion.plans import DriverPlan


def answering_plan(case: Case, version: str) -> DriverPlan:
    """What is decided about a driver that answers.

    Raises:
        PlacementError: It is too old and may not, or cannot, be replaced.
    """
    if unmet := case.unmet(version):
        words = f"driver {version} is healthy, but {unmet.subject} {unmet.words}"
        if not case.may.upgrade:
            raise case.refusal(
                f"{words}. Set hermes_driver/upgrade to True to move to {case.may.branch} (the host reboots), or "
                "choose an older image."
            )
        return replace_plan(case, words)
    if MARKER in case.probe.files:
        return install_plan(
            case, choose(case), "repair", f"a transaction of ours was cut off ({MARKER} is there)", finish=True
        )
    remarks = list(remarks_of_driver(case, version))
    fabric = fabric_plan(case, version)
    if isinstance(fabric, DriverPlan):
        return fabric.model_copy(update={"remarks": tuple(remarks)})
    kernel = kernel_plan(case, version)
    if isinstance(kernel, DriverPlan):
        return kernel.model_copy(update={"remarks": tuple(remarks)})
    graver = [words for words in (fabric, kernel) if words]
    return DriverPlan(
        action="leave alone",
        reason=f"driver {version} answers and is new enough",
        remarks=(*graver, *remarks),
        version=version,
    )


def replace_plan(case: Case, why: str) -> DriverPlan:
    """Another driver in place of the one that is there, which the inventory agreed to.

    Raises:
        PlacementError: It was not installed from packages, or something uses the GPUs.
    """
    installed = case.installed
    if installed.origin == "run file":
        raise case.refusal(
            f"{why}, and it was installed with NVIDIA's .run file ({installed.evidence}): packages would overwrite "
            "half of it. Run nvidia-uninstall, reboot, run again."
        )
    if installed.origin in {"unknown", None}:
        raise case.refusal(
            f"{why}, and no package owns it ({installed.evidence}). Remove it by the way it came, reboot, run again."
        )
    choice = choose(case)
    check_undisturbed(case, f"Moving to driver branch {choice.branch}")
    check_reboot(case, f"{why}, and branch {choice.branch} takes its place")
    module = case.probe.driver.module
    reboot = f"module {module} is loaded and gives way at a reboot only" if module else None
    return install_plan(case, choice, "upgrade", why, reboot=reboot, purge=purged(case, choice))


def _manager(case: Case, version: str) -> str:
    """Name of the fabric manager's package that belongs to a driver that is there."""
    branch = parse_version(version)[0]
    ubuntu = case.probe.os_id == "ubuntu"
    suffixed = ubuntu and (case.installed.origin == "ubuntu" or branch < UNSUFFIXED)
    return f"nvidia-fabricmanager-{branch}" if suffixed else "nvidia-fabricmanager"


def fabric_plan(case: Case, version: str) -> DriverPlan | str | None:
    """What a host with NVSwitches lacks: a plan, a remark while something runs that it would end, or ``None``.

    Without the fabric manager in exactly the driver's version CUDA says "system not yet initialized" (802), while
    nvidia-smi looks healthy.

    Raises:
        PlacementError: The driver came without packages, so no package of the fabric manager belongs to it.
    """
    if not case.fabric.manager:
        return None
    unit = case.probe.driver.units.get("nvidia-fabricmanager")
    packages = {n: v for n, v in case.probe.packages.items() if n.startswith("nvidia-fabricmanager")}
    other = next((f"{n} {upstream(v)}" for n, v in sorted(packages.items()) if upstream(v) != version), None)
    state = unsettled(case.probe)
    if other:
        why = f"{other} is installed beside driver {version}, and the fabric manager runs with its own version only"
    elif case.probe.fabric and state is None:
        return None
    elif unit is None:
        why = f"the GPUs are joined by NVSwitches and the fabric manager is missing: CUDA fails beside driver {version}"
    elif unit.active != "active":
        why = f"the GPUs are joined by NVSwitches and the fabric manager is {unit.active}"
    elif state:
        why = f"a GPU's fabric is {state!r}, not 'Completed'"
    else:
        return None
    if (case.probe.serving or others(case.probe)) and not case.spec.hermes_disrupt:
        return f"{why}; left as it is while something runs on the GPUs (hermes_disrupt lets it be repaired)"
    if case.installed.origin == "run file":
        raise case.refusal(
            f"{why}, and the driver was installed with NVIDIA's .run file ({case.installed.evidence}). Install the "
            f"fabric manager {version} by hand, then run again."
        )
    if find_system(case.probe) is None:
        raise case.refusal(f"{why}. Install the fabric manager {version} by hand, then run again.")
    check_held(case)
    names = [_manager(case, version)]
    return DriverPlan(
        action="repair",
        reason=why,
        branch=parse_version(version)[0],
        version=version,
        source="ubuntu" if case.installed.origin == "ubuntu" else "nvidia",
        packages=(*(exactly(name, version) for name in names), *(("nvlsm",) if case.fabric.subnet else ())),
        units=units_of(case.fabric),
    )


def kernel_plan(case: Case, version: str) -> DriverPlan | str | None:
    """What the next boot lacks: a plan for a driver that Hermeion installed, a remark for another's, or ``None``."""
    driver, newest = case.probe.driver, case.probe.driver.newest_kernel
    if newest is None or newest.release == case.probe.kernel or newest.module:
        return None
    why = f"no NVIDIA module is there for kernel {newest.release}: after the next reboot no driver would answer"
    system = find_system(case.probe)
    signed = signed_modules(system.release, newest.release, case.probe.packages) if system else None
    is_signed = case.installed.origin == "ubuntu" and any(
        name.startswith("linux-modules-nvidia") for name in case.installed.packages
    )
    if not is_signed and driver.flavour == "open" and breaks_build(newest.release, version):
        return (
            f"{why}, and the open module {version} does not compile against it (pci_resize_resource changed). Move to "
            "driver 580.126.09 or newer before the host reboots"
        )
    source = case.installed.source
    if GUARD not in case.probe.files or system is None or source is None:
        return f"{why}. Install its headers ({headers_name(case, newest.release)}) and let DKMS build the module"
    if is_signed and signed:
        branch = next(
            name.removeprefix("linux-modules-nvidia-").split("-server")[0]
            for name in case.installed.packages
            if name.startswith("linux-modules-nvidia-")
        )
        flavour = "-open" if driver.flavour == "open" else ""
        packages: tuple[str, ...] = (f"linux-modules-nvidia-{branch}-server{flavour}-{signed}",)
    else:
        # The module's package, at the version that is there, makes the transaction look at what DKMS has built.
        modules = [name for name in case.installed.packages if builds_module(name)]
        packages = (headers_of(system, newest.release), *(exactly(name, version) for name in modules))
    return DriverPlan(
        action="repair",
        reason=why,
        branch=parse_version(version)[0],
        version=version,
        source=source,
        packages=packages,
        units=units_of(case.fabric),
    )


def headers_name(case: Case, kernel: str) -> str:
    """Package with the headers of a kernel, on a system of any kind."""
    return f"linux-headers-{kernel}" if "apt-get" in case.probe.tools else f"kernel-devel-{kernel}"
