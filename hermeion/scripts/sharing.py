"""Giving weights to other hosts of the run: an rsync daemon on a private address, for as long as somebody asks.

One daemon for each address and port; each repository is a module of it, and each run has a name and a password of its
own, so that runs neither need nor disturb each other. It may read, and nothing else.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files

from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.probe import Probe
from hermeion.routes import Door
from hermeion.scripts.packages import install

IDLE_SECONDS = 900
"""Seconds without a question after which a daemon ends, should nobody stop it."""

_PROGRAM = "/run/hermeion/share.sh"

_SANDBOX = {
    0: "NoNewPrivileges=yes ProtectSystem=strict ProtectHome=read-only PrivateTmp=yes PrivateDevices=yes UMask=0077 "
    "ProtectKernelTunables=yes ProtectKernelModules=yes ProtectControlGroups=yes RestrictNamespaces=yes "
    "RestrictRealtime=yes LockPersonality=yes MemoryDenyWriteExecute=yes SystemCallArchitectures=native "
    "SystemCallFilter=@system-service SystemCallErrorNumber=EPERM RestrictAddressFamilies=AF_INET "
    "RestrictAddressFamilies=AF_INET6 TasksMax=256 RuntimeMaxSec=2d",
    242: "ProtectHostname=yes RestrictSUIDSGID=yes",
    244: "ProtectKernelLogs=yes",
    245: "ProtectClock=yes",
    247: "ProtectProc=invisible ProcSubset=pid",
}
"""Properties of the unit, by the version of systemd that knows them first (its NEWS); 0: all that are met."""

_FUNCTIONS = """name_of() { printf 'share-%s-%s' "$(printf %s "$1" | tr : _)" "$2"; } # $1 = address, $2 = port
url_of() { case $1 in *:*) echo "rsync://[$1]:$2/" ;; *) echo "rsync://$1:$2/" ;; esac; }
state_of() { systemctl show -p ActiveState --value "hermeion-$1.service"; }
assemble() { # $1 = folder of a daemon, $2 = module: what its users add up to
  set -- "$1" "$2" "$1/users/$2"
  if [ -z "$(ls "$3" 2>/dev/null)" ]; then rm -rf "$1/modules/$2.conf" "$1/$2.secrets" "$3"; return; fi
  cat "$3"/*.secret > "$1/$2.secrets.new"
  # rsync takes no passwords that anybody may read; the group is the daemon's own.
  chgrp "$group" "$1/$2.secrets.new"; chmod 0640 "$1/$2.secrets.new"; mv "$1/$2.secrets.new" "$1/$2.secrets"
  {
    echo "[$2]"
    echo "path = $(cat "$3/../$2.path")"
    echo "read only = yes"; echo "list = no"; echo "auth users = *"; echo "secrets file = $1/$2.secrets"
    echo "hosts allow = $(cat "$3"/*.hosts | sort -u | tr '\\n' ' ')"
  } > "$1/modules/$2.new"
  chmod 0644 "$1/modules/$2.new"; mv "$1/modules/$2.new" "$1/modules/$2.conf"
}
"""

_SERVE = """is_open() { # whether everybody may look into a folder, or will when it is there
  set -- "$1"
  while [ "$1" != / ] && [ -n "$1" ]; do
    [ ! -d "$1" ] || case $(stat -c %a "$1") in *[1357]) ;; *) return 1 ;; esac
    set -- "$(dirname "$1")"
  done
}
user_for() { # $1 = folder: properties of a user who may read it, and do nothing else
  if is_open "$1"; then echo "-p DynamicUser=yes -p CapabilityBoundingSet="; return; fi
  set -- "$1"; while [ ! -d "$1" ]; do set -- "$(dirname "$1")"; done
  # systemd takes no user without a name; what then helps is not heard by a server that squashes root.
  case $(stat -c %U "$1") in
    root | UNKNOWN)
      echo "-p DynamicUser=yes -p CapabilityBoundingSet=CAP_DAC_READ_SEARCH -p AmbientCapabilities=CAP_DAC_READ_SEARCH" ;;
    *) stat -c '-p User=%U -p CapabilityBoundingSet=' "$1" ;;
  esac
}
start() { # $1 = address, $2 = port, $3 = folder that is given
  name=$(name_of "$1" "$2"); dir=/run/hermeion/$name.d
  while case $(state_of "$name") in deactivating) ;; *) false ;; esac; do sleep 0.2; done
  mkdir -p "$dir/modules" "$dir/users"; chmod 0711 "$dir"; chmod 0755 "$dir/modules"; chmod 0700 "$dir/users"
  systemctl reset-failed "hermeion-$name.service" 2>/dev/null || true
  # shellcheck disable=SC2046,SC2086 # options
  systemd-run --quiet --collect --unit="hermeion-$name" --description="Hermeion: weights for other hosts" \\
    $sandbox $(user_for "$3") -p "RuntimeDirectory=hermeion/$name" -p RuntimeDirectoryMode=0700 \\
    -p "ExecStopPost=+/bin/rm -rf $dir" /bin/sh @program@ "$1" "$2" @idle@ "$dir/modules" ||
    case $(state_of "$name") in activating | active) ;; *) return 1 ;; esac # another run was faster
}
is_up() { [ "$(state_of "$name")" = active ] && rsync --contimeout=2 --timeout=2 "$url" > /dev/null 2>&1; }
serve() { # $1 = address, $2 = port, $3 = module, $4 = folder, $5 = user, $6 = hosts that may ask
  name=$(name_of "$1" "$2"); dir=/run/hermeion/$name.d; url=$(url_of "$1" "$2"); tries=0
  # What waits to be asked now must not end while it is told of one more who will.
  touch -c "/run/hermeion/$name/log"
  until is_up; do
    tries=$((tries + 1))
    case $(state_of "$name") in
      active | activating) ;;
      *) [ $tries -lt 3 ] && start "$1" "$2" "$4" || refuse "$1" "$2" ;;
    esac
    [ $tries -lt 50 ] || refuse "$1" "$2"
    sleep 0.2
  done
  group=$(stat -L -c %g "/run/hermeion/$name")
  (
    flock 9
    mkdir -p "$dir/users/$3"
    printf '%s\\n' "$4" > "$dir/users/$3.path"
    printf %s "$6" | tr ' ' '\\n' > "$dir/users/$3/$5.hosts"; echo >> "$dir/users/$3/$5.hosts"
    { printf '%s:' "$5"; printf %s "$password" | base64 -d; echo; } > "$dir/users/$3/$5.secret"
    assemble "$dir" "$3"
  ) 9> "$dir/turn"
}
refuse() { # $1 = address, $2 = port
  said=$(journalctl -q -u "hermeion-$(name_of "$1" "$2")" -n 20 -o cat 2>/dev/null |
    grep -v -e '^rsync error' -e '^Started' -e ' exited' -e '^hermeion-.*: Failed with result' | tail -n 1)
  holder=$(ss -Hltnp "sport = :$2" 2>/dev/null | sed -n 's/.*users:(("\\([^"]*\\)",pid=\\([0-9]*\\).*/\\1, process \\2/p' | head -n 1)
  echo "##error the weights cannot be given to other hosts at $1, port $2: ${holder:+$holder has it (}${said:-no answer}${holder:+)}." \\
    "Free the port, or set hermes_sharing (port, or hosts = false), and run again."
  exit 1
}
"""


def serve_script(
    spec: HostSpec,
    probe: Probe,
    doors: Sequence[Door],
    *,
    cache: str,
    module: str,
    user: str,
    password: str,
    keys: Mapping[str, str],
    idle_seconds: int = IDLE_SECONDS,
) -> str:
    """Offer a repository to other hosts; goes over standard input, since the password is in it.

    Once more is no change; another run's offers stay as they are.

    Args:
        doors: Where, and to whom.
        cache: Folder of the weights.
        module: ``models--org--name``.
        user: Of this run: ``[a-z0-9-]+``.
        password: Of this run.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
        idle_seconds: Without a question, after which the daemon ends.
    """
    program = files("hermeion.scripts").joinpath("share.sh").read_text()
    folder = shlex.quote(f"{cache}/hub/{module}")
    calls = "\n".join(
        f"serve {door.address} {door.port} {shlex.quote(module)} {folder} {shlex.quote(user)} "
        f"{shlex.quote(' '.join(door.allowed))}"
        for door in doors
    )
    sandbox = "\n".join(
        f'[ $version -lt {version} ] || sandbox="$sandbox {" ".join(f"-p {name}" for name in names.split())}"'
        for version, names in _SANDBOX.items()
    )
    serve = _SERVE.replace("@program@", _PROGRAM).replace("@idle@", str(idle_seconds))
    return f"""set -eu
