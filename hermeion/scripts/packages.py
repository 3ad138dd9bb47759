"""What a script begins with that installs packages, whichever package manager the host has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hermeion.inventory import HostSpec
from hermeion.probe import Probe
from hermeion.scripts.apt import apt_functions, apt_install
from hermeion.scripts.dnf import DNF, dnf_install
from hermeion.scripts.keys import FETCH_KEY
from hermeion.scripts.repositories import distribution_mirror, is_rpm

_APT = """need() { # installs what is missing of a few tools
  for tool in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$tool" 2>/dev/null | grep -q '^[ih]i' && continue
    apt update; apt install -y --no-install-recommends "$@"; return
  done
}
has_source() { # whether a list that is not ours names this repository
  # shellcheck disable=SC2046 # names without spaces
  grep -qsF -- "$1" /etc/apt/sources.list $(find /etc/apt/sources.list.d -name '*.list' -o -name '*.sources' | grep -v '/hermeion-')
}
"""
_RPM = """need() {
  for tool in "$@"; do rpm -q --quiet --whatprovides "$tool" || { dnf install "$@"; return; }; done
}
"""


def prelude(spec: HostSpec, probe: Probe, *, keys: Mapping[str, str]) -> str:
    """Shell functions for every text of :mod:`hermeion.scripts.repositories`, and the distribution's mirror if any."""
    if is_rpm(probe):
        return DNF + FETCH_KEY + _RPM
    return apt_functions(spec) + FETCH_KEY + _APT + distribution_mirror(spec, probe, keys=keys)


def install(spec: HostSpec, probe: Probe, packages: Sequence[str], *, keys: Mapping[str, str]) -> str:
    """A script of its own that installs packages of the distribution."""
    if is_rpm(probe):
        return dnf_install(packages)
    return prelude(spec, probe, keys=keys) + apt_install(packages, spec)
