"""The service stage: image, release, activation."""

from __future__ import annotations

import json
import shlex

from hermeion.engines import ENGINES
from hermeion.jobs import HostFile, write_files
from hermeion.plans import Image, Service
from hermeion.render import RenderedFile


def image_script(image: Image, image_bytes: int) -> str:
    """Pull the image by digest through Docker's own API, which tells bytes."""
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
# vLLM turns its configuration into arguments: a key that began with a dash would be taken for an option.
if [ ! -s {keys} ] || grep -q '^-' {keys}; then
  (umask 077; {{ printf sk-; head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\\n'; echo; }} > {keys}.new; mv {keys}.new {keys})
fi
chmod 0600 {keys}
{write_files(host_files)}
# Whatever is not of this release does not belong into its folder.
for file in {release}/*; do
  case " {" ".join(file.path for file in rendered)} " in *" ${{file##*/}} "*) ;; *) rm -rf "$file" ;; esac
done
{f"docker compose -f {release}/compose.yaml config -q" if service.image else f"systemd-analyze verify {release}/{service.unit}"}
"""


def _answers(service: Service) -> str:
    """A shell function that ends with 0 once the engine is healthy and completes a chat."""
    request = json.dumps(
        {
            "model": service.served_names[0],
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 8,
        }
    )
    engine = ENGINES[service.engine]
    # Who stops waiting for a model that is being loaded stops its loading.
    patience = service.start_seconds if engine.LOADS_LATE else 120
    return f"""answers() {{
  curl -fsS -m 25 -o /dev/null http://127.0.0.1:{service.port}{engine.HEALTH} 2>/dev/null || return 1
  key=$(head -n 1 /etc/hermeion/{service.name}/api-keys)
  printf 'header = "Authorization: Bearer %s"\\n' "$key" | curl -fsS -m {patience} -K - -o /dev/null \\
    -H 'Content-Type: application/json' -d {shlex.quote(request)} http://127.0.0.1:{service.port}/v1/chat/completions
}}
"""


def answer_script(service: Service) -> str:
    """Ends with 0 if the service answers now."""
    return f"{_answers(service)}answers\n"


def _log_functions(service: Service) -> str:
    """Shell functions that print the engine's last lines (``$1``: how many), and the last one cut short."""
    journal = f"journalctl -q -u {service.unit} -o cat"
    if service.image:
        last_line = f"docker logs -n 1 hermeion-{service.name} 2>&1"
        # Compose puts the container's name before each line, its own words between them, and in front of all of them
        # (2.26) what clears a terminal's line.
        clear = "\\(\\x1b\\[2K\\)\\{0,1\\}"
        last_lines = f"{journal} -n $(($1 * 2)) | sed -n 's/^{clear}hermeion-{service.name} *| *//p' | tail -n $1"
    else:
        last_line, last_lines = f"{journal} -n 1", f"{journal} -n $1"
    return f"""last_lines() {{ {last_lines}; }}
last_words() {{ {last_line} | sed 's/^.*\\.py:[0-9]*\\] *//; /^Error response/d' | cut -c1-90; }}
"""


def _is_dead(service: Service) -> str:
    """A shell function that ends with 0 once the log says that the engine will never answer."""
    if not (dead := ENGINES[service.engine].DEAD):
        return "is_dead() { false; }\n"
    since = f'journalctl -q -u {service.unit} -o cat --since "@$begun"'
    return f"is_dead() {{ {since} | grep -qE {shlex.quote(dead)}; }}\n"


def _prune(service: Service) -> str:
    """Old releases, and native engines that no release names any more."""
    folder = service.folder
    return f"""  # The one that runs, the one before it, and one more; older ones can be made again from the inventory's history.
  ls -1t {folder}/releases | grep -vxF -e {service.release_id} -e "${{previous#releases/}}" | tail -n +2 |
    while read -r old; do rm -rf "{folder}/releases/$old"; done
  for old in /opt/hermeion/engines/*; do
    [ -d "$old" ] || continue
    build=${{old##*/}}; build=${{build##*-}}
    grep -qsF -- "$build" /opt/hermeion/*/releases/*/plan.json || rm -rf "$old"
  done
"""


def activate_script(service: Service) -> str:
    """Switch to the release, start it, wait until it answers; if it does not, bring the previous one back.

    What the engine said before it failed is printed as ``##log`` lines, for whoever explains it.
    """
    folder, unit = service.folder, service.unit
    return f"""set -eu
previous=$(readlink {folder}/current || true)
{_log_functions(service)}runs_docker() {{ if grep -qs 'docker compose' "$1"; then echo yes; else echo no; fi; }}
switch() {{
  # Only its own definition knows how to stop a container, or a native engine.
  [ ! -f /etc/systemd/system/{unit} ] || [ "$(runs_docker /etc/systemd/system/{unit})" = "$(runs_docker {folder}/"$1"/{unit})" ] ||
    systemctl stop {unit} 2>/dev/null || true
  ln -sfn "$1" {folder}/current.new
  mv -fT {folder}/current.new {folder}/current
  cp {folder}/current/{unit} /etc/systemd/system/.{unit}.new
  mv -f /etc/systemd/system/.{unit}.new /etc/systemd/system/{unit}
  systemctl daemon-reload
  systemctl enable --quiet {unit}
  systemctl reset-failed {unit} 2>/dev/null || true
  systemctl restart {unit}
}}
{_answers(service)}{_is_dead(service)}begun=$(date +%s)
wait_for_answer() {{
  while :; do
    answers && return 0
    now=$(date +%s)
    restarts=$(systemctl show -p NRestarts --value {unit})
    said=$(last_words)
    echo "##note ${{said:-starting}}"
    if [ "$restarts" -gt 0 ] || is_dead || [ $((now - begun)) -gt {service.start_seconds} ]; then return 1; fi
    sleep 1
  done
}}
switch releases/{service.release_id}
if wait_for_answer; then
  echo "##note answers"
{_prune(service)}  exit 0
fi
last_lines 300 | sed 's/^/##log /'
echo "the engine of release {service.release_id} does not answer; its last lines:"
last_lines 12
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
