"""The host's own environment of tools: the Hub's client, and uv. Pinned and checked by hash."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files

from hermeion.hashes import sha256
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.probe import Probe
from hermeion.runtime import CA_PATH
from hermeion.scripts.apt import ca_files
from hermeion.scripts.packages import install
from hermeion.scripts.repositories import is_rpm

FOLDER = "/opt/hermeion/puller"


def requirements() -> str:
    """Locked requirements of the environment."""
    return files("hermeion.data").joinpath("puller-requirements.txt").read_text()


def environment() -> str:
    """Its folder on the host; other requirements are another folder."""
    return f"{FOLDER}/{sha256(requirements())[:12]}"


def tools_script(
    spec: HostSpec, probe: Probe, *, ca: str | None, keys: Mapping[str, str], packages: Sequence[str] = ()
) -> str:
    """Make the environment, unless it is there.

    Args:
        packages: Programs that are installed too, each a package of the same name, unless they are there.
        ca: The site's certificates, as text.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
    """
    # The client wants Python 3.10: RHEL 8 and 9 have an older one, and 3.11 beside it (AppStream).
    old = is_rpm(probe) and probe.os_version.split(".")[0] in {"8", "9"}
    python = "python3.11" if old else "python3"
    needed = [python] if is_rpm(probe) else ["python3", "python3-venv"]
    venv, index = environment(), spec.hermes_mirrors.index
    pip = " ".join(
        ["--no-input --disable-pip-version-check -q", f"--index-url {shlex.quote(index)}" if index else ""]
        + ([f"--cert {CA_PATH}"] if ca is not None else [])
    )
    programs = "".join(
        f"command -v {shlex.quote(name)} >/dev/null 2>&1 || {{\n  {install(spec, probe, [name], keys=keys)}\n}}\n"
        for name in packages
    )
    return f"""{write_files([*ca_files(spec, ca), HostFile(path=f"{FOLDER}/requirements.txt", content=requirements())])}
# Two jobs of ours may want it at the same time.
exec 8>/run/hermeion/tools.lock
flock 8
if [ ! -x {venv}/bin/python ]; then
  echo "##note installing the Hub client"
  if ! {python} -c 'import venv, ensurepip' 2>/dev/null; then
    {install(spec, probe, needed, keys=keys)}
  fi
  if ! {python} -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "##error the Hub's client needs Python 3.10 or newer, {python} is $({python} -V 2>&1 | cut -d' ' -f2) here. Install a newer python3, then run again."
    exit 1
  fi
  rm -rf {venv}.new
  {python} -m venv {venv}.new
  # pip 25 takes certificates through a library that refuses an index named by an IP address; its older way does not.
  version=$({venv}.new/bin/pip --version | cut -d' ' -f2 | cut -d. -f1)
  [ "$version" -lt 25 ] || export PIP_USE_DEPRECATED=legacy-certs
  {venv}.new/bin/pip install {pip} --require-hashes --only-binary=:all: -r {FOLDER}/requirements.txt
  mv {venv}.new {venv}
fi
{programs}exec 8>&-
"""
