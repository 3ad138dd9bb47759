"""A folder that nobody else may read, for as long as a pull lasts: secrets, and what the Hub's client keeps at home."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .identity import Owner

_RUN = Path("/run/hermeion")
"""On tmpfs; where it is not, the folder for temporary files does."""


def make_private(owner: Owner, parent: Path | None = None) -> Path:
    """The folder, mode 0700, owned by who will pull. What killed pulls left there is taken away."""
    parent = parent or (_RUN if _RUN.is_dir() and os.access(_RUN, os.W_OK) else Path(tempfile.gettempdir()))
    for left in parent.glob("hermeion-pull-*-*"):
        if not Path(f"/proc/{left.name.split('-')[2]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"hermeion-pull-{os.getpid()}-", dir=parent))
    _give(folder, owner)
    return folder


def hold_secrets(entry: dict[str, Any], folder: Path, owner: Owner) -> dict[str, Any]:
    """A source's entry for the user who pulls.

    A token is read into memory, as ``token``. Other ``…_file`` entries are for programs that want a file: they are
    copied into the private folder.
    """
    held = dict(entry)
    for key, value in entry.items():
        if not key.endswith("_file") or value is None:
            continue
        if key == "token_file":
            held["token"] = Path(value).read_text(encoding="utf-8").strip() or None
            held[key] = None
        else:
            copy = Path(tempfile.mkstemp(prefix=f"{key}-", dir=folder)[1])  # made with mode 0600
            copy.write_bytes(Path(value).read_bytes())
            _give(copy, owner)
            held[key] = str(copy)
    return held


def trust(certificates: Iterable[str], folder: Path, owner: Owner) -> None:
    """Trust these certificates besides the system's: in Python, in the Hub's client and in its Xet library.

    All three read SSL_CERT_FILE, which replaces the system's: so it gets both.
    """
    paths = ssl.get_default_verify_paths()
    files = dict.fromkeys((paths.cafile, "/etc/ssl/certs/ca-certificates.crt", *certificates))
    texts = [Path(path).read_text(encoding="utf-8") for path in files if path and Path(path).is_file()]
    bundle = folder / "certificates.pem"
    bundle.write_text("\n".join(texts), encoding="utf-8")
    _give(bundle, owner)
    os.environ["SSL_CERT_FILE"] = str(bundle)


def _give(path: Path, owner: Owner) -> None:
    if not os.geteuid() and owner.uid:
        os.chown(path, owner.uid, owner.gid)
