"""apt on a host: never interactive, never in the way of another package manager, nothing changed before it can work."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile
from hermeion.runtime.certificates import CA_PATH, registry_ca_path

PRIVATE = "/etc/hermeion/apt"
"""Sources for Hermeion's own calls, where the host's are not to be read."""

SHARE = f"""share_sources() {{ # what was added for the whole host is read by our own calls too
  for list in /etc/apt/sources.list.d/hermeion-*.sources /etc/apt/sources.list.d/cuda-*.list; do
    [ ! -f "$list" ] || ln -sfn "$list" {PRIVATE}/sources.list.d/
  done
}}
"""

LOCK = "/run/hermeion/apt.lock"
"""Held by our own calls: several jobs of ours may want packages at the same time, and a reboot waits for them."""

LOCK_SECONDS = 1800
"""How long another package manager is waited for: unattended upgrades of a year take a quarter of an hour."""


def apt_options(spec: HostSpec) -> str:
    """Options of every call of apt: none, or those that replace the host's sources by the mirror's, lists included."""
    mirror = spec.hermes_mirrors.apt.distribution
    if mirror is None:
        return ""
    state = "/var/lib/hermeion/apt"
    options = [
        "-o Dir::Etc::SourceList=/dev/null",
        f"-o Dir::Etc::SourceParts={PRIVATE}/sources.list.d",
        f"-o Dir::State::Lists={state}/lists",
        f"-o Dir::Cache::pkgcache={state}/pkgcache.bin",
        f"-o Dir::Cache::srcpkgcache={state}/srcpkgcache.bin",
    ]
    if spec.hermes_mirrors.ca and mirror.url.startswith("https:"):
        options.append(f"-o Acquire::https::{urlsplit(mirror.url).hostname}::CAInfo={CA_PATH}")
    return " ".join(options)


def apt_functions(spec: HostSpec | None = None) -> str:
    """Shell functions: ``apt`` (apt-get), ``apt_index`` (apt-cache), ``missing`` (packages without a candidate)."""
    options = apt_options(spec) if spec else ""
    return (
        """export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none
type fail >/dev/null 2>&1 || fail() { echo "##error $1"; exit 1; }
lock_holder() { # "PID, name" of a process that has one of the package managers' locks open
  [ -e /var/lib/dpkg/lock-frontend ] || return 1
  holder=$(find /proc/[0-9]*/fd \\( -lname /var/lib/dpkg/lock-frontend -o -lname /var/lib/dpkg/lock \\
    -o -lname /var/lib/apt/lists/lock -o -lname /var/cache/apt/archives/lock \\) 2>/dev/null | head -n 1)
  [ -n "$holder" ] || return 1
  holder=${holder#/proc/}; holder=${holder%%/*}
  echo "$holder, $(cat "/proc/$holder/comm" 2>/dev/null)"
}
wait_for_lock() {
  waited=0
  while held=$(lock_holder); do
    echo "##note waiting for another package manager ($held)"
    [ "$waited" -lt """
        + str(LOCK_SECONDS)
        + """ ] || fail "another package manager ($held) has held its lock for half an hour. See what it does (ps ${held%%,*}), then run again."
    sleep 2; waited=$((waited + 2))
  done
}
"""
        + f"apt_sources='{options}'\n"
        + (SHARE if options else "share_sources() { :; }\n")
        + """apt() {
  wait_for_lock; share_sources
  # What a package starts must not inherit the lock: flock -o.
  # shellcheck disable=SC2086 # words
  flock -o """
        + LOCK
        + """ apt-get -q $apt_sources -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold -o APT::Status-Fd=1 "$@" </dev/null
}
# shellcheck disable=SC2086 # words
apt_index() { apt-cache $apt_sources "$@"; }
candidate() { apt_index policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -vxF '(none)'; }
missing() { # those of the packages (name or name=version) that no source has
  for wanted in "$@"; do
    case $wanted in
      *=*) apt_index show "$wanted" 2>/dev/null | grep -q . || echo "$wanted" ;; # its status is 0 for a version that is not there
      *) [ -n "$(candidate "$wanted")" ] || echo "$wanted" ;;
    esac
  done
}
"""
    )


def apt_install(packages: Sequence[str], spec: HostSpec | None = None) -> str:
    """A script of its own that installs packages; apt tells its progress in lines of its own.

    Args:
        spec: Where the distribution's mirror is taken from; without it the host's own sources are read.
    """
    names = quoted(packages)
    return f"""{apt_functions(spec)}apt update
none=$(missing {names} | tr '\\n' ' ')
[ -z "$none" ] || fail "no source of packages on this host has ${{none% }}. Nothing was installed."
apt install -y --no-install-recommends {names}
"""


def quiet_script() -> str:
    """A script that ends when no package manager is at work on the host: neither ours nor another."""
    return f"""{apt_functions()}mkdir -p {LOCK.rpartition("/")[0]}
flock -w {LOCK_SECONDS} {LOCK} true
wait_for_lock
"""


def quoted(packages: Iterable[str]) -> str:
    """Names of packages as words of the shell."""
    return " ".join(shlex.quote(package) for package in packages)


def ca_files(spec: HostSpec, ca: str | None) -> list[HostFile]:
    """The site's certificates for everything that is fetched, and for Docker."""
    if ca is None:
        return []
    paths = [CA_PATH, registry_ca_path(spec.hermes_mirrors)]
    return [HostFile(path=path, content=ca) for path in paths if path]
