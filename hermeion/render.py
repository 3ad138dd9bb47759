"""The files of a release. Templates print values and decide nothing; same plan, same bytes."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from hermeion.engines import ENGINES
from hermeion.engines.places import places_of
from hermeion.errors import RenderError
from hermeion.plans import Service
from hermeion.records import Record

HEALTH_PROGRAMS = {"ollama": ("ollama", "list")}
"""What asks an engine in its container whether it is well, where the image has no curl (Ollama's Dockerfile)."""

NO_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON leaves as it is and YAML does not take, or takes for the end of a line (YAML 1.1, 4.1.1 and 4.2)."""


class RenderedFile(Record):
    """A file of a release. ``path`` is relative to the release's folder; ``mode`` is octal text."""

    path: str
    content: str
    mode: str = "644"

    @property
    def sha256(self) -> str:
        """Hash of the content, hexadecimal."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def quote_compose(value: object) -> str:
    """A value as a YAML scalar in a Compose file: JSON is YAML, and Compose replaces ``$word`` unless doubled."""
    text = json.dumps(value, ensure_ascii=False).replace("$", "$$")
    return NO_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def quote_line(value: object) -> str:
    """A value in a comment: on one line, whatever is in it."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", str(value)).split())


def quote_unit(value: object) -> str:
    """A value in a unit file: on one line, and ``%`` begins a specifier there."""
    return quote_line(value).replace("%", "%%")


@cache
def _environment(templates: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  # not HTML; every value goes through a quoting filter
    )
    environment.filters |= {
        "compose": quote_compose,
        "line": quote_line,
        "sh": lambda value: shlex.quote(str(value)),
        "unit": quote_unit,
    }
    return environment


class Mount(Record):
    """A folder or file of the host, or a volume of Docker's, in the container."""

    type: Literal["bind", "volume"] = "bind"
    source: str
    target: str
    read_only: bool = True


def weights_folder(service: Service) -> str:
    """Folder on the host that the weights are in, read-only for the engine."""
    return service.path or f"{service.cache}/hub"


def snapshot_folder(service: Service) -> str | None:
    """Folder on the host of the commit's files, or ``None``: the weights are in a folder of the host's own."""
    if service.path:
        return None
    return f"{service.cache}/hub/models--{service.repo.replace('/', '--')}/snapshots/{service.revision}"


def mounts_of(service: Service) -> tuple[Mount, ...]:
    """What the container sees of the host: weights, configuration, and a private folder for what it compiles."""
    engine = ENGINES[service.engine]
    places = places_of(service, engine.PORT)
    mounts = [Mount(source=weights_folder(service), target=places.local if service.path else places.hub)]
    run = f"/run/hermeion/{service.name}"
    if engine.KEYS in {"list", "first"}:
        mounts.append(Mount(source=f"{run}/engine.yaml", target=places.config))
    if engine.KEYS == "file":
        mounts.append(Mount(source=f"{run}/api-keys", target=places.keys))
    return (*mounts, Mount(source=service.compile_cache, target=places.cache, read_only=False))


def environment_of(service: Service) -> dict[str, str]:
    """Environment of the engine's process: the plan's, and what the runtime adds.

    Libraries keep what they compile in the home folder (Triton, FlashInfer, CUDA itself): that is the private cache.
    """
    home = {"HOME": places_of(service, ENGINES[service.engine].PORT).cache}
    uuids = ",".join(gpu.uuid or "" for gpu in service.gpus)
    own: dict[str, str] = {}
    if service.runtime == "systemd":
        # Without a container it is CUDA itself that is told which GPUs it has; the release is what the probe reads.
        own = {"CUDA_VISIBLE_DEVICES": uuids, "HERMEION_RELEASE": service.release_id}
    elif service.gpu_access == "runtime":
        own = {"NVIDIA_VISIBLE_DEVICES": uuids, "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    return {**home, **service.environment, **own}


def health_of(service: Service) -> tuple[str, ...]:
    """Command that ends with 0 in the container while the engine is well; it needs no key."""
    engine = ENGINES[service.engine]
    address = f"http://127.0.0.1:{engine.PORT}{engine.HEALTH}"
    curl = ("curl", "-fsS", "-m", "20", "-o", "/dev/null", address)
    return ("CMD", *HEALTH_PROGRAMS.get(service.engine, curl))


def _values(service: Service) -> dict[str, object]:
    """What templates may name."""
    engine = ENGINES[service.engine]
    arguments = engine.arguments(service)
    values: dict[str, object] = {
        "service": service,
        "engine": engine,
        "weights": weights_folder(service),
        "snapshot": snapshot_folder(service),
        "environment": environment_of(service),
        "prepares": "prepare.sh" in engine.files(service),
    }
    if service.package:
        program, *words = service.package.program
        return values | {
            "command": [f"{service.package.folder}/{program}", *words, *arguments],
            "config": f"{service.folder}/current/engine.yaml",
            # What compiles while it runs (ninja, for FlashInfer) is looked for beside Python.
            "path": f"{service.package.folder}/bin" if service.package.kind == "venv" else None,
        }
    owner = engine.USER.split(":")[0]
    return values | {
        "command": [*engine.ENTRY, *arguments],
        "mounts": mounts_of(service),
        "places": places_of(service, engine.PORT),
        "owner": owner,
        "cache": service.compile_cache,
        "health": health_of(service),
        # An image that is made for root compiles into folders of its own.
        "read_only": owner != "0",
    }


def _check_values(service: Service) -> None:
    words = {f"environment {name}": value for name, value in service.environment.items()}
    words |= {f"option {name}": str(value) for name, value in service.config.items()}
    for name, value in words.items():
        if "\0" in name + value:
            raise RenderError(f"{service.host}: {service.name}: {name!r} holds a NUL, which no process can be given")


def fill(templates: Path, name: str, service: Service, **more: object) -> str:
    """A template with a service's values.

    Args:
        more: Values in place of the service's own.

    Raises:
        RenderError: The template names something the plan does not have.
    """
    try:
        return _environment(templates).get_template(name).render(_values(service) | more)
    except UndefinedError as error:
        raise RenderError(f"templates/{name}: {error}") from error


def plan_json(service: Service) -> str:
    """The plan as it lies on the host."""
    return json.dumps(service.to_json(), indent=2, sort_keys=True) + "\n"


def render_files(service: Service, templates: Path) -> tuple[RenderedFile, ...]:
    """Every file of a release, sorted by path. No secret is in any of them.

    Raises:
        RenderError: A template names something the plan does not have, or a value can be given to no process.
    """
    _check_values(service)
    files = {"plan.json": plan_json(service), **ENGINES[service.engine].files(service)}
    if service.runtime == "systemd":
        files["launch.sh"] = fill(templates, "launch.sh.j2", service)
        if snapshot_folder(service):
            files["guard.sh"] = fill(templates, "guard.sh.j2", service)
        files[service.unit] = fill(templates, "hermeion-native.service.j2", service)
    else:
        files["assemble.sh"] = fill(templates, "assemble.sh.j2", service)
        files["compose.yaml"] = fill(templates, "compose.yaml.j2", service)
        files[service.unit] = fill(templates, "hermeion-compose.service.j2", service)
    return tuple(RenderedFile(path=path, content=content) for path, content in sorted(files.items()))
