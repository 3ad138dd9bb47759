"""A driver that does not answer, or none: what is the matter, and what is done about it."""

from __future__ import annotations

import re

from hermeion.drivers.answering import replace_plan
from hermeion.drivers.case import Case, check_reboot, check_undisturbed, reboot_plan
from hermeion.drivers.choice import check_secure_boot, choose, install_plan
from hermeion.drivers.systems import UNSUFFIXED, Choice, exactly, purge_command
from hermeion.drivers.tables import breaks_build
from hermeion.drivers.versions import parse_version
from hermeion.plans import DriverPlan

NOT_FOUND, NO_DEVICES, NO_LIBRARY, MISMATCH = 127, 6, 12, 18
"""Exit statuses of ``nvidia-smi``, the shell's own first (RETURN VALUE in its manual)."""


def silent_plan(case: Case) -> DriverPlan:
    """What is decided where no driver answers.

    Raises:
        PlacementError: Nothing can or may be done; the message names the evidence and the next step.
    """
    probe, installed = case.probe, case.installed
    if case.mismatch or probe.smi_status == MISMATCH:
        module, library = probe.driver.module, probe.driver.library
        words = f"kernel module {module}, libraries {library}: an upgrade ran without a reboot"
        return reboot_plan(case, words, f"module {module} and libraries {library} differ", library)
    if probe.smi == () or probe.smi_status == NO_DEVICES:
        return _no_devices(case)
    if installed.origin == "run file":
        raise case.refusal(
            f"driver {installed.version or ''} was installed with NVIDIA's .run file ({installed.evidence}) and does "
            "not answer; packages would overwrite half of it. Run nvidia-uninstall, reboot, run again; or repair it."
        )
    if installed.origin is None:
        return _nothing_there(case)
    if installed.origin == "unknown":
        raise case.refusal(
            f"a driver that no package owns does not answer ({installed.evidence}; nvidia-smi: "
            f"{_words(case) or f'status {probe.smi_status}'}). Remove it by the way it came, reboot, run again."
        )
    return _packages_there(case)


def _words(case: Case) -> str:
    """The first sentence of what nvidia-smi says."""
    return case.probe.smi_text.strip().partition(". ")[0][:160].rstrip(".")


def _nothing_there(case: Case) -> DriverPlan:
    probe = case.probe
    if not case.may.install:
        raise case.refusal(
            "no NVIDIA driver answers and hermes_driver/install is False. Install one by hand or set it to True."
        )
    choice = choose(case)
    check_secure_boot(case, choice)
    check_reboot(case, "no driver is loaded")
    nouveau = [gpu.address for gpu in probe.gpus if gpu.driver == "nouveau"]
    reboot = f"nouveau holds {', '.join(nouveau)} and lets go at a reboot only" if nouveau else None
    if reboot:
        check_undisturbed(case, "A reboot")
    return install_plan(case, choice, "install", "no driver answers", reboot=reboot)


def _packages_there(case: Case) -> DriverPlan:
    """Packages of a driver are installed, and it does not answer."""
    probe, installed = case.probe, case.installed
    version = installed.version or ""
    choice = choose(case)
    if installed.origin != choice.source:
        names = [name for name in installed.packages if name.startswith(("nvidia-smi", "libnvidia-"))]
        first = (names or list(installed.packages))[0]
        raise case.refusal(
            f"{', '.join((names or list(installed.packages))[:3])} from another source is installed and no driver "
            f"answers. Purge it ({purge_command(probe.os_id, first)}) or make it work, then run again."
        )
    if unmet := case.unmet(version):
        words = f"driver {version} is installed and does not answer, and {unmet.subject} {unmet.words}"
        if not case.may.upgrade:
            raise case.refusal(f"{words}. Set hermes_driver/upgrade to True to move to {choice.branch}.")
        return replace_plan(case, words)
    if probe.driver.module and probe.smi_status in {NOT_FOUND, NO_LIBRARY}:
        return _incomplete(case, choice, probe.driver.module)
    check_secure_boot(case, choice)
    return _not_loaded(case, version)


LIBRARIES = re.compile(r"libnvidia-(ml1|compute)|nvidia-driver-cuda-libs|nvidia-libs")
"""Packages that have ``libnvidia-ml.so.1``."""


