"""The cache stage."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from importlib.resources import files

from hermeion.answers import hub_url
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, write_files
from hermeion.plans import Service
from hermeion.probe import Probe
from hermeion.runtime import CA_PATH
from hermeion.scripts.apt import ca_files
from hermeion.scripts.packages import install
from hermeion.scripts.repositories import is_rpm
from hermeion.sources import Sources
from hermeion.stages import sha256

PULLER = "/opt/hermeion/puller"


def cache_script(
    spec: HostSpec,
    probe: Probe,
    service: Service,
    sources: Sources,
    *,
    ca: str | None,
    keys: Mapping[str, str],
    token: str | None,
) -> str:
    """The puller's environment, then the pull.

    Args:
        ca: The site's certificates, as text.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
        token: For the Hub, or ``None``.
    """
    python = ["python3"] if is_rpm(probe) else ["python3", "python3-venv"]
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
    {install(spec, probe, python, keys=keys)}
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
