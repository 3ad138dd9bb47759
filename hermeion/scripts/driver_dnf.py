"""The driver's transaction with dnf (RHEL and what is made like it, 8 to 10)."""

from __future__ import annotations

from collections.abc import Mapping

from hermeion.inventory import HostSpec
from hermeion.plans import DriverPlan
from hermeion.probe import Probe
from hermeion.scripts.apt import quoted
from hermeion.scripts.dkms import DKMS
from hermeion.scripts.dnf import specs
from hermeion.scripts.repositories import epel_repository, nvidia_repository

KERNEL_PACKAGES = ("kernel-devel-", "kernel-uek-devel-")

LOCKED = "'nvidia-driver*' 'kmod-nvidia*' 'libnvidia-*' 'nvidia-fabricmanager*' 'nvidia-imex*' 'nvidia-persistenced*'"
"""What is locked at its version: everything that must have the driver's own."""

HEADERS = """last_transaction() { command dnf -q history list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $1; exit }'; }
check_headers() { # $1 = package with the headers of exactly the running kernel
  [ -n "$(missing "$1")" ] || return 0
  newest=$(command dnf -q list --showduplicates kernel-devel 2>/dev/null | awk '$1 ~ /^kernel-devel/ { print $2 }' | sort -V | tail -n 1)
  fail "the running kernel $(uname -r) has no headers in the repositories any more (newest: ${newest:-none}). Reboot into the newest kernel (dnf upgrade kernel), then run again. Nothing was installed."
}
"""


def dnf_transaction(
    spec: HostSpec, driver: DriverPlan, probe: Probe, *, ca: str | None, keys: Mapping[str, str]
) -> str:
    """From the first refresh to the last look at DKMS; needs the prelude and ``fail``."""
    streams = tuple(p.removeprefix("module:") for p in driver.packages if p.startswith("module:"))
    locks = tuple(p.removeprefix("versionlock:") for p in driver.packages if p.startswith("versionlock:"))
    packages = specs(tuple(p for p in driver.packages if not p.startswith(("module:", "versionlock:"))))
    headers = tuple(p for p in packages if p.startswith(KERNEL_PACKAGES) and p != "kernel-devel-matched")
    names = quoted(packages)
    parts = [DKMS, HEADERS, "dnf makecache\n"]
    parts += [f"check_headers {p}\n" for p in headers]
    if driver.finish:
        parts.append("echo '##note finishing what was cut off'\ndnf remove --duplicates || true\n")
    if driver.purge:
        parts.append(f"dnf remove {quoted(driver.purge)}\n")
    parts.append(epel_repository(spec, probe, ca=ca, keys=keys))
    parts.append(nvidia_repository(spec, probe, ca=ca, keys=keys))
    parts.append("dnf makecache\nneed python3-dnf-plugin-versionlock\n")
    # The locks of an earlier run are in the way of this one.
    parts.append(f"command dnf -q versionlock delete {LOCKED} >/dev/null 2>&1 || true\n")
    parts.append("was=$(last_transaction)\n")
    parts += [_stream(*stream.split(":")) for stream in streams]
    parts += [f"dnf versionlock add '*nvidia*{branch}*'\n" for branch in locks]
    parts.append(NEWEST)
    parts.append(f"""none=$(missing {names} | tr '\\n' ' ')
[ -z "$none" ] || fail "no repository of this host has ${{none% }}. Nothing was installed."
undo() {{ # back to what was there before, which the repositories still have
  echo "##note cleaning up"
  [ "$(last_transaction)" = "$was" ] || dnf history rollback "$was" || fail "$1. What was there before could not be brought back: dnf history rollback $was"
  fail "$1. The host's packages are those of before."
}}
dnf install --allowerasing {names} $more || undo "dnf could not install the driver; its own lines say why"
why=$(check_builds) || undo "$why"
""")
    if not locks:
        parts.append(
            f"# shellcheck disable=SC2046 # words\n"
            f"command dnf -q versionlock add $(rpm -qa --qf '%{{NAME}}\\n' {LOCKED} | sort -u) >/dev/null\n"
        )
    return "".join(parts)


NEWEST = """more=
newest=$(newest_kernel)
if [ "$newest" != "$(uname -r)" ] && [ ! -e "/lib/modules/$newest/build/Makefile" ]; then
  if [ -z "$(missing "kernel-devel-$newest")" ]; then more=kernel-devel-$newest
  else echo "kernel $newest is installed, the next boot takes it, and no repository has kernel-devel-$newest: it will have no driver"; fi
fi
"""


def _stream(module: str, stream: str) -> str:
    """Enable a module's stream, or switch to it where another one is enabled."""
    return f"""enabled=$(command dnf -q module list --enabled {module} 2>/dev/null | awk '$1 == "{module}" {{ print $2; exit }}')
case $enabled in
  "") dnf module enable {module}:{stream} ;;
  {stream}) ;;
  *) dnf module switch-to {module}:{stream} --allowerasing ;;
esac
"""
