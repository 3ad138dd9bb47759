"""The container runtime stage: brings a host to its ``RuntimePlan``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.plans import RuntimePlan
from hermeion.probe import Probe
from hermeion.runtime import gpu_access
from hermeion.runtime.daemon import DAEMON_JSON
from hermeion.runtime.disruption import LIVE_RESTORE
from hermeion.runtime.engine import docker_packages, docker_version
from hermeion.runtime.specification import AUTOMATIC, OLDEST_FOR_GIDS
from hermeion.scripts.apt import apt_install, ca_files
from hermeion.scripts.dnf import dnf_install
from hermeion.scripts.packages import prelude
from hermeion.scripts.repositories import docker_repository, is_rpm, toolkit_repository

BACKUP = ".before-hermeion"
"""Ending of what was moved aside or replaced."""

REFRESH_SETTINGS = "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"
"""Read by the toolkit's service: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/ (CDI support)."""

NO_GIDS = "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS=no-additional-gids-for-device-nodes"


def runtime_script(spec: HostSpec, probe: Probe, plan: RuntimePlan, *, ca: str | None, keys: Mapping[str, str]) -> str:
    """Docker, Compose, toolkit, ``daemon.json``, CDI specification; ends with a look at the result.

    What would stop containers is looked at again at the moment. A ``daemon.json`` that Docker does not start with is
    taken back. Everything can be run again after it was cut off.

    Args:
        ca: The site's certificates, as text.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
    """
    access = gpu_access(probe)
    parts = ["set -eu", write_files(ca_files(spec, ca))]
    if plan.engine is not None:
        parts.append(NO_SNAP)
    # Before Docker is installed or started: it then begins with it, and needs no restart.
    early = plan.daemon_json is not None and plan.restart == "none"
    parts.append(_take_back())
    if early:
        parts.append(_write(plan.daemon_json or ""))
    lists = [path for path in plan.remove if path.startswith("/etc/apt/")]
    parts += [_move_aside(path) for path in lists]
    parts.append(_install(spec, probe, plan, ca=ca, keys=keys))
    if plan.restart != "none":
        parts.append(_change_daemon(plan, disrupt=spec.hermes_disrupt))
    parts.append(START)
    parts.append(CDI_IS_ON if access == "cdi" else RUNTIME_IS_ON)
    parts += [_move_aside(path) for path in plan.remove if path not in lists]
    if plan.specification:
        version = docker_version(probe)
        if version is not None and version < OLDEST_FOR_GIDS:
            parts.append(_without_gids())
        parts.append(GENERATE)
    return "\n".join(part.rstrip("\n") for part in parts if part.strip()) + "\n"


NO_SNAP = """# A snap is in no package list, and keeps its daemon beside whatever is installed here.
if [ -e /snap/bin/docker ] || [ -e /var/lib/snapd/snap/bin/docker ]; then
  echo "Docker is here as a snap, which sees neither GPUs nor the folders that services need."
  echo "\\`snap remove docker\\`, then run again."; exit 1
fi"""

START = """systemctl reset-failed docker 2>/dev/null || true
systemctl enable --now --quiet docker || take_back
if ! said=$(docker info 2>&1 >/dev/null); then
  echo "Docker is started, and \\`docker info\\` fails: $said"; exit 1
fi"""

CDI_IS_ON = """folders=$(docker info --format '{{json .CDISpecDirs}}')
case $folders in
  '[]' | null | '')
    echo "Docker $(docker version --format '{{.Server.Version}}') does not look for CDI specifications, though nothing in"
    echo "/etc/docker/daemon.json keeps it from it. Look at the daemon's own options (systemctl cat docker)."; exit 1 ;;
esac"""

RUNTIME_IS_ON = """if ! docker info --format '{{json .Runtimes}}' | grep -q '"nvidia"'; then
  echo "Docker does not know the runtime nvidia, though /etc/docker/daemon.json names it."; exit 1
fi"""

GENERATE = f"""stamp=$(mktemp)
systemctl restart nvidia-cdi-refresh.service || true
# The service skips itself where it finds no kernel module of the names that it knows.
if [ -z "$(find {AUTOMATIC} -newer "$stamp" 2>/dev/null)" ]; then
  echo "nvidia-cdi-refresh.service wrote nothing; the CDI specification is generated without it"
  [ ! -f {REFRESH_SETTINGS} ] || {{ set -a; . {REFRESH_SETTINGS}; set +a; }}
  mkdir -p {AUTOMATIC.rpartition("/")[0]}
  nvidia-ctk cdi generate --output={AUTOMATIC}
fi
rm -f "$stamp"
gpus=$(nvidia-smi --query-gpu=uuid,mig.mode.current --format=csv,noheader) || {{ echo "nvidia-smi: $gpus"; exit 1; }}
listed=$(nvidia-ctk cdi list 2>/dev/null)
printf '%s\\n' "$gpus" | while IFS=', ' read -r uuid mig; do
  [ "$mig" != Enabled ] || continue
  if ! printf '%s\\n' "$listed" | grep -qxF "nvidia.com/gpu=$uuid"; then
    echo "the new CDI specification {AUTOMATIC} does not list $uuid"; exit 1
  fi
done
sed -n 's/.*hostPath"\\{{0,1\\}}: *"\\{{0,1\\}}\\([^",}} ]*\\).*/\\1/p' {AUTOMATIC} | sort -u | while read -r path; do
  if [ ! -e "$path" ]; then echo "the new CDI specification names $path, which is not there"; exit 1; fi
done
printf '%s\\n' "$listed\""""


