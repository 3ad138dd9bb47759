"""The shell scripts that bring a host to its plan: pure texts, run as jobs."""

from __future__ import annotations

import json
import shlex
from importlib.resources import files
from urllib.parse import urlsplit

from hermeion.container_runtime import CA_PATH, PACKAGES, TOOLKIT_PACKAGES, registry_ca_path
from hermeion.drivers import CUDA_REPOSITORIES, KEYRING_SHA256
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.plans import Plan, Service
from hermeion.probe import Probe
from hermeion.render import RenderedFile
from hermeion.sources import Sources, hub_url
from hermeion.stages import sha256

APT = (
    "export DEBIAN_FRONTEND=noninteractive LC_ALL=C\n"
    "apt() { apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "
    '-o APT::Status-Fd=1 "$@"; }\n'
)

PULLER = "/opt/hermeion/puller"


def _apt_install(packages: tuple[str, ...] | list[str]) -> str:
    names = " ".join(shlex.quote(package) for package in packages)
    return f"{APT}apt update\napt install -y --no-install-recommends {names}\n"


def ca_files(spec: HostSpec, ca: str | None) -> list[HostFile]:
    """The site's certificates for everything that is fetched, and for Docker."""
    if ca is None:
        return []
    paths = [CA_PATH, registry_ca_path(spec.hermes_mirrors)]
    return [HostFile(path=path, content=ca) for path in paths if path]


def nvidia_repository(spec: HostSpec, probe: Probe, *, ca: str | None, mirror_key: str | None) -> str:
    """A script that adds NVIDIA's repository or its mirror, with its key.

    Args:
        mirror_key: Public key of the mirror, as text.
    """
    mirror = spec.hermes_mirrors.apt.nvidia
    if mirror is None:
        base = CUDA_REPOSITORIES[probe.os_id, probe.os_version]
        keyring = KEYRING_SHA256[probe.os_version]
        return f"""{_apt_install(["curl", "ca-certificates"])}
keyring=$(mktemp)
trap 'rm -f "$keyring"' EXIT
curl -fsSL -o "$keyring" {base}cuda-keyring_1.1-1_all.deb
if ! echo "{keyring}  $keyring" | sha256sum -c --status; then
  echo "NVIDIA changed the package cuda-keyring_1.1-1_all.deb: its SHA-256 is not {keyring}"; exit 1
fi
dpkg -i "$keyring"
"""
    text = [
        HostFile(path="/etc/apt/keyrings/hermeion-nvidia.asc", content=mirror_key or ""),
        HostFile(
            path="/etc/apt/sources.list.d/hermeion-nvidia.sources",
            content=f"Types: deb\nURIs: {mirror.url}\nSuites: ./\nSigned-By: /etc/apt/keyrings/hermeion-nvidia.asc\n",
        ),
    ]
    if ca is not None and mirror.url.startswith("https:"):
        name = urlsplit(mirror.url).hostname
        setting = f'Acquire::https::{name}::CAInfo "{CA_PATH}";\n'
        text.append(HostFile(path="/etc/apt/apt.conf.d/50hermeion-nvidia", content=setting))
    return write_files(text)


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
        + _apt_install(plan.driver.packages)
        + f"systemctl enable --quiet {' '.join(units)}\n"
        + "modprobe nvidia || echo 'the module cannot be loaded yet: a reboot is needed'\n"
    )


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
[ ! -f /etc/docker/daemon.json ] || cp -p /etc/docker/daemon.json /etc/docker/daemon.json.before-hermeion
{write_files([HostFile(path="/etc/docker/daemon.json", content=daemon_json)])}
restart=yes"""
        )
    else:
        lines.append("restart=no")
    lines.append("was=$(systemctl is-active docker || true)")
    if packages:
        lines.append(_apt_install(packages))
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


def cache_script(spec: HostSpec, service: Service, sources: Sources, *, ca: str | None, token: str | None) -> str:
    """The puller's environment, then the pull."""
    requirements = files("hermeion.data").joinpath("puller-requirements.txt").read_text()
    program = files("hermeion.host_scripts").joinpath("pull.py").read_text()
    venv = f"{PULLER}/{sha256(requirements)[:12]}"
    job = {
        "repo": service.repo,
        "revision": service.revision,
        "cache": service.cache,
        "files": [file.to_json() for file in sources.files],
    }
    index = spec.hermes_mirrors.index
    pip = " ".join(
        ["--no-input --disable-pip-version-check -q", f"--index-url {shlex.quote(index)}" if index else ""]
        + ([f"--cert {CA_PATH}"] if ca is not None else [])
    )
    certificates = f"export SSL_CERT_FILE={CA_PATH} REQUESTS_CA_BUNDLE={CA_PATH}\n" if ca is not None else ""
    return f"""set -eu
umask 022
{
        write_files(
            [
                *ca_files(spec, ca),
                HostFile(path=f"{PULLER}/requirements.txt", content=requirements),
                HostFile(path=f"{PULLER}/pull.py", content=program),
                HostFile(path=f"/run/hermeion/pull-{service.name}.json", content=json.dumps(job)),
            ]
        )
    }
if [ ! -x {venv}/bin/python ]; then
  echo "##note installing the Hub client"
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    {_apt_install(["python3", "python3-venv"])}
  fi
  rm -rf {venv}.new
  python3 -m venv {venv}.new
  # pip 25 takes certificates through a library that refuses an index named by an IP address; its older way does not.
  version=$({venv}.new/bin/pip --version | cut -d' ' -f2 | cut -d. -f1)
  [ "$version" -lt 25 ] || export PIP_USE_DEPRECATED=legacy-certs
  {venv}.new/bin/pip install {pip} --require-hashes --only-binary=:all: -r {PULLER}/requirements.txt
  mv {venv}.new {venv}
fi
{certificates}export HF_HOME=/run/hermeion/hf-home HF_ENDPOINT={shlex.quote(hub_url(spec))}
export HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_UPDATE_CHECK=1 HF_HUB_DISABLE_PROGRESS_BARS=1
export HF_HUB_DISABLE_SHARED_BLOBS=1 HF_XET_TELEMETRY_ENABLED=0 HF_HUB_DOWNLOAD_TIMEOUT=60 HF_HUB_ETAG_TIMEOUT=60
{f"HF_TOKEN={shlex.quote(token)}; export HF_TOKEN" if token else ":"}
exec {venv}/bin/python {PULLER}/pull.py /run/hermeion/pull-{service.name}.json
"""


