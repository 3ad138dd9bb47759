"""The driver stage: one transaction, after which the host has the planned driver or what it had before."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from hermeion.drivers.installed import MARKER
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.plans import Plan
from hermeion.probe import Probe
from hermeion.runtime.toolkit import old_lists
from hermeion.scripts.apt import ca_files
from hermeion.scripts.driver_apt import apt_transaction
from hermeion.scripts.driver_dnf import dnf_transaction
from hermeion.scripts.packages import prelude
from hermeion.scripts.repositories import is_rpm

NOUVEAU = """if [ -d /sys/module/nouveau ] && ! grep -rqs --exclude=hermeion-nouveau.conf '^blacklist nouveau' /etc/modprobe.d /usr/lib/modprobe.d /lib/modprobe.d; then
  printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' > /etc/modprobe.d/hermeion-nouveau.conf
  if command -v update-initramfs >/dev/null; then update-initramfs -u -k all; else command dracut --force --regenerate-all; fi
fi
"""

PERSISTENCE = """unit=/usr/lib/systemd/system/nvidia-persistenced.service
[ -e "$unit" ] || unit=/lib/systemd/system/nvidia-persistenced.service
if grep -qs -e ' --no-persistence-mode' "$unit"; then
  own=/etc/systemd/system/nvidia-persistenced.service.d
  mkdir -p "$own"
  {
    echo "# Ubuntu's unit starts with persistence off, stops when nobody needs it, and cannot be enabled."
    printf '[Unit]\\nStopWhenUnneeded=no\\n[Service]\\nExecStart=\\n'
    sed -n 's/^\\(ExecStart=.*\\) --no-persistence-mode/\\1/p' "$unit"
    printf '[Install]\\nWantedBy=multi-user.target\\n'
  } > "$own/.hermeion.conf"
  mv -f "$own/.hermeion.conf" "$own/hermeion.conf"
fi
"""

HIDDEN_MODULE = HostFile(
    path="/etc/systemd/system/nvidia-cdi-refresh.service.d/hermeion.conf",
    content="# Debian's module is nvidia-current*.ko, which the service's own condition does not find.\n"
    "[Service]\nExecCondition=\n",
)


FAIL = """fail() { # $1 = a sentence, which is enough for a person unless it points at the lines before it
  case $1 in *"own line"*) echo "$host: $1" ;; *) echo "##error $host: $1" ;; esac
  rm -f "$marker"; exit 1
}
"""


def driver_script(spec: HostSpec, plan: Plan, probe: Probe, *, ca: str | None, keys: Mapping[str, str]) -> str:
    """Repositories, packages in one transaction, protection from unattended upgrades, first attempt to load.

    Killed at any place, the script of the next run finishes what this one began.

    Args:
        ca: The site's certificates, as text.
        keys: Public keys of the mirrors, as text, by ``apt/nvidia``, ``apt/distribution``, ``rpm/epel`` and so on.
    """
    driver = plan.driver
    marker = HostFile(path=MARKER, content=json.dumps(driver.to_json(), sort_keys=True) + "\n")
    transaction = dnf_transaction if is_rpm(probe) else apt_transaction
    after = [HIDDEN_MODULE] if driver.source == "debian" else []
    return "".join(
        [
            "set -eu\n",
            f"host={shlex.quote(plan.host)}\n",
            FAIL,
            f"marker={MARKER}\n",
            write_files([marker, *ca_files(spec, ca)]),
            prelude(spec, probe, keys=keys),
            _old_lists(probe),
            transaction(spec, driver, probe, ca=ca, keys=keys),
            NOUVEAU,
            write_files(after) if after else "",
            PERSISTENCE,
            _load(driver.units, driver.reboot),
        ]
    )


def _old_lists(probe: Probe) -> str:
    """Moves lists of NVIDIA's older guides aside where apt cannot read its sources with them."""
    paths = " ".join(map(shlex.quote, old_lists(probe)))
    if not paths or is_rpm(probe):
        return ""
    return f"""if ! apt_index policy >/dev/null 2>&1; then
  for list in {paths}; do mv -f "$list" "$list.before-hermeion"; echo "moved aside: $list to $list.before-hermeion"; done
fi
"""


def _load(units: tuple[str, ...], reboot: str | None) -> str:
    """Enable the units and load the module; the last line says whether a reboot is needed."""
    names = " ".join(units)
    # A reload of systemd would take GPUs away from containers that have them by NVIDIA's hook.
    enable = f"systemctl enable --quiet --no-reload {names}\n" if units else ""
    if reboot:
        return f"{enable}rm -f {MARKER}\necho {shlex.quote(f'a reboot is needed: {reboot}')}\n"
    start = f'  systemctl restart {names} || echo "##note {names}: not started yet"\n' if units else ""
    return f"""{enable}rm -f {MARKER}
installed=$(modinfo -F version nvidia 2>/dev/null || modinfo -F version nvidia-current-open 2>/dev/null || modinfo -F version nvidia-current 2>/dev/null || true)
if ! modprobe nvidia; then
  echo "a reboot is needed: the module cannot be loaded yet"
elif [ -n "$installed" ] && [ "$(cat /sys/module/nvidia/version 2>/dev/null)" != "$installed" ]; then
  echo "a reboot is needed: module $(cat /sys/module/nvidia/version 2>/dev/null) is loaded, $installed is installed"
else
{start}  echo "no reboot is needed"
fi
"""
