"""Ask the Hub and the registry, from the host that will pull, before anything is changed.

Branch and tag are resolved to commit and digest, with exact sizes; the answers are judged here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from hermeion.answers import Answer, Question, hub_url, judge_hub, judge_tool, question
from hermeion.engines import ENGINES
from hermeion.errors import PlacementError, SourceError
from hermeion.inventory import HostSpec
from hermeion.plans import Image, Service
from hermeion.probe import Probe
from hermeion.records import Record
from hermeion.units import format_bytes

WANTED_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer*", "*.txt", "*.model")
UNWANTED_FILES = ("original/*", "*.pth", "*.bin", "*.gguf", "*/*")
"""What vLLM and SGLang read of a repository: the top folder's safetensors, configuration and tokenizer."""

UNPACKED_RATIO = 3
"""An image takes about this many times its compressed size while and after it is unpacked (vLLM's: 2.5 to 3)."""

RESERVE = 1 << 30
"""Bytes that a pull leaves free on a filesystem."""


class HubFile(Record):
    """A file of a repository: its size in bytes and, for a large file, its SHA-256."""

    path: str
    size: int
    sha256: str | None


class Sources(Record):
    """What the Hub and the registry say about one service.

    Attributes:
        digest: Of the image; ``None``: the service runs natively.
        image_bytes: Compressed size of the image's layers.
        cuda: Version of CUDA that the image says it holds, or ``None``.
        requires: The image's own condition on the driver (``NVIDIA_REQUIRE_CUDA``), or ``None``.
    """

    revision: str
    files: tuple[HubFile, ...]
    digest: str | None = None
    image_bytes: int = 0
    cuda: str | None = None
    requires: str | None = None

    @property
    def bytes(self) -> int:
        """Size of the wanted files."""
        return sum(file.size for file in self.files)


def question_script(spec: HostSpec, service: Service, *, ca: str | None, token: str | None) -> str:
    """The script for one service: commit and files of its repository, and its image, if it runs in one."""
    values: dict[str, str] = {}
    questions: list[Question] = []
    if service.path is None:
        questions.append("hub")
        values |= {"HUB": hub_url(spec), "REPO": service.repo, "REVISION": service.revision or "main"}
    if image := service.image:
        questions.append("registry")
        registry = "registry-1.docker.io" if image.registry == "docker.io" else image.registry
        values |= {
            "REGISTRY": f"https://{registry}/v2/{image.repository}/manifests",
            "REFERENCE": image.digest or image.tag,
        }
    return question(questions, values, ca=ca, token=token)


def _judge_registry(host: str, service: Service, image: Image, answers: dict[str, Answer]) -> None:
    answer = answers["manifest"]
    what = f"{host}: {service.name}: the registry {image.registry} "
    wanted = f"{image.repository}@{image.digest}" if image.digest else f"{image.repository}:{image.tag}"
    if answer.status == 200:
        digest = f"sha256:{answer.sha256}"
        if image.digest and digest != image.digest:
            raise SourceError(f"{what}answered {digest} when asked for {wanted}. Do not use it.")
        return
    if answer.status in {400, 404}:
        raise SourceError(
            f"{what}has no {wanted} ({answer.status}). Check the image's name and digest; "
            "push it to the mirror first if the site has one."
        )
    if answer.status:
        raise SourceError(f"{what}answers {answer.status} for {wanted}. Nothing was changed.")
    raise SourceError(
        f"{what}cannot be reached from the host ({answer.error}). Check the network and hermes_mirrors/registry, "
        "hermes_mirrors/ca."
    )


def _wanted(path: str) -> bool:
    return any(fnmatchcase(path, p) for p in WANTED_FILES) and not any(fnmatchcase(path, p) for p in UNWANTED_FILES)


