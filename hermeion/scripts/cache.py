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
from hermeion.scripts.tools import FOLDER, environment, tools_script
from hermeion.sources import Sources


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
    program = files("hermeion.host_scripts").joinpath("pull.py").read_text()
    job = {
        "name": service.snapshot,
        "repo": service.repo,
        "revision": service.revision,
        "cache": service.cache,
        "files": [file.to_json() for file in sources.files],
    }
    certificates = f"export SSL_CERT_FILE={CA_PATH} REQUESTS_CA_BUNDLE={CA_PATH}\n" if ca is not None else ""
    return f"""set -eu
umask 022
{
        write_files(
            [
                HostFile(path=f"{FOLDER}/pull.py", content=program),
                HostFile(path=f"/run/hermeion/pull-{service.name}.json", content=json.dumps(job)),
            ]
        )
    }
{tools_script(spec, probe, ca=ca, keys=keys)}
{certificates}export HF_HOME=/run/hermeion/hf-home HF_ENDPOINT={shlex.quote(hub_url(spec))}
export HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_UPDATE_CHECK=1 HF_HUB_DISABLE_PROGRESS_BARS=1
export HF_HUB_DISABLE_SHARED_BLOBS=1 HF_XET_TELEMETRY_ENABLED=0 HF_HUB_DOWNLOAD_TIMEOUT=60 HF_HUB_ETAG_TIMEOUT=60
{f"HF_TOKEN={shlex.quote(token)}; export HF_TOKEN" if token else ":"}
exec {environment()}/bin/python {FOLDER}/pull.py /run/hermeion/pull-{service.name}.json
"""
