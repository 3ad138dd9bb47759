"""The driver's transaction with apt."""

from __future__ import annotations

from collections.abc import Mapping

from hermeion.drivers.installed import GUARD, builds_module
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.plans import DriverPlan
from hermeion.probe import Probe
from hermeion.scripts.apt import quoted
from hermeion.scripts.components import debian_components
from hermeion.scripts.dkms import DKMS, TRIAL
from hermeion.scripts.repositories import nvidia_repository
from hermeion.scripts.signed import CHECK_SIGNED, CHOOSE_SIGNED, signed_functions

GUARD_FILE = HostFile(
    path=GUARD,
    content="// A driver that is upgraded under running containers takes their GPUs away; apt upgrade by hand still does it.\n"
    'Unattended-Upgrade::Package-Blacklist { "^nvidia-"; "^libnvidia-"; "^linux-modules-nvidia-"; "^cuda-"; "^libcuda1"; '
    '"^libnvsdm"; "^nvlsm"; };\n',
)

OURS = "^(nvidia-|libnvidia-|linux-modules-nvidia-|linux-objects-nvidia-|linux-signatures-nvidia-|cuda-drivers|libcuda1|libnvsdm|nvlsm|firmware-nvidia)"
"""Packages of a driver, as an extended regular expression."""

REPAIR = (
    """half_configured() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | awk '$1 !~ /^(ii|rc|un|hi|pn)$/ { print $2 }'; }
clean() { # nothing half-configured stays: every later call of apt would fail with it
  ours=$(half_configured | grep -E '"""
    + OURS
    + """' | tr '\\n' ' ')
  # shellcheck disable=SC2086 # words
  [ -z "$ours" ] || apt purge -y $ours || true
  wait_for_lock; dpkg --configure -a || true
  left=$(half_configured | tr '\\n' ' ')
  if [ -n "$left" ] || ! apt-get -q check >/dev/null; then
    echo "$host: dpkg could not be repaired: ${left:-apt-get check fails}; see dpkg --audit"; exit 1
  fi
}
purge() { # those of the packages that are still here, in one call: each alone would have dpkg configure the others
  here=
  for package in "$@"; do
    if dpkg-query -W "$package" >/dev/null 2>&1; then here="$here $package"; fi
  done
  # shellcheck disable=SC2086 # words
  [ -z "$here" ] || apt purge -y $here
}
give_up() { # $1 = why
  echo "##note cleaning up"
  clean
  fail "$1. dpkg is in order again${ours:+ (purged: ${ours% })}."
}
"""
)

FINISH = """echo "##note finishing what was cut off"
wait_for_lock
if ! dpkg --configure -a; then clean; fi
"""

HEADERS = """flavour=$(uname -r | sed 's/^[0-9][^-]*-//; s/^[0-9]*-//')
newest_of() { # $1 = beginning of a package's name: the newest one of this kernel's flavour that a source has
  apt_index search --names-only "^$1[0-9].*-$flavour\\$" 2>/dev/null | cut -d' ' -f1 | sort -V | tail -n 1
}
check_headers() { # $1 = package with the headers of exactly the running kernel
  [ -n "$(missing "$1")" ] || return 0
  newest=$(newest_of linux-headers-)
  fail "the running kernel $(uname -r) has no $1 in the archive any more (newest: ${newest:-none}). Reboot into the newest kernel (apt-get install linux-image-$flavour), then run again. Nothing was installed."
}
"""


