"""The tiny model as GGUF files: converted in the engine image, served by the lab's Hub beside the safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hermeion.errors import LabError

from .cache import ensure_entry, hash_folder, hash_of
from .engine import SITE
from .gguf.content import FILES, NAME
from .inside import run_in_image
from .labfile import ModelEntry
from .progress import Report
from .tiny import REPOSITORY, revision_of
from .wheels import download

if TYPE_CHECKING:
    import docker

_CODE = Path(__file__).parent / "gguf"
_WRITER = _CODE / "requirements.txt"
FILE = FILES["F16"]
"""The file that the lab's catalogue names; the others are beside it."""


def ensure_gguf(client: docker.DockerClient, image: str, site: Path, model: Path, report: Report) -> Path:
    """The folder of GGUF files of ``model``, converted now if the model or the converter has changed.

    Raises:
        LabError: The writer's package cannot be had, or the conversion fails.
    """
    key = hash_of(hash_folder(_CODE), image, site.name, model.name)

    def make(part: Path) -> None:
        with report.stage("converting the tiny model to GGUF"):
            _convert(client, image, site, model, part)

    return ensure_entry("gguf", key, make)


def _convert(client: docker.DockerClient, image: str, site: Path, model: Path, out: Path) -> None:
    wheel = next(_ensure_writer().glob("*.whl"))
    run_in_image(
        client,
        image,
        "python3 /code/convert.py /model /out && chmod -R a+rX /out && chown -R $(stat -c %u:%g /out) /out",
        {
            site: (SITE, "ro"),
            _CODE: ("/code", "ro"),
            model: ("/model", "ro"),
            wheel: (f"/{wheel.name}", "ro"),
            out: ("/out", "rw"),
        },
        {"PYTHONPATH": f"/{wheel.name}", "PYTHONDONTWRITEBYTECODE": "1"},  # a wheel of pure Python can stay packed
        failure="the tiny model could not be converted to GGUF",
    )


def _ensure_writer() -> Path:
    def make(part: Path) -> None:
        refusal = download(part, _WRITER, "3.11", 36)
        if refusal:
            message = f"pip cannot download the writer of GGUF files:\n    {refusal}"
            raise LabError(message)

    return ensure_entry("gguf-writer", hash_of(_WRITER.read_bytes()), make)


def describe_gguf(folder: Path) -> ModelEntry:
    """What the lab's Hub has."""
    return ModelEntry(name=f"{NAME}-gguf", repo=f"{REPOSITORY}-GGUF", revision=revision_of(folder), file=FILE)
