"""``lab.json``: what a lab says about itself to inventories, tests and people."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hermeion.errors import LabError

from .paths import StatePaths, state_root, write_atomically
from .states import DEFAULT_SUITE


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HostEntry(_Record):
    """A host and where sshd listens. What has a default, files of older labs lack."""

    name: str
    address: str
    port: int
    gpus: str
    suite: str = DEFAULT_SUITE
    state: str = "bare"
    """What the host was put into, ``driver+docker-stopped`` for several; or what was begun and not finished."""
    shared: list[str] = []
    """Folders that it shares with other hosts: ``/srv/models``, or ``/srv/models:nfs4`` if it says so of it."""


class ModelEntry(_Record):
    """A model on the lab's Hub, as an entry of ``hermes_catalog``. What it is, its own files say."""

    name: str
    repo: str
    revision: str
    file: str | None = None
    """The GGUF file to serve; None: the repository holds safetensors."""


class ArchiveEntry(_Record):
    """A file that the lab serves for native services."""

    url: str
    sha256: str


class S3Entry(_Record):
    """The lab's store of buckets: what an inventory and the environment say of one, and what curl and rclone need."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str


class LabFile(_Record):
    """The whole file. What comes after ``mirrors`` is empty until it has been built."""

    name: str
    user: str
    key: str
    known_hosts: str
    hosts: list[HostEntry]
    mirrors: dict[str, Any]
    images: dict[str, str]
    """References with digest, by engine."""
    models: list[ModelEntry]
    archives: dict[str, ArchiveEntry] = {}
    """Programs for native services, by engine."""
    requirements: dict[str, str] = {}
    """Files on this machine that list wheels with hashes, by engine; with ``--native`` only."""
    environment: dict[str, dict[str, str]] = {}
    """What a native service needs on a machine without GPU, by engine; with ``--native`` only."""
    s3: S3Entry | None = None


def write_lab_file(lab: LabFile, state: StatePaths) -> None:
    """Write ``lab.json`` atomically."""
    write_atomically(state.lab_file, lab.model_dump_json(indent=2, exclude_none=True) + "\n")


def read_lab_file(name: str) -> LabFile:
    """The file of the lab called ``name``.

    Raises:
        LabError: There is no such lab, or its file is not one of this version.
    """
    state = StatePaths.of(name)
    try:
        return LabFile.model_validate_json(state.lab_file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"no lab named {name!r} is up ({state.lab_file} is not there): run hermeion lab up --name {name}"
        raise LabError(message) from error
    except ValidationError as error:
        message = f"{state.lab_file} is not a lab of this version: {error}\nRun hermeion lab up --name {name} again."
        raise LabError(message) from error


def list_labs() -> list[str]:
    """Names of labs that have state on this machine."""
    root = state_root()
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
