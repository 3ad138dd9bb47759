"""A service's files for whoever runs it on without Hermeion: what it would run, and a page that says how.

The keys are not among them. In their place stands :data:`KEY`, which the page says how to replace.
"""

from __future__ import annotations

from pathlib import Path

from hermeion.engines import ENGINES
from hermeion.engines.natives import requirements
from hermeion.engines.places import places_of
from hermeion.engines.protocol import KeysKind
from hermeion.errors import PlacementError, RenderError
from hermeion.hashes import sha256
from hermeion.plans import Service
from hermeion.render import Mount, RenderedFile, fill, mounts_of, render_files

KEY = "sk-replace-this-key"
"""Stands where a key belongs; it opens a service that was started without another."""

KEYS_FILE = "api-keys.example"


def check_final(service: Service) -> None:
    """See that nothing of a service is left to be asked from its host.

    Raises:
        PlacementError: Something is; it is named.
    """
    if service.is_final:
        return
    open_ends = {
        "the commit of its weights": not service.revision,
        "the digest of its image": bool(service.image and not service.image.digest),
        "the names of its files": any("*" in name for name in service.files),
        "the UUIDs of its GPUs": not all(gpu.uuid for gpu in service.gpus),
    }
    missing = ", ".join(what for what, is_open in open_ends.items() if is_open)
    raise PlacementError(
        f"{service.host}: {service.name}: not known yet: {missing}. It is asked with a connection to the host: run "
        "without --from, and after the driver is there."
    )


def requirements_of(service: Service, lock: str | None = None) -> str | None:
    """Text of the locked requirements of a native service; ``None``: it is not installed from any.

    Args:
        lock: Text of the file that the service's ``requirements`` names, or ``None``: this release's own.

    Raises:
        RenderError: They are not those of the plan.
    """
    package = service.package
    if package is None or package.kind != "venv":
        return None
    known = requirements(service.engine, service.engine_version)
    text = lock if lock is not None else known.text if known else ""
    if sha256(text) != package.sha256:
        raise RenderError(
            f"{service.host}: {service.name}: the locked requirements of {package.name} are not here as they were "
            "planned. Name their file in requirements, as it was when the service was planned."
        )
    return text


def _placeholder(kind: KeysKind) -> str:
    """What the host would add to the engine's configuration, with :data:`KEY` in place of the keys."""
    return f'api-key:\n- "{KEY}"\n' if kind == "list" else f'api-key: "{KEY}"\n'


def _mount(service: Service, mount: Mount) -> Mount:
    """The mount as it is without our units: what they make lies in the ejected folder, or in a volume."""
    if mount.source == service.compile_cache:
        return mount.model_copy(update={"type": "volume", "source": "cache"})
    if mount.source.startswith("/run/hermeion/"):
        name = mount.source.rpartition("/")[2]
        return mount.model_copy(update={"source": f"./{KEYS_FILE if name == 'api-keys' else name}"})
    folder = f"{service.folder}/current/"
    if mount.source.startswith(folder):
        return mount.model_copy(update={"source": f"./{mount.source.removeprefix(folder)}"})
    return mount


def _prepare(service: Service) -> dict[str, str]:
    """The engine's own files with paths as its process sees them."""
    files = ENGINES[service.engine].files(service.model_copy(update={"image": None}))
    return {name: text for name, text in files.items() if name == "prepare.sh"}


def _of_runtime(service: Service, templates: Path, files: dict[str, str]) -> dict[str, str]:
    """The files without those that only our units read, and with those that stand in for what they make."""
    kind = ENGINES[service.engine].KEYS
    unneeded = {"plan.json", "assemble.sh", *(() if service.package else (service.unit,))}
    kept = {path: content for path, content in files.items() if path not in unneeded}
    if service.image:
        mounts = tuple(_mount(service, mount) for mount in mounts_of(service))
        prepare = Mount(source="./prepare.sh", target="/run/prepare.sh")
        kept["compose.yaml"] = fill(templates, "compose-ejected.yaml.j2", service, mounts=mounts, prepare_mount=prepare)
        # What prepares the engine's folder runs in a container too, where that folder is.
        kept |= _prepare(service)
        if kind in {"list", "first"}:
            kept["engine.yaml"] += _placeholder(kind)
    if kind == "file" or (service.package and kind != "none"):
        kept[KEYS_FILE] = f"{KEY}\n"
    return kept


def ejected_files(service: Service, templates: Path, lock: str | None = None) -> tuple[RenderedFile, ...]:
    """Everything that runs a service without Hermeion, sorted by path: no secret, and a ``README.md``.

    Args:
        lock: Text of the file that the service's ``requirements`` names, or ``None``: this release's own.

    Raises:
        PlacementError: Something of it has not been asked from the host.
        RenderError: A template names something the plan does not have, or the locked requirements are others.
    """
    check_final(service)
    files = _of_runtime(service, templates, {file.path: file.content for file in render_files(service, templates)})
    if text := requirements_of(service, lock):
        files["requirements.txt"] = text
    package, known = service.package, requirements(service.engine, service.engine_version)
    files["README.md"] = fill(
        templates,
        "README-ejected.md.j2",
        service,
        keys_file=KEYS_FILE if KEYS_FILE in files else "engine.yaml",
        placeholder=KEY,
        pythons=known.pythons if package and known and known.sha256 == package.sha256 else None,
        own_files=sorted(files.keys() - {service.unit, KEYS_FILE, "requirements.txt"}),
        places=places_of(service, ENGINES[service.engine].PORT),
    )
    return tuple(RenderedFile(path=path, content=content) for path, content in sorted(files.items()))