def _incomplete(case: Case, choice: Choice, module: str) -> DriverPlan:
    """The module is loaded and the tool or the library is missing: both are brought back in the module's version.

    In any other version everything would fail until a reboot.
    """
    gone = "nvidia-smi" if case.probe.smi_status == NOT_FOUND else "libnvidia-ml.so"
    server = f"{parse_version(module)[0]}-server"
    utils = {
        "ubuntu": (f"libnvidia-compute-{server}", f"nvidia-utils-{server}"),
        "debian": ("libnvidia-ml1", "nvidia-smi"),
        "nvidia": ("nvidia-driver-cuda",),
    }[choice.source]
    if choice.source == "nvidia" and choice.system.family == "ubuntu":
        suffix = f"-{parse_version(module)[0]}" if parse_version(module)[0] < UNSUFFIXED else ""
        utils = (f"libnvidia-compute{suffix}", f"nvidia-utils{suffix}")
    # A package whose files are gone is installed as far as the package manager knows: only purged it comes back whole.
    lost = () if gone == "nvidia-smi" else tuple(n for n in case.installed.packages if LIBRARIES.match(n))
    plan = install_plan(case, choice, "repair", f"module {module} is loaded and {gone} is missing", purge=lost)
    return plan.model_copy(
        update={
            "reason": f"module {module} is loaded and {gone} is missing",
            "packages": tuple(exactly(name, module) for name in utils),
            "branch": parse_version(module)[0],
            "version": module,
            "flavour": None,
        }
    )


def _not_loaded(case: Case, version: str) -> DriverPlan:
    probe = case.probe
    running = next((k for k in probe.driver.kernels if k.release == probe.kernel), None)
    newest = probe.driver.newest_kernel
    nouveau = [gpu.address for gpu in probe.gpus if gpu.driver == "nouveau"]
    if nouveau:
        words = f"driver {version} is installed and nouveau holds {', '.join(nouveau)}"
        return reboot_plan(case, words, words, version)
    if running is None or running.module:
        words = f"driver {version} is installed and not loaded"
        return reboot_plan(case, f"{words}: {_words(case)}" if _words(case) else words, words, version)
    if newest and newest.module:
        words = f"driver {version} is built for kernel {newest.release}, and {probe.kernel} runs"
        return reboot_plan(case, words, words, version)
    why = f"driver {version} is installed and its module was not built for kernel {probe.kernel}"
    choice = choose(case)
    if choice.flavour == "open" and breaks_build(probe.kernel, version):
        why += " (pci_resize_resource changed in it; fixed in 580.126.09)"
    check_reboot(case, why)
    return install_plan(case, choice, "repair", why)


def _no_devices(case: Case) -> DriverPlan:
    """A module is loaded and serves no GPU: the kernel's log says why."""
    probe, requirements = case.probe, case.requirements
    log = " ".join(line.removeprefix("NVRM:").strip() for line in probe.driver.nvrm)
    version = case.installed.version or probe.driver.module or ""
    if "fallen off the bus" in log or ("Xid" in log and ", 79," in log):
        raise case.refusal(
            f"a GPU has fallen off the bus: {_sentence(log, 'fallen off the bus')}. No driver helps: reboot, and if it "
            "happens again look at power, riser and card."
        )
    wrong = probe.driver.flavour and requirements.flavour_for and probe.driver.flavour != requirements.flavour
    if "does not include the required GPU System Processor" in log or "requires use of the NVIDIA open" in log or wrong:
        gpu = requirements.flavour_for or "a GPU of this host"
        words = (
            f"driver {version} sees no GPU: {gpu} needs the {requirements.flavour} kernel module, and the "
            f"{probe.driver.flavour or 'other'} one is loaded"
        )
    elif "is not supported by the NVIDIA" in log:
        words = f"driver {version} sees no GPU: it does not know {_gpus(case)}"
    else:
        raise case.refusal("the driver answers and sees no GPU. Look into `dmesg | grep -i nvrm`.")
    if not case.may.upgrade:
        raise case.refusal(
            f"{words}. Set hermes_driver/upgrade to True to replace it (the host reboots), or do it by hand."
        )
    return replace_plan(case, words)


def _gpus(case: Case) -> str:
    """The GPUs of the host that a driver of the installed version is too old for, or all."""
    version = parse_version(case.installed.version or case.probe.driver.module or "0")
    bounds = case.requirements.gpus
    return ", ".join(bound.subject for bound in bounds if not bound.met_by(version)) or ", ".join(
        bound.subject for bound in bounds
    )


def _sentence(log: str, words: str) -> str:
    """The part of the log around some words, at most 160 characters."""
    place = max(0, log.find(words))
    return log[max(0, place - 100) : place + 60].strip(" .")
