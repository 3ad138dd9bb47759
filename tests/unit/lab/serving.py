"""What the tests of the lab's services serve, and how they turn the knobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

REVISION = "1234567890" * 4
REPO = "hermeion-lab/tiny"
WEIGHTS = bytes(range(256)) * 1024
CONFIG = b'{"a": 1}'
FILE = f"/{REPO}/resolve/{REVISION}/model.safetensors"


def write_folders(root: Path) -> None:
    """Folders of every kind, and ``serving/served.json`` that names them."""
    for folder in ("model", "wheels", "more-wheels", "apt", "files", "serving"):
        (root / folder).mkdir()
    (root / "model" / "model.safetensors").write_bytes(WEIGHTS)
    (root / "model" / "config.json").write_bytes(CONFIG)
    (root / "wheels" / "Some_Thing-1.0-py3-none-any.whl").write_bytes(b"wheel")
    (root / "more-wheels" / "Some_Thing-1.0-py3-none-any.whl").write_bytes(b"another of that name")
    (root / "more-wheels" / "some_thing-2.0+cpu-py3-none-any.whl").write_bytes(b"newer")
    (root / "files" / "l.tar.gz").write_bytes(b"archive")
    (root / "apt" / "Packages").write_bytes(b"Package: x\n")
    (root / "secret").write_bytes(b"not served")
    write_served(
        root,
        models=[{"repo": REPO, "revision": REVISION, "path": str(root / "model")}],
        index=[str(root / "wheels"), str(root / "more-wheels")],
        files=str(root / "files"),
        apt=str(root / "apt"),
    )


def write_served(root: Path, **served: Any) -> None:
    """Serve this from now on, and nothing else."""
    part = root / "serving" / "served.json.part"
    part.write_text(json.dumps(served))
    part.replace(root / "serving" / "served.json")


def turn(client: httpx.Client, **knobs: Any) -> None:
    """Turn on these knobs, and no others."""
    client.post("/_lab/knobs", json=knobs).raise_for_status()