def apt_transaction(
    spec: HostSpec, driver: DriverPlan, probe: Probe, *, ca: str | None, keys: Mapping[str, str]
) -> str:
    """From the first refresh to the last look at DKMS; needs the prelude and ``fail``."""
    first = tuple(p for p in driver.packages if p.startswith("nvidia-driver-pinning-"))
    packages = tuple(p for p in driver.packages if p not in first)
    headers = tuple(p for p in packages if p == f"linux-headers-{probe.kernel}")
    signed = next((p for p in packages if p.startswith("linux-modules-nvidia-")), None)
    # What is broken goes first, or every call of apt fails; what works goes last, once all else is known to work.
    early = bool(driver.purge) and driver.action == "repair"
    source = next((p for p in packages if builds_module(p.partition("=")[0])), None)
    parts = [REPAIR, HEADERS]
    if source:
        parts.append(DKMS)
    if driver.finish:
        parts.append(FINISH)
    if early:
        parts.append(f"purge {quoted(driver.purge)}\n")
    if driver.source == "nvidia":
        parts.append(nvidia_repository(spec, probe, ca=ca, keys=keys))
    if driver.source == "debian" and spec.hermes_mirrors.apt.distribution is None:
        parts.append(debian_components())
    parts.append(write_files([GUARD_FILE]))
    parts.append("apt update\n")
    parts += [f'[ -e "/lib/modules/$(uname -r)/build/Makefile" ] || check_headers {p}\n' for p in headers]
    parts.append(_check(first + tuple(p for p in packages if p not in headers)))
    if first:
        parts.append(_pin(first, packages, driver.branch))
    if signed:
        parts.append(signed_functions(signed))
    parts.append(f"set -- {quoted(p for p in packages if p not in {*headers, signed})}\nheaders=\n")
    # Headers that came without their package (a kernel of one's own) are as good, if DKMS finds them.
    parts += [f'[ -n "$(missing {p})" ] || headers={p}\n' for p in headers]
    if source:
        parts.append(NEWEST)
    parts.append(CHOOSE_SIGNED if signed else SIMULATE)
    if source and driver.action == "upgrade":
        parts.append(f"{TRIAL}try_build {source}\n")
    if driver.purge and not early:
        parts.append(f"purge {quoted(driver.purge)}\n")
    parts.append(INSTALL_DKMS if source else INSTALL)
    if driver.action == "repair":
        parts.append(RESTORE)
    if signed:
        parts.append(CHECK_SIGNED)
    return "".join(parts)


def _check(packages: tuple[str, ...]) -> str:
    return f"""none=$(missing {quoted(packages)} | tr '\\n' ' ')
[ -z "$none" ] || fail "no source of packages on this host has ${{none% }}. Nothing was installed."
"""


def _pin(first: tuple[str, ...], packages: tuple[str, ...], branch: int | None) -> str:
    """The pin in a call of its own: apt chooses versions before it unpacks, so in one call it would come too late."""
    text = f"apt install -y --no-install-recommends {quoted(first)}\n"
    versioned = [p for p in packages if p.startswith(("nvidia-driver-cuda", "nvidia-kernel", "nvidia-dkms"))]
    for package in (p for p in versioned if "=" not in p):
        text += f"""chosen=$(candidate {package}); chosen=${{chosen#*:}}
[ "${{chosen%%.*}}" = {branch} ] || fail "the pin to branch {branch} does not hold: apt would install {package} $chosen. Look into /etc/apt/preferences.d."
"""
    return text


RESTORE = """# A file that is gone does not come back with a package that is thought to be whole.
for library in libnvidia-ml.so.1 libcuda.so.1; do
  ! ldconfig -p | grep -q "$library " || continue
  owners=
  for package in $(dpkg-query -S "*/$library*" 2>/dev/null | sed 's/: .*//' | tr -d ' ' | tr ',' '\\n' | sort -u); do
    # Exactly what is installed: a newer one would not be that of the loaded module.
    owners="$owners $package=$(dpkg-query -W -f '${Version}' "$package")"
  done
  # shellcheck disable=SC2086 # words
  [ -z "$owners" ] || apt install -y --reinstall --no-install-recommends $owners || give_up "apt could not bring $library back; its own lines say why"
done
"""

NEWEST = """newest=$(newest_kernel)
if [ "$newest" != "$(uname -r)" ] && [ ! -e "/lib/modules/$newest/build/Makefile" ]; then
  if [ -z "$(missing "linux-headers-$newest")" ]; then headers="$headers linux-headers-$newest"
  else echo "kernel $newest is installed, the next boot takes it, and no source has linux-headers-$newest: it will have no driver"; fi
fi
"""

SIMULATE = """# shellcheck disable=SC2086 # words
if ! said=$(apt -s install -y --no-install-recommends "$@" $headers 2>&1); then
  printf '%s\\n' "$said" | grep -v '^[dp][lm]status:' | tail -n 12
  fail "the driver's packages do not fit this host's; apt's own lines say why. Nothing was installed."
fi
"""

INSTALL = """# shellcheck disable=SC2086 # words
apt install -y --no-install-recommends "$@" $headers || give_up "apt could not install the driver; its own lines say why"
"""

INSTALL_DKMS = """# shellcheck disable=SC2086 # words
if ! apt install -y --no-install-recommends "$@" $headers; then
  why=$(check_builds) && why="apt could not install the driver; its own lines say why"
  give_up "$why"
fi
why=$(check_builds) || {
  # The packages are whole, the module is not: what builds it goes, or every later build would fail with it.
  echo "##note cleaning up"
  # shellcheck disable=SC2046 # words
  apt purge -y $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | awk '$1 == "ii" && $2 ~ /^nvidia.*dkms/ && $2 !~ /no-dkms/ { print $2 }')
  clean
  fail "$why. The packages that build it were purged."
}
"""
