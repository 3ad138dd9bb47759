"""The driver stage."""

from __future__ import annotations

from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.plans import Plan
from hermeion.probe import Probe
from hermeion.scripts.apt import apt_install, ca_files, nvidia_repository


def driver_script(spec: HostSpec, plan: Plan, probe: Probe, *, ca: str | None, mirror_key: str | None) -> str:
    """Repository, packages in one transaction, protection from unattended upgrades, first attempt to load."""
    guard = HostFile(
        path="/etc/apt/apt.conf.d/51hermeion-nvidia",
        content='Unattended-Upgrade::Package-Blacklist { "^nvidia-"; "^libnvidia-"; "^cuda-"; };\n',
    )
    units = [unit for unit in ("nvidia-persistenced", "nvidia-fabricmanager") if unit in plan.driver.packages]
    return (
        "set -eu\n"
        + write_files([*ca_files(spec, ca), guard])
        + nvidia_repository(spec, probe, ca=ca, mirror_key=mirror_key)
        + apt_install(plan.driver.packages)
        + f"systemctl enable --quiet {' '.join(units)}\n"
        + "modprobe nvidia || echo 'the module cannot be loaded yet: a reboot is needed'\n"
    )