def image_script(service: Service, image_bytes: int) -> str:
    """Pull the image by digest through Docker's own API, which tells bytes."""
    image = service.image
    return f"""set -eu
echo "##total {image_bytes}"
curl -sS --no-buffer --unix-socket /var/run/docker.sock -X POST \\
  "http://docker/images/create?fromImage={image.name}&tag={image.digest}" | tr -d '\\r'
docker image inspect --format 'image {{{{.Id}}}}' {shlex.quote(image.reference)}
"""


def release_script(service: Service, rendered: tuple[RenderedFile, ...]) -> str:
    """Write a release beside the others; nothing that runs is touched. Keys are made once and never leave the host."""
    release = f"{service.folder}/releases/{service.release_id}"
    keys = f"/etc/hermeion/{service.name}/api-keys"
    host_files = [
        HostFile(path=f"{release}/{file.path}", content=file.content, mode=f"0{file.mode}") for file in rendered
    ]
    return f"""set -eu
umask 022
mkdir -p {release}
install -d -m 0700 /etc/hermeion/{service.name}
if [ ! -s {keys} ]; then
  (umask 077; head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\\n' > {keys}.new; echo >> {keys}.new; mv {keys}.new {keys})
fi
chmod 0600 {keys}
{write_files(host_files)}
# Whatever is not of this release does not belong into its folder.
for file in {release}/*; do
  case " {" ".join(file.path for file in rendered)} " in *" ${{file##*/}} "*) ;; *) rm -rf "$file" ;; esac
done
docker compose -f {release}/compose.yaml config -q
"""


def activate_script(service: Service) -> str:
    """Switch to the release, start it, wait until it answers; if it does not, bring the previous one back."""
    folder, unit = service.folder, service.unit
    request = json.dumps(
        {
            "model": service.served_names[0],
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 8,
        }
    )
    return f"""set -eu
previous=$(readlink {folder}/current || true)
switch() {{
  ln -sfn "$1" {folder}/current.new
  mv -fT {folder}/current.new {folder}/current
  cp {folder}/current/{unit} /etc/systemd/system/.{unit}.new
  mv -f /etc/systemd/system/.{unit}.new /etc/systemd/system/{unit}
  systemctl daemon-reload
  systemctl enable --quiet {unit}
  systemctl reset-failed {unit} 2>/dev/null || true
  systemctl restart {unit}
}}
answers() {{
  curl -fsS -m 5 -o /dev/null http://127.0.0.1:{service.port}/health 2>/dev/null || return 1
  key=$(head -n 1 /etc/hermeion/{service.name}/api-keys)
  printf 'header = "Authorization: Bearer %s"\\n' "$key" | curl -fsS -m 120 -K - -o /dev/null \\
    -H 'Content-Type: application/json' -d {shlex.quote(request)} http://127.0.0.1:{service.port}/v1/chat/completions
}}
begun=$(date +%s)
wait_for_answer() {{
  while :; do
    answers && return 0
    now=$(date +%s)
    restarts=$(systemctl show -p NRestarts --value {unit})
    said=$(docker logs -n 1 hermeion-{service.name} 2>&1 | sed 's/^.*\\.py:[0-9]*\\] *//; /^Error response/d' | cut -c1-90)
    echo "##note ${{said:-starting}}"
    if [ "$restarts" -gt 0 ] || [ $((now - begun)) -gt {service.start_seconds} ]; then return 1; fi
    sleep 1
  done
}}
switch releases/{service.release_id}
if wait_for_answer; then
  echo "##note answers"
  # The one that runs, the one before it, and one more; older ones can be made again from the inventory's history.
  ls -1t {folder}/releases | grep -vxF -e {service.release_id} -e "${{previous#releases/}}" | tail -n +2 |
    while read -r old; do rm -rf "{folder}/releases/$old"; done
  exit 0
fi
echo "the engine of release {service.release_id} does not answer; its last lines:"
journalctl -q -u {unit} -o cat -n 200 | sed -n 's/^hermeion-{service.name} *| *//p' | tail -n 12
if [ -n "$previous" ] && [ "$previous" != releases/{service.release_id} ]; then
  begun=$(date +%s)
  switch "$previous"
  if wait_for_answer; then echo "the previous release ${{previous#releases/}} serves again"
  else echo "the previous release ${{previous#releases/}} does not answer either"; fi
else
  systemctl stop {unit}
fi
exit 1
"""
