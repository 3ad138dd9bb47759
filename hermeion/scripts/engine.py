"""Installing an engine natively: a virtual environment from locked requirements, or the archives of a binary release.

Each lies in a folder of its own that is never changed once it is complete: a service switches to another one with its
release, and back with the previous release.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from hermeion.engines.natives import python_of, requirements, system_packages
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.plans import Package, Service
from hermeion.probe import Probe
from hermeion.runtime import CA_PATH
from hermeion.scripts.apt import ca_files
from hermeion.scripts.packages import install
from hermeion.scripts.tools import environment, tools_script

DOWNLOADS = "/opt/hermeion/engines/.downloads"
"""On the filesystem of the engines, so that uv links what it has unpacked; gone after a good end, kept after a bad one."""


def _progress(package: Package, folder: str) -> str:
    """Shell that tells in the background how many bytes there are."""
    if not package.download:
        return f"""( while sleep 1; do echo "##note $(du -sm {folder} 2>/dev/null | cut -f1) MB so far"; done ) & teller=$!
trap 'kill $teller 2>/dev/null' EXIT
"""
    return f"""echo "##total {package.download}"
( while sleep 1; do
    echo "##progress $(du -sb {folder} 2>/dev/null | cut -f1) {package.download}"
  done ) & teller=$!
trap 'kill $teller 2>/dev/null' EXIT
"""


def _venv(spec: HostSpec, probe: Probe, package: Package, lock: str, *, ca: str | None, keys: Mapping[str, str]) -> str:
    _, python = python_of(probe.os_id, probe.os_version) or ("", "python3")
    needed = list(system_packages(probe.os_id, probe.os_version))
    folder, text = package.folder, f"{DOWNLOADS}/{package.identity}.txt"
    index = f"--index-url {shlex.quote(spec.hermes_mirrors.index)}" if spec.hermes_mirrors.index else ""
    certificates = f"export SSL_CERT_FILE={CA_PATH}\n" if ca is not None else ""
    return f"""{tools_script(spec, probe, ca=ca, keys=keys)}
{install(spec, probe, needed, keys=keys) if needed else ":"}
{write_files([HostFile(path=text, content=lock)])}
rm -rf {folder}
echo "##note installing {package.name}"
{_progress(package, DOWNLOADS)}{certificates}export UV_CACHE_DIR={DOWNLOADS}/uv UV_NO_CONFIG=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=hardlink
{environment()}/bin/uv venv -q --python {python} {folder}
{environment()}/bin/uv pip install -q --python {folder}/bin/python --no-deps --require-hashes \\
  --only-binary :all: --compile-bytecode {index} -r {text}
[ -x {folder}/{package.program[0]} ] || {{ echo "##error the requirements bring no {package.program[0]}"; exit 1; }}
"""


_DOWNLOAD = """get() { # $1 = URL, $2 = file, $3 = options that go on with what is there
  # shellcheck disable=SC2086 # options
  if command -v curl >/dev/null 2>&1; then curl -fsSL @curl@ --retry 3 --retry-connrefused $3 -o "$2" "$1"
  else wget -q @wget@ --tries=3 ${3:+-c} -O "$2" "$1"; fi
}
sum() { sha256sum < "$1" | cut -d' ' -f1; }
unpack() { # $1 = URL, $2 = SHA-256, $3 = folder: the archive's content, without the one folder that it may lie in
  file=@downloads@/$2
  # Some servers cannot continue a file: then it comes from its beginning.
  { [ -f "$file" ] && [ "$(sum "$file")" = "$2" ]; } || get "$1" "$file" "-C -" || { rm -f "$file"; get "$1" "$file" ""; }
  found=$(sum "$file")
  if [ "$found" != "$2" ]; then
    rm -f "$file"
    echo "##error the archive $1 has SHA-256 $found, $2 was expected. It was not unpacked."
    exit 1
  fi
  rm -rf "$3.part"; mkdir "$3.part"
  tar -xf "$file" -C "$3.part" --no-same-owner
  top=$3.part
  set -- "$1" "$2" "$3" "$top"/*
  [ $# = 4 ] && [ -d "$4" ] && case ${4##*/} in bin | lib) ;; *) top=$4 ;; esac
  cp -al "$top/." "$3/"
  rm -rf "$3.part"
}
"""


def _archives(spec: HostSpec, probe: Probe, package: Package, *, ca: str | None, keys: Mapping[str, str]) -> str:
    new, program = f"{package.folder}.new", package.program[0]
    get = _DOWNLOAD.replace("@downloads@", DOWNLOADS)
    get = get.replace("@curl@", f"--cacert {CA_PATH}" if ca is not None else "")
    get = get.replace("@wget@", f"--ca-certificate={CA_PATH}" if ca is not None else "")
    zstd = any(file.url.endswith(".zst") for file in package.archives)
    needed = "command -v zstd >/dev/null || {\n" + install(spec, probe, ["zstd"], keys=keys) + "\n}\n" if zstd else ""
    unpack = "\n".join(f"unpack {shlex.quote(file.url)} {file.sha256} {new}" for file in package.archives)
    return f"""{write_files([*ca_files(spec, ca)])}{needed}echo "##note downloading {package.name}"
{_progress(package, DOWNLOADS)}{get}rm -rf {package.folder} {new}
mkdir {new}
{unpack}
[ -x {new}/{program} ] || {{ echo "##error the archive {package.archives[0].url} holds no program {program}"; exit 1; }}
chmod -R go+rX,go-w {new}
if ! said=$({new}/{program} --version 2>&1 < /dev/null); then
  echo "##error {package.name} does not run on this host: $(echo "$said" | tail -n 1). Set runtime = 'compose'."
  exit 1
fi
mv {new} {package.folder}
"""


def engine_script(
    spec: HostSpec,
    probe: Probe,
    service: Service,
    *,
    ca: str | None,
    keys: Mapping[str, str],
    lock: str | None,
) -> str:
    """Install the package of a native service, unless it is there.

    Args:
        ca: The site's certificates, as text.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
        lock: Text of the file that the service's ``requirements`` names, or ``None``: this release's own.
    """
    package = service.package
    if package is None:
        return ""
    if package.kind == "venv":
        known = requirements(service.engine, service.engine_version)
        text = lock if lock is not None else known.text if known else ""
        body = _venv(spec, probe, package, text, ca=ca, keys=keys)
    else:
        body = _archives(spec, probe, package, ca=ca, keys=keys)
    return f"""set -eu
umask 022
[ ! -f {package.folder}/.complete ] || exit 0
mkdir -p {DOWNLOADS}
# Services that are begun at the same time may want the same engine, and all use one folder of downloads.
exec 7<{package.folder.parent}
flock 7
[ ! -f {package.folder}/.complete ] || exit 0
mkdir -p {DOWNLOADS}
{body}
: > {package.folder}/.complete
rm -rf {DOWNLOADS}
"""