MEND = """# Packages of several versions were forced past their dependencies, and apt refuses everything until they are met.
apt-get -q check >/dev/null 2>&1 || apt update
if ! apt-get -q check >/dev/null 2>&1 && apt-get -q -s -f install 2>/dev/null | grep -q '^Remv'; then
  fail "apt finds unmet dependencies, and to mend them would remove packages (apt-get -s -f install). Mend them by hand, then run again."
fi
apt-get -q check >/dev/null 2>&1 || apt install -y -f --no-install-recommends"""


def _take_back() -> str:
    return f"""changed=no
take_back() {{
  if [ $changed = no ]; then
    echo "Docker does not start; its last words:"; journalctl -q -u docker -o cat -n 5 2>/dev/null || true; exit 1
  fi
  echo "Docker refuses the new {DAEMON_JSON}; the old one is back"
  rm -f {DAEMON_JSON}
  [ ! -f {DAEMON_JSON}{BACKUP} ] || mv {DAEMON_JSON}{BACKUP} {DAEMON_JSON}
  # Docker that only looked at the file still runs with the old one.
  [ "${{1:-}}" != running ] || exit 1
  systemctl reset-failed docker 2>/dev/null || true
  systemctl restart docker || echo "Docker does not start with the old one either"
  exit 1
}}"""


def _write(text: str) -> str:
    return f"""mkdir -p {shlex.quote(DAEMON_JSON.rpartition("/")[0])}
rm -f {DAEMON_JSON}{BACKUP}
[ ! -f {DAEMON_JSON} ] || cp -p {DAEMON_JSON} {DAEMON_JSON}{BACKUP}
{write_files([HostFile(path=DAEMON_JSON, content=text)])}changed=yes"""


def _move_aside(path: str) -> str:
    here = shlex.quote(path)
    there = shlex.quote(path + BACKUP)
    return (
        f"[ ! -e {here} ] || {{ mv -f {here} {there}; echo {shlex.quote(f'moved aside: {path} to {path}{BACKUP}')}; }}"
    )


def _without_gids() -> str:
    name = NO_GIDS.partition("=")[0]
    return f"""# Docker before 26.1 cannot read the version of CDI that additional groups need.
mkdir -p {REFRESH_SETTINGS.rpartition("/")[0]}
grep -qs '^{name}=' {REFRESH_SETTINGS} || echo {NO_GIDS} >> {REFRESH_SETTINGS}"""


def _install(spec: HostSpec, probe: Probe, plan: RuntimePlan, *, ca: str | None, keys: Mapping[str, str]) -> str:
    packages = [*plan.packages, *plan.toolkit]
    if not packages:
        return ""
    # A repository that a list of the host's names already is used as it is there.
    parts = [prelude(spec, probe, keys=keys)]
    if plan.engine == "docker" or docker_packages()[1].compose in plan.packages:
        parts.append(docker_repository(spec, probe, ca=ca, keys=keys))
    if plan.toolkit:
        parts.append(toolkit_repository(spec, probe, ca=ca, keys=keys))
    if plan.toolkit and not is_rpm(probe):
        parts.append(MEND)
    if is_rpm(probe):
        parts.append(dnf_install([package.replace("=", "-") for package in packages]))
    else:
        parts.append(apt_install(packages, spec))
    return "\n".join(parts)


def _change_daemon(plan: RuntimePlan, *, disrupt: bool) -> str:
    """Write, validate, and have Docker read it; what would stop containers is looked at again before."""
    guard = ""
    if plan.restart == "restart" and not disrupt:
        guard = f"""guard() {{
  [ -n "$(docker ps -q)" ] || return 0
  names=$(docker ps --format '{{{{.Names}}}}' | tr '\\n' ' ')
  if [ -n "$(docker ps -q --filter label=org.hermeion.service)" ]; then
    echo "services of Hermeion run (${{names% }}) and stop with Docker: allow its restart with hermes_disrupt."; exit 1
  fi
  case $(docker info --format '{{{{.LiveRestoreEnabled}}}} {{{{.Swarm.LocalNodeState}}}}') in
    'true inactive') ;;
    *) echo "containers run (${{names% }}) and live-restore is off: restarting Docker would stop them."
       echo {shlex.quote(LIVE_RESTORE)}"; or allow it with hermes_disrupt."; exit 1 ;;
  esac
}}
guard"""
    write = _write(plan.daemon_json) if plan.daemon_json is not None else ""
    how = (
        "systemctl reload docker || take_back"
        if plan.restart == "reload"
        else """before=$(docker ps -q --no-trunc | sort)
systemctl restart docker || take_back
for container in $before; do
  docker ps -q --no-trunc | grep -qxF "$container" || echo "container $container no longer runs after the restart"
done"""
    )
    # Docker before 23 cannot validate without starting.
    change = f"""{write}
if dockerd --help 2>&1 | grep -q -e --validate; then
  said=$(dockerd --validate --config-file {DAEMON_JSON} 2>&1) || {{ printf %s "${{said:+$said
}}"; take_back running; }}
fi
{how}"""
    return f"""if [ "$(systemctl is-active docker || true)" = active ]; then
{guard}
{change}
{"else" if write else ""}
{write}
fi"""
