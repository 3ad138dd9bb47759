"""The signed apt repository with the driver's stand-in packages."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, cast

from docker.errors import ContainerError

from hermeion.errors import LabError

from .cache import ensure_entry, hash_folder, hash_of
from .daemon import BUILD
from .gpus.sets import forms_csv
from .progress import Report

if TYPE_CHECKING:
    import docker

DRIVER_VERSION = "580.178.04"
TOOLKIT_VERSION = "1.20.0"
_PACKAGES = Path(__file__).parent / "packages"


def ensure_repository(client: docker.DockerClient, image: str, report: Report) -> Path:
    """The folder of the repository, built in the services image if its packages have changed.

    The signing key lives only during the build; ``key.asc`` in the folder is its public half.

    Raises:
        LabError: The build fails; carries its last lines.
    """
    release = platform.release()
    key = hash_of(hash_folder(_PACKAGES), forms_csv(), DRIVER_VERSION, TOOLKIT_VERSION, release, image)

    def make(part: Path) -> None:
        with report.stage("building and signing the apt repository"):
            _build(client, image, part, release)

    return ensure_entry("apt", key, make)


def _build(client: docker.DockerClient, image: str, out: Path, release: str) -> None:
    try:
        client.containers.run(
            image,
            # The recorded forms belong to the lab's GPUs; the package that needs them gets them from there.
            [
                "sh",
                "-c",
                "mkdir /packages && cp -r /source/. /packages/ && cp /forms.csv /packages/ && sh /packages/build",
            ],
            environment={
                "DRIVER": DRIVER_VERSION,
                "TOOLKIT": TOOLKIT_VERSION,
                "KERNEL_RELEASE": release,
                "OWNER": f"{os.getuid()}:{os.getgid()}",
            },
            volumes={
                str(_PACKAGES): {"bind": "/source", "mode": "ro"},
                str(_PACKAGES.parent / "gpus" / "forms.csv"): {"bind": "/forms.csv", "mode": "ro"},
                str(out): {"bind": "/out", "mode": "rw"},
            },
            network_mode="none",
            labels=BUILD,
            remove=True,
            stderr=True,
        )
    except ContainerError as error:
        # The stubs say text; the SDK gives bytes.
        said = cast("bytes", error.stderr).decode(errors="replace")
        message = f"building the apt repository failed:\n    {said.strip()[-1500:]}"
        raise LabError(message) from error