def read_answers(host: str, spec: HostSpec, service: Service, answers: dict[str, Answer]) -> Sources:
    """Judge the answers for one service.

    Raises:
        SourceError: The Hub or the registry refuses, lacks or contradicts what is wanted, or cannot be asked.
    """
    judge_tool(host, answers)
    subject, image = f"{host}: {service.name}", service.image
    of_hub = () if service.path else ("revision", "tree")
    of_registry = ("manifest",) if image else ()
    if missing := {*of_hub, *of_registry} - set(answers):
        raise SourceError(
            f"{subject}: asking the Hub and the registry was cut short (no {', '.join(sorted(missing))}). "
            "Nothing was changed; run again."
        )
    hub = hub_url(spec)
    for name in of_hub:
        judge_hub(subject, hub, service.repo, service.revision, answers[name])
    if image:
        _judge_registry(host, service, image, answers)
        if "platform" in answers and answers["platform"].status != 200:
            raise SourceError(
                f"{subject}: the registry {image.registry} answers {answers['platform'].status} for "
                f"this machine's manifest of {image.repository}:{image.tag}. Nothing was changed; run again."
            )
    try:
        sources = _read_bodies(service, answers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        registry = f" or the registry {image.registry}" if image else ""
        raise SourceError(
            f"{subject}: the Hub {hub}{registry} answered something that "
            f"is not its own ({error!r}). Look for a proxy or a login page in between."
        ) from error
    if image and not sources.image_bytes:
        raise SourceError(
            f"{subject}: {image.repository}:{image.tag} has no image for this host's "
            "architecture. Choose a tag that has one."
        )
    if not service.path:
        _judge_files(subject, service, sources.files)
    return sources


def _judge_files(subject: str, service: Service, files: tuple[HubFile, ...]) -> None:
    there = [file.path for file in files]
    if not service.files and not any(path.endswith(".safetensors") for path in there):
        raise SourceError(
            f"{subject}: {service.repo} has no .safetensors file in its top folder; {ENGINES[service.engine].LABEL} "
            "reads no other form. Choose a repository with safetensors."
        )
    for pattern in service.files:
        if not any(fnmatchcase(path, pattern) for path in there):
            raise SourceError(
                f"{subject}: {service.repo} has no file {pattern}. Names are case-sensitive; look at the repository's "
                "list of files."
            )


def wanted_files(tree: str, patterns: Sequence[str] = ()) -> tuple[HubFile, ...]:
    """The files of a repository that an engine reads, from the Hub's listing.

    Args:
        patterns: The GGUF files, ``*`` for the numbers of a split one; none: safetensors and what belongs to them.
    """
    return tuple(
        HubFile(path=row["path"], size=row["size"], sha256=row.get("lfs", {}).get("oid"))
        for row in json.loads(tree)
        if row["type"] == "file"
        and (any(fnmatchcase(row["path"], p) for p in patterns) if patterns else _wanted(row["path"]))
    )


def _read_bodies(service: Service, answers: dict[str, Answer]) -> Sources:
    of_hub: dict[str, Any] = {"revision": str(service.revision), "files": ()}
    if not service.path:
        of_hub = {
            "revision": json.loads(answers["revision"].body)["sha"],
            "files": wanted_files(answers["tree"].body, service.files),
        }
    if not service.image:
        return Sources(**of_hub)
    manifest = answers.get("platform", answers["manifest"]).body
    rows = answers["config"].body.splitlines() if "config" in answers else []
    wishes = dict(json.loads(row).split("=", 1) for row in rows if row)
    return Sources(
        **of_hub,
        cuda=wishes.get("CUDA_VERSION"),
        requires=wishes.get("NVIDIA_REQUIRE_CUDA"),
        digest=f"sha256:{answers['manifest'].sha256}",
        image_bytes=sum(layer["size"] for layer in json.loads(manifest).get("layers", ())),
    )


def settle(service: Service, sources: Sources) -> Service:
    """The service with commit, files and digest filled in, and its engine's options made from them."""
    files = service.files
    if files and not service.path:
        files = tuple(sorted(file.path for file in sources.files if file.path.endswith(".gguf")))
    image = service.image.model_copy(update={"digest": sources.digest}) if service.image else None
    resolved = service.model_copy(update={"revision": sources.revision, "files": files, "image": image})
    return resolved.model_copy(update={"config": ENGINES[service.engine].pinned(resolved)})


def check_room(host: str, service: Service, sources: Sources, probe: Probe) -> None:
    """See that weights and image have room before either is pulled.

    Raises:
        PlacementError: The filesystem is read-only or too small; bytes needed and free are shown.
    """
    disk = probe.disks[service.cache]
    if service.path is None and probe.weights.get(service.snapshot) != "complete":
        if not disk.writable:
            raise PlacementError(
                f"{host}: hermes_cache {service.cache} is on a read-only filesystem ({disk.source}). Remount it "
                "read-write or choose another folder."
            )
        _room(host, f"the weights of {service.variant}", sources.bytes + RESERVE, disk.free, service.cache)
    if service.image and service.image.reference not in probe.images:
        docker = probe.disks["/var/lib/docker"]
        needed = sources.image_bytes * UNPACKED_RATIO + RESERVE
        _room(host, f"the image {service.image.repository}", needed, docker.free, docker.path)
    if (package := service.package) and package.identity not in probe.engines:
        opt = probe.disks["/opt/hermeion"]
        needed = (package.download or 0) + (package.installed or 0) + RESERVE
        _room(host, f"the engine {package.name}", needed, opt.free, opt.path)


def _room(host: str, what: str, needed: int, free: int, path: str) -> None:
    if needed > free:
        raise PlacementError(
            f"{host}: no room for {what}: {needed} bytes ({format_bytes(needed)}) are needed at {path}, "
            f"{free} ({format_bytes(free)}) are free. Free some or choose another filesystem."
        )
