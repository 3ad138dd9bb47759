"""Which driver is installed: branch, flavour, source, packages."""

from __future__ import annotations

from hermeion.drivers.case import Case
from hermeion.drivers.installed import is_driver
from hermeion.drivers.requirements import check_branch, first_unmet
from hermeion.drivers.systems import Choice, Source, System, find_system, packages_of, signed_for, units_of
from hermeion.drivers.tables import Archive, archives, branches
from hermeion.drivers.versions import parse_version
from hermeion.plans import DriverPlan

NAMES = {"ubuntu": "Ubuntu", "debian": "Debian", "rhel": "Red Hat"}

NOT_BUILT = frozenset({("ubuntu", "26.04", 580)})
"""What NVIDIA's repositories do not have (NVIDIA/gpu-driver-container builds no 580 for Ubuntu 26.04)."""


def _archive(system: System, branch: int | None) -> Archive | None:
    rows = [row for row in archives() if (row.system, row.release) == (system.family, system.release)]
    return next((row for row in rows if branch in {None, row.branch}), None)


def _ubuntu_lacks(case: Case, system: System, branch: int) -> str | None:
    """What stands against Ubuntu's own packages, as a clause, or ``None``."""
    lowest = check_branch(case.name, case.requirements, branch)
    archive = _archive(system, branch)
    if archive is None or parse_version(archive.version) < lowest:
        newest = f"has driver {archive.version}" if archive else f"has no driver {branch}"
        bound = first_unmet(case.requirements.gpus, parse_version(archive.version)) if archive else None
        return f"Ubuntu's archive {newest}{f', and {bound.subject} {bound.words}' if bound else ''}"
    if case.fabric.subnet:
        return "Ubuntu's archive has no nvlsm, which the NVSwitches of HGX B200 and B300 need"
    if system.machine != "x86_64":
        return "Ubuntu's packages for aarch64 have not been compared with what Hermeion asks for"
    return None


def _debian_choice(case: Case, system: System) -> Choice:
    archive = _archive(system, None)
    if archive is None:  # pragma: no cover - the table has a row for each release
        raise case.refusal("Debian's archive has no driver here. Set hermes_driver/source to nvidia.")
    unmet = first_unmet((*case.requirements.images, *case.requirements.gpus), parse_version(archive.version))
    if unmet:
        raise case.refusal(
            f"Debian's own driver is {archive.version}, and {unmet.subject} {unmet.words}. "
            "Set hermes_driver/source to nvidia."
        )
    if case.requirements.flavour == "open" and case.requirements.flavour_for:
        raise case.refusal(
            f"{case.requirements.flavour_for} needs the open kernel module, and Debian's own does not compile against "
            "Debian's kernels. Set hermes_driver/source to nvidia."
        )
    return Choice(system=system, source="debian", branch=archive.branch, flavour="proprietary", fabric=case.fabric)


def choose(case: Case) -> Choice:
    """What is installed where something has to be.

    Raises:
        PlacementError: Nothing fits the system, the GPUs and the images; the message names what does not.
    """
    branch, wanted = case.may.branch, case.may.source
    system = find_system(case.probe)
    if system is None:
        probe = case.probe
        raise case.refusal(
            "drivers are installed on Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04, and Red Hat Enterprise Linux 8 "
            "to 10 and its relatives (on aarch64: Ubuntu 22.04 and 24.04, and Red Hat's); this is "
            f"{probe.os_id} {probe.os_version} ({probe.machine}). Install driver {branch} by hand, reboot, run again."
        )
    if system.family == "rhel" and wanted == "distribution":
        raise case.refusal(
            f"{case.probe.os_id} has no NVIDIA driver of its own, and hermes_driver/source is distribution. Set it to "
            "nvidia."
        )
    if system.family == "debian" and wanted == "distribution":
        return _debian_choice(case, system)
    check_branch(case.name, case.requirements, branch)
    source: Source = "nvidia"
    if system.family == "ubuntu" and wanted != "nvidia":
        lacks = _ubuntu_lacks(case, system, branch)
        if lacks and wanted == "distribution":
            raise case.refusal(f"{lacks}. Set hermes_driver/source to nvidia.")
        source = "nvidia" if lacks else "ubuntu"
    if source == "nvidia" and (system.family, system.release, branch) in NOT_BUILT:
        raise case.refusal(
            f"NVIDIA's repository has no driver {branch} for {NAMES[system.family]} {system.release}. Set "
            "hermes_driver/branch to 595, or hermes_driver/source to distribution."
        )
    return Choice(
        system=system,
        source=source,
        branch=branch,
        flavour=case.requirements.flavour,
        fabric=case.fabric,
        signed=signed_for(system, source, case.probe),
    )


def check_secure_boot(case: Case, choice: Choice) -> None:
    """Whether the firmware lets the module in.

    Raises:
        PlacementError: It would not, and nobody can enrol a key from afar.
    """
    if not case.probe.secure_boot or choice.signed or case.probe.mok_enrolled:
        return
    if choice.system.family == "ubuntu":
        advice = "Turn Secure Boot off, enrol DKMS's key by hand (mokutil --import /var/lib/shim-signed/mok/MOK.der)"
        advice += ", or boot a kernel that Ubuntu has signed modules for (generic) with hermes_driver/source auto."
    else:
        advice = "Turn Secure Boot off, enrol DKMS's key by hand (mokutil --import /var/lib/dkms/mok.pub), or install "
        advice += "a signed driver by hand."
    raise case.refusal(
        "Secure Boot is on and a module built by DKMS is not signed for this firmware; enrolling a key needs a "
        f"password at the console. {advice}"
    )


def check_held(case: Case) -> None:
    """Whether the package manager may change the driver's packages.

    Raises:
        PlacementError: Some are held.
    """
    held = sorted(name for name in case.probe.held_packages if is_driver(name))
    if held:
        raise case.refusal(
            f"the driver has to change, and its packages are held: {', '.join(held[:5])}. Release them "
            f"(apt-mark unhold {' '.join(held)}), then run again."
        )


def install_plan(
    case: Case,
    choice: Choice,
    action: str,
    why: str,
    *,
    reboot: str | None = None,
    purge: tuple[str, ...] = (),
    finish: bool = False,
) -> DriverPlan:
    """The plan that brings the chosen driver onto the host.

    Args:
        why: What is the matter, before what is done about it.

    Raises:
        PlacementError: Secure Boot or held packages stand against it.
    """
    check_secure_boot(case, choice)
    check_held(case)
    kind = branches()[choice.branch].type
    where = {"ubuntu": ", from Ubuntu's archive", "debian": ", from Debian's archive", "nvidia": ""}[choice.source]
    return DriverPlan.model_validate(
        {
            "action": action,
            "reason": f"{why}; branch {choice.branch} ({kind}) with the {choice.flavour} kernel module{where}",
            "branch": choice.branch,
            "flavour": choice.flavour,
            "source": choice.source,
            "packages": packages_of(choice, case.probe.kernel),
            "units": units_of(choice.fabric),
            "purge": purge,
            "finish": finish,
            "reboot": reboot,
        }
    )


def purged(case: Case, choice: Choice) -> tuple[str, ...]:
    """Packages of another source, which stand in the way of the chosen one's."""
    return case.installed.packages if case.installed.origin not in {choice.source, None} else ()
