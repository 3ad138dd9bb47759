"""A command in a container of one of the lab's images: how things are made that need what is in the image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from docker.errors import ContainerError

from hermeion.errors import LabError

from .daemon import BUILD

if TYPE_CHECKING:
    import docker


def run_in_image(
    client: docker.DockerClient,
    image: str,
    command: str,
    binds: Mapping[Path, tuple[str, str]],
    environment: Mapping[str, str] | None = None,
    *,
    failure: str,
) -> str:
    """Standard output of a shell command, run without network and removed afterwards.

    Args:
        binds: What is mounted: path here, then path in the container and ``ro`` or ``rw``.
        failure: What to say if it fails, before its last lines.

    Raises:
        LabError: The command ends with another status than 0.
    """
    try:
        said = client.containers.run(
            image,
            ["sh", "-c", command],
            environment=dict(environment or {}),
            volumes={str(path): {"bind": inside, "mode": mode} for path, (inside, mode) in binds.items()},
            network_mode="none",
            labels=BUILD,
            remove=True,
        )
    except ContainerError as error:
        # The stubs say text; the SDK gives bytes.
        last = cast("bytes", error.stderr).decode(errors="replace").strip()[-1500:]
        message = f"{failure}:\n    {last}"
        raise LabError(message) from error
    return said.decode(errors="replace")
