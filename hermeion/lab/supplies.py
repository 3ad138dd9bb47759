"""What a lab serves to engines: images, models, archives and wheels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermeion.errors import LabError

from . import engine, llamacpp, mirrors, tiny, tiny_gguf, wheelhouse, wheels
from .images.build import ensure_image
from .labfile import ArchiveEntry
from .paths import StatePaths
from .progress import Report
from .served import serve_supplies

if TYPE_CHECKING:
    import docker


def ensure_supplies(
    client: docker.DockerClient, apt: Path, address: str, state: StatePaths, report: Report, *, native: bool
) -> dict[str, Any]:
    """Build, publish and serve everything; returns the fields of ``LabFile`` that say so.

    Args:
        apt: The folder of the apt repository, which is served too.
        native: Also the wheels of vLLM for native services.

    Raises:
        LabError: A part cannot be built or published.
    """
    index = [folder for folder in [wheels.ensure_wheels(report)] if folder]
    engine_image = ensure_image(client, "engine", report)
    site = engine.ensure_site(client, engine_image, report)
    images = {"vllm": engine.ensure_engine(client, engine_image, site, address, state, report)}
    model_folder = tiny.ensure_model(client, engine_image, site, report)
    gguf_folder = tiny_gguf.ensure_gguf(client, engine_image, site, model_folder, report)

    archives = {}
    made = ensure_llamacpp(client, address, state, report)
    if made:
        images["llamacpp"], archive = made
        url = mirrors.files_of(address) + archive.name
        archives["llamacpp"] = ArchiveEntry(url=url, sha256=llamacpp.sha256_of(archive))

    requirements, environment = {}, {}
    if native:
        house = wheelhouse.ensure_wheelhouse(report)
        index.append(house / "wheels")
        requirements = {path.stem: str(path) for path in sorted((house / "requirements").iterdir())}
        environment = {"vllm": engine.CPU_ENVIRONMENT}

    models = [tiny.describe_model(model_folder), tiny_gguf.describe_gguf(gguf_folder)]
    models_served = [
        (model.repo, model.revision, folder) for model, folder in zip(models, (model_folder, gguf_folder), strict=True)
    ]
    serve_supplies(state, apt=apt, index=index, files=made[1].parent if made else None, models=models_served)
    return {
        "images": images,
        "models": models,
        "archives": archives,
        "requirements": requirements,
        "environment": environment,
    }


def ensure_llamacpp(
    client: docker.DockerClient, address: str, state: StatePaths, report: Report
) -> tuple[str, Path] | None:
    """llama.cpp's published image and its archive; None, with the reason reported, where they cannot be made.

    On some days Debian unstable cannot be installed; the rest of the lab does not need it.
    """
    try:
        image = ensure_image(client, "llamacpp", report)
        server = llamacpp.ensure_server(client, image, address, state, report)
        return server, llamacpp.ensure_archive(client, image, report)
    except LabError as error:
        report.line(f"llama.cpp is left out of this lab: {error}")
        return None
