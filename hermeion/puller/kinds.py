"""Which module brings bytes from where."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from .job import Job
from .sources import Refused, Source

KINDS = {"hub": "Hub", "peers": "Peers", "shared": "Shared", "bucket": "Bucket", "folder": "Folder"}


def open_source(entry: dict[str, Any], job: Job) -> Source:
    """The source that an entry of a job tells.

    Raises:
        Refused: There is no such kind.
    """
    kind = str(entry.get("kind"))
    if kind not in KINDS:
        raise Refused(f"{job.repo}: there is no source of the kind {kind!r}; the kinds are {', '.join(KINDS)}.")
    # Imported by name: what a pull does not use need not be on the host.
    module = import_module(f".{kind}", __package__)
    return cast("Source", getattr(module, KINDS[kind])(entry, job))
