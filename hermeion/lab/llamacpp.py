"""llama.cpp for the lab: real llama-server of Debian sid, for the CPU, as the official image and as an archive."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from hermeion.errors import LabError

from .cache import ensure_entry, hash_folder, hash_of
from .daemon import LABEL
from .inside import run_in_image
from .oci import write_folder
from .paths import StatePaths
from .progress import Report
from .published import Published, ensure_published, push_root

if TYPE_CHECKING:
    import docker

REPOSITORY = "ggml-org/llama.cpp"
# What the official image says of itself (llama.cpp's .devops/cuda.Dockerfile; the base image is nvidia/cuda:12.8.1).
# Nothing in it is about the CPU: without a GPU the server warns that --n-gpu-layers is ignored, and computes
# --flash-attn on on the CPU.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LLAMA_ARG_HOST": "0.0.0.0",  # noqa: S104 - in a container
    "CUDA_VERSION": "12.8.1",
    "NVIDIA_REQUIRE_CUDA": "cuda>=12.8",
}
SETTINGS = {
    "Entrypoint": ["/app/llama-server"],
    "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
    "WorkingDir": "/app",
    "Healthcheck": {"Test": ["CMD", "curl", "-f", "http://localhost:8080/health"]},
    "Labels": {LABEL: "image"},
}
_ARCHIVE = Path(__file__).parent / "archive"
_BUILD = re.compile(r"\bbuild (\d+)\b")


def read_build(said: str) -> str:
    """The build, ``b11669``, from what ``llama-server --version`` says.

    Raises:
        LabError: It says none.
    """
    found = _BUILD.search(said)
    if not found:
        message = f"llama-server of Debian sid does not say its build: {said.strip()[:200]!r}"
        raise LabError(message)
    return f"b{found[1]}"


def find_build(client: docker.DockerClient, image: str) -> str:
    """The build in the image: unstable moves on, and the image of a lab is as old as its cache.

    Raises:
        LabError: The server in it does not start.
    """

    def make(part: Path) -> None:
        said = run_in_image(
            client, image, "/app/llama-server --version 2>&1", {}, failure="llama-server does not start"
        )
        (part / "build").write_text(read_build(said), encoding="ascii")

    return (ensure_entry("llamacpp-build", hash_of(image), make) / "build").read_text(encoding="ascii")


def ensure_server(client: docker.DockerClient, image: str, address: str, state: StatePaths, report: Report) -> str:
    """The published image as ``repository:tag@digest``; uploaded now if the registry does not have it.

    Raises:
        LabError: The registry refuses it.
    """
    tag = f"server-cuda-{find_build(client, image)}"
    wanted = Published(REPOSITORY, tag, SETTINGS, lambda registry: [push_root(client, image, registry)])
    key = hash_of(image, tag, json.dumps(SETTINGS))
    return ensure_published("llamacpp", key, wanted, address, state, report)


def ensure_archive(client: docker.DockerClient, image: str, report: Report) -> Path:
    """The archive for native services, named and laid out as upstream's Linux release; alone in its folder.

    Raises:
        LabError: It cannot be collected.
    """
    build = find_build(client, image)

    def make(part: Path) -> None:
        with report.stage(f"packing llama.cpp {build} for native services"):
            pack_archive(client, image, build, part / f"llama-{build}-bin-ubuntu-x64.tar.gz")

    found = ensure_entry("llamacpp-archive", hash_of(image, hash_folder(_ARCHIVE)), make)
    return next(found.glob("*.tar.gz"))


def pack_archive(client: docker.DockerClient, image: str, build: str, target: Path) -> None:
    """Write the archive; the same image gives the same bytes."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        out = Path(folder)
        run_in_image(
            client,
            image,
            "sh /code/collect /out && chmod -R a+rX /out && chown -R $(stat -c %u:%g /out) /out",
            {_ARCHIVE: ("/code", "ro"), out: ("/out", "rw")},
            failure="llama-server and its libraries cannot be collected",
        )
        with target.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
            write_folder(out, f"llama-{build}", cast("IO[bytes]", packed))


def sha256_of(path: Path) -> str:
    """The file's hash, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
