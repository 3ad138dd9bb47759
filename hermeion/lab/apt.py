"""The signed apt repository with the stand-in packages of driver and container toolkit, in several versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, cast

from docker.errors import ContainerError

from hermeion.errors import LabError

from .cache import ensure_entry, hash_folder, hash_of
from .daemon import BUILD
from .progress import Report

if TYPE_CHECKING:
    import docker

DRIVER_VERSIONS = ("550.163.01", "570.211.01", "580.126.09", "580.178.04", "590.48.01")
"""Versions of the driver packages. The newest belongs to a branch that is not the wanted one, so that pins matter."""

TOOLKIT_VERSIONS = ("1.17.8", "1.20.0")
"""Versions of the container toolkit's packages; 1.17.8 is the last without units that refresh the specification."""

_PACKAGES = Path(__file__).parent / "packages"


def ensure_repository(client: docker.DockerClient, image: str, report: Report) -> Path:
    """The folder of the repository, built in the services image if its packages have changed.

    The signing key lives only during the build; ``key.asc`` in the folder is its public half.

    Raises:
        LabError: The build fails; carries its last lines.
    """
    release = platform.release()
    key = hash_of(hash_folder(_PACKAGES), *DRIVER_VERSIONS, *TOOLKIT_VERSIONS, release, image)

    def make(part: Path) -> None:
        with report.stage("building and signing the apt repository"):
            _build(client, image, part, release)

    return ensure_entry("apt", key, make)


def _build(client: docker.DockerClient, image: str, out: Path, release: str) -> None:
    try:
        client.containers.run(
            image,
            ["sh", "-c", "mkdir /packages && cp -r /source/. /packages/ && sh /packages/build"],
            environment={
                "DRIVERS": " ".join(DRIVER_VERSIONS),
                "TOOLKITS": " ".join(TOOLKIT_VERSIONS),
                "KERNEL_RELEASE": release,
                "OWNER": f"{os.getuid()}:{os.getgid()}",
            },
            volumes={
                str(_PACKAGES): {"bind": "/source", "mode": "ro"},
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