umask 022
install -d -m 0711 /run/hermeion
command -v rsync >/dev/null || {{
echo "##note installing rsync"
{install(spec, probe, ["rsync"], keys=keys)}
}}
{write_files([HostFile(path=_PROGRAM, content=program)])}umask 077
password={base64.b64encode(password.encode()).decode()}
version=$(systemctl --version | sed -n '1s/[^0-9]*\\([0-9]*\\).*/\\1/p')
sandbox=
{sandbox}
{_FUNCTIONS}{serve}{calls}
"""


def stop_script(doors: Sequence[Door], *, module: str, user: str) -> str:
    """Take this run's offer back; a daemon that offers nothing any more is stopped."""
    calls = "\n".join(
        f"take_back {door.address} {door.port} {shlex.quote(module)} {shlex.quote(user)}" for door in doors
    )
    return f"""set -eu
umask 077
{_FUNCTIONS}take_back() {{ # $1 = address, $2 = port, $3 = module, $4 = user
  name=$(name_of "$1" "$2"); dir=/run/hermeion/$name.d
  [ -d "$dir" ] || return 0
  (
    flock 9
    rm -f "$dir/users/$3/$4.secret" "$dir/users/$3/$4.hosts"
    group=$(stat -L -c %g "/run/hermeion/$name")
    assemble "$dir" "$3"
    [ -n "$(ls "$dir/modules")" ] || systemctl stop "hermeion-$name.service"
  ) 9> "$dir/turn"
}}
{calls}
"""
