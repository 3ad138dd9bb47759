"""The job that brings weights into a host's cache: the puller with its environment, and what it is to pull."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from hermeion.hashes import sha256
from hermeion.inventory import HostSpec
from hermeion.jobs import HostFile, Work, write_files
from hermeion.plans import Service
from hermeion.probe import Probe
from hermeion.scripts.tools import FOLDER, environment, tools_script
from hermeion.sources import HubFile


@cache
def puller_files() -> dict[str, str]:
    """The puller's modules by name: text."""
    folder = files("hermeion.puller")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".py"))
    return {name: folder.joinpath(name).read_text() for name in names}


def puller_folder() -> str:
    """Its folder on the host; another text is another folder, and a pull that runs keeps its own."""
    return f"{FOLDER}/code-{sha256(json.dumps(puller_files()))[:12]}"


def job_name(service: Service) -> str:
    """The job that brings a service's weights."""
    return f"weights-{service.name}"


def weights_work(
    spec: HostSpec,
    probe: Probe,
    service: Service,
    wanted: Sequence[HubFile],
    sources: Sequence[Mapping[str, Any]],
    *,
    ca: str | None,
    keys: Mapping[str, str],
    secrets: Mapping[str, str],
    packages: Sequence[str] = (),
) -> Work:
    """Make the puller's environment, then pull.

    Args:
        wanted: The files of the repository.
        sources: Where they come from, as the puller's job names it.
        ca: The site's certificates, as text.
        keys: Public keys of the mirrors of package repositories, as text, by ``apt/nvidia`` and so on.
        secrets: Texts by file name, that the sources name.
        packages: What else the sources need on the host.
    """
    code = PurePosixPath(puller_folder())
    job = {
        "name": service.snapshot,
        "repo": service.repo,
        "revision": service.revision,
        "cache": service.cache,
        "files": [file.to_json() for file in wanted],
        "sources": [dict(source) for source in sources],
    }
    job_file = f"/run/hermeion/{job_name(service)}.json"
    texts = [HostFile(path=f"{code}/puller/{name}", content=text) for name, text in puller_files().items()]
    return Work(
        f"""set -eu
umask 022
{write_files([*texts, HostFile(path=job_file, content=json.dumps(job))])}
{tools_script(spec, probe, ca=ca, keys=keys, packages=packages)}
export HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_UPDATE_CHECK=1 HF_HUB_DISABLE_PROGRESS_BARS=1
export HF_HUB_DISABLE_SHARED_BLOBS=1 HF_XET_TELEMETRY_ENABLED=0 HF_HUB_DOWNLOAD_TIMEOUT=60 HF_HUB_ETAG_TIMEOUT=60
export PYTHONPATH={code} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
cd /
exec {environment()}/bin/python -m puller {job_file}
""",
        secrets,
    )
