"""Where a lab keeps its state, and where builds are cached between labs."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermeion.errors import LabError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def check_name(name: str, what: str = "lab") -> str:
    """``name`` itself, if it can be part of container, network and host names.

    Raises:
        LabError: The name has other characters or is too long.
    """
    if not _NAME.fullmatch(name):
        message = (
            f"{name!r} is not a {what} name: a name starts with a letter and has at most 31 lower-case letters, "
            f"digits and hyphens. Choose another, for example {what}-1."
        )
        raise LabError(message)
    return name


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / fallback) / "hermeion" / "lab"


def state_root() -> Path:
    """The folder that holds one folder per lab."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def cache_root() -> Path:
    """The folder of build results that labs share; every entry can be deleted and is then made again."""
    return _xdg("XDG_CACHE_HOME", ".cache")


@dataclass(frozen=True)
class StatePaths:
    """The files of one lab."""

    root: Path

    @classmethod
    def of(cls, name: str) -> StatePaths:
        """The state of the lab called ``name``, which need not exist yet."""
        return cls(state_root() / check_name(name))

    @property
    def lab_file(self) -> Path:
        """``lab.json``: written last, so that its presence says that the lab is usable."""
        return self.root / "lab.json"

    @property
    def key(self) -> Path:
        """The private ssh key that root and admin of every host accept."""
        return self.root / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' ssh host keys."""
        return self.root / "known_hosts"

    @property
    def ca(self) -> Path:
        """Certificate of the lab's certificate authority, PEM."""
        return self.root / "ca.pem"

    @property
    def apt_key(self) -> Path:
        """Public key that signs the lab's apt repository, ASCII armour."""
        return self.root / "apt-key.asc"

    @property
    def tls(self) -> Path:
        """Folder with ``server.crt`` and ``server.key`` for the services container."""
        return self.root / "tls"

    @property
    def serving(self) -> Path:
        """Folder with ``served.json``: what the services container serves now."""
        return self.root / "serving"

    def host(self, name: str) -> Path:
        """Folder of one host: its PCI tree and its ssh host key."""
        return self.root / "hosts" / name


def write_atomically(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """Write ``data`` so that a reader sees the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2) + "\n", mode)
