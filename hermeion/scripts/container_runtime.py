"""The container runtime stage."""

from __future__ import annotations

from hermeion.container_runtime import PACKAGES, TOOLKIT_PACKAGES
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.probe import Probe
from hermeion.scripts.apt import apt_install, ca_files, nvidia_repository


def runtime_script(
    spec: HostSpec, probe: Probe, *, daemon_json: str | None, ca: str | None, mirror_key: str | None
) -> str:
    """Docker, Compose, toolkit, CDI. A new ``daemon.json`` that Docker refuses is taken back.

    Args:
        daemon_json: New content of ``/etc/docker/daemon.json``, or ``None`` to leave it.
    """
    lines = ["set -eu", write_files(ca_files(spec, ca))]
    packages = [] if probe.docker and probe.compose else list(PACKAGES)
    if "nvidia-container-toolkit-base" not in probe.packages:
        lines.append(nvidia_repository(spec, probe, ca=ca, mirror_key=mirror_key))
        packages += TOOLKIT_PACKAGES
    if daemon_json is not None:
        # Before Docker is installed: it then starts with it, and needs no restart.
        lines.append(
            f"""mkdir -p /etc/docker
rm -f /etc/docker/daemon.json.before-hermeion
[ ! -f /etc/docker/daemon.json ] || cp -p /etc/docker/daemon.json /etc/docker/daemon.json.before-hermeion
{write_files([HostFile(path="/etc/docker/daemon.json", content=daemon_json)])}
restart=yes"""
        )
    else:
        lines.append("restart=no")
    lines.append("was=$(systemctl is-active docker || true)")
    if packages:
        lines.append(apt_install(packages))
    lines.append(
        """take_back() {
  echo "Docker refuses the new /etc/docker/daemon.json; the old one is back"
  rm -f /etc/docker/daemon.json
  [ ! -f /etc/docker/daemon.json.before-hermeion ] || mv /etc/docker/daemon.json.before-hermeion /etc/docker/daemon.json
  systemctl reset-failed docker; systemctl restart docker; exit 1
}
if [ "$restart" = yes ]; then
  dockerd --validate --config-file /etc/docker/daemon.json || take_back
  if [ "$was" = active ]; then
    if [ -n "$(docker ps -q)" ] && ! docker info -f '{{.LiveRestoreEnabled}}' | grep -q true; then
      echo "containers are running and live-restore is off: restarting Docker would stop them."
      echo "Add \\"live-restore\\": true to /etc/docker/daemon.json, systemctl reload docker, run again."
      mv /etc/docker/daemon.json.before-hermeion /etc/docker/daemon.json 2>/dev/null || rm -f /etc/docker/daemon.json
      exit 1
    fi
    systemctl restart docker || take_back
  fi
fi
systemctl enable --now --quiet docker
systemctl restart nvidia-cdi-refresh.service
nvidia-ctk cdi list"""
    )
    return "\n".join(lines) + "\n"
