"""The tiny model: trained in the engine image, described for a catalogue, served by the lab's Hub."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from .cache import ensure_entry, hash_folder, hash_of
from .engine import SITE
from .inside import run_in_image
from .labfile import ModelEntry
from .progress import Report

if TYPE_CHECKING:
    import docker

NAME = "tiny-llama"
REPOSITORY = f"hermeion-lab/{NAME}"
_CODE = Path(__file__).parent / "model"


def ensure_model(client: docker.DockerClient, image: str, site: Path, report: Report) -> Path:
    """The model's folder, trained now if its code or its conversations have changed.

    Raises:
        LabError: It does not learn its answers, or the training cannot run; carries the last lines.
    """
    key = hash_of(hash_folder(_CODE), image, site.name)

    def make(part: Path) -> None:
        with report.stage("training the tiny model"):
            _train(client, image, site, part)

    return ensure_entry("model", key, make)


def _train(client: docker.DockerClient, image: str, site: Path, out: Path) -> None:
    run_in_image(
        client,
        image,
        "python3 /code/train.py /out && chmod -R a+rX /out && chown -R $(stat -c %u:%g /out) /out",
        {site: (SITE, "ro"), _CODE: ("/code", "ro"), out: ("/out", "rw")},
        {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        failure="the tiny model could not be trained",
    )


def revision_of(folder: Path) -> str:
    """40 hexadecimal digits from the names and contents of the model's files, as a commit would have."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def describe_model(folder: Path) -> ModelEntry:
    """What the lab's Hub has: everything else the deploy reads from the model's own files."""
    return ModelEntry(name=NAME, repo=REPOSITORY, revision=revision_of(folder))
