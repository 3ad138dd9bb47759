"""dnf on a host: never interactive, its progress as notes, nothing changed before it can work."""

from __future__ import annotations

from collections.abc import Sequence

from hermeion.scripts.apt import LOCK, quoted

DNF = f"""export LC_ALL=C
type fail >/dev/null 2>&1 || fail() {{ echo "$1"; exit 1; }}
dnf() {{ # dnf waits for another package manager by itself; what it says meanwhile is shown
  told=$(mktemp)
  {{ if flock -o {LOCK} dnf -y --setopt=install_weak_deps=False "$@" </dev/null 2>&1; then echo 0 > "$told"; else echo $? > "$told"; fi; }} |
    while IFS= read -r line; do
      case $line in
        "Waiting for process with pid"*)
          pid=${{line#*pid }}; pid=${{pid%% *}}
          echo "##note waiting for another package manager ($pid, $(cat "/proc/$pid/comm" 2>/dev/null))" ;;
        *Downloading*|*Installing*|*Upgrading*|*Running*|*Cleanup*|*Verifying*|\\(*/*\\):*)
          echo "##note $(echo "$line" | tr -s ' ' | cut -c1-90)" ;;
        *) printf '%s\\n' "$line" ;;
      esac
    done
  ended=$(cat "$told"); rm -f "$told"
  return "${{ended:-1}}"
}}
missing() {{ # those of the packages that are neither here nor in a repository
  for wanted in "$@"; do command dnf -q list "$wanted" >/dev/null 2>&1 || echo "$wanted"; done
}}
"""
"""Shell functions ``dnf`` and ``missing``."""


def specs(packages: Sequence[str]) -> tuple[str, ...]:
    """Packages as dnf names them: ``name-version`` where apt says ``name=version``."""
    return tuple(package.replace("=", "-", 1) for package in packages)


def dnf_install(packages: Sequence[str]) -> str:
    """A script of its own that installs packages."""
    names = quoted(specs(packages))
    return f"""{DNF}dnf makecache
none=$(missing {names} | tr '\\n' ' ')
[ -z "$none" ] || fail "no repository of this host has ${{none% }}. Nothing was installed."
dnf install {names}
"""
