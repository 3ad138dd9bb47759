"""Ask where weights and images come from, from the host that will pull, before anything is changed.

Branch and tag are resolved to commit and digest, with exact sizes; the answers are judged here. Weights come from the
Hub, or from a bucket or a folder (``stores``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from hermeion.answers import Answer, hub_url, judge_hub, judge_tool, question
from hermeion.checksums import sums_revision
from hermeion.engines import ENGINES
from hermeion.errors import SourceError
from hermeion.inventory import HostSpec
from hermeion.plans import Service
from hermeion.records import Record
from hermeion.registry import ImageFacts
from hermeion.s3 import S3Access
from hermeion.stores import read_store, store_question

WANTED_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer*", "*.txt", "*.model")
UNWANTED_FILES = ("original/*", "*.pth", "*.bin", "*.gguf", "*/*")
"""What vLLM and SGLang read of a repository: the top folder's safetensors, configuration and tokenizer."""


class HubFile(Record):
    """A file of a repository.

    Attributes:
        size: Bytes.
        sha256: Of its content, if it is a large one, or comes from a bucket or folder; hexadecimal.
        oid: Of its git blob, if it is a small one of the Hub; hexadecimal.
        xet: Its name in the Hub's Xet storage, or ``None``: it comes over HTTP.
    """

    path: str
    size: int
    sha256: str | None
    oid: str | None = None
    xet: str | None = None


class Sources(Record):
    """What is known of one service's weights and image before they are pulled.

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


def source_of(spec: HostSpec, service: Service) -> str | None:
    """Where the weights come from in place of the Hub: ``s3://bucket/prefix``, or a folder on the host."""
    return next((entry.source for entry in spec.hermes_catalog if entry.name == service.model), None)


def weights_question(
    spec: HostSpec, service: Service, *, ca: str | None, token: str | None, access: S3Access | None = None
) -> str:
    """The script that asks for commit and files of the weights; empty if they are served from a folder as they are.

    Services, and hosts, that want the same get the same text: one of them asks for all. (A folder of the host's own is
    another one on another host.)

    Args:
        token: For the Hub, which alone is given it.
        access: Who asks a bucket; ``None``: anybody.
    """
    if service.path:
        return ""
    if source := source_of(spec, service):
        return store_question(spec, source, file=next(iter(service.files), ""), ca=ca, access=access, host=service.host)
    values = {"HUB": hub_url(spec), "REPO": service.repo, "REVISION": service.revision or "main"}
    return question(("hub",), values, ca=ca, token=token)


def _wanted(path: str) -> bool:
    return any(fnmatchcase(path, p) for p in WANTED_FILES) and not any(fnmatchcase(path, p) for p in UNWANTED_FILES)


def read_weights(
    host: str, spec: HostSpec, service: Service, answers: Mapping[str, Answer]
) -> tuple[str, tuple[HubFile, ...]]:
    """Judge the answers about a service's weights: their commit, and the files that its engine reads.

    Of a bucket or folder, the commit is a hash of the wanted lines of ``SHA256SUMS``.

    Raises:
        SourceError: The source refuses, lacks or contradicts what is wanted, or cannot be asked.
    """
    subject = f"{host}: {service.name}"
    if service.path:
        return str(service.revision), ()
    if source := source_of(spec, service):
        wanted, unwanted = (service.files, ()) if service.files else (WANTED_FILES, UNWANTED_FILES)
        there = read_store(host, subject, spec, source, answers, wanted, unwanted)
        sums = {path: file.sha256 for path, file in there.items()}
        files = tuple(HubFile(path=path, size=file.size, sha256=file.sha256) for path, file in sorted(there.items()))
        _judge_files(subject, service, source, files)
        revision = sums_revision(sums)
        if service.revision not in {None, revision}:
            raise SourceError(
                f"{subject}: {source} holds other files than are wanted: {service.revision} is, its SHA256SUMS gives "
                f"{revision}. Put the old ones back, or take these: correct revision in hermes_catalog if it is given "
                "there, or run once with hermes_refresh."
            )
        return revision, files
    judge_tool(host, answers)
    if missing := {"revision", "tree"} - set(answers):
        raise SourceError(
            f"{subject}: asking the Hub was cut short (no {', '.join(sorted(missing))}). "
            "Nothing was changed; run again."
        )
    hub = hub_url(spec)
    for name in ("revision", *tree_pages(answers)):
        judge_hub(subject, hub, service.repo, service.revision, answers[name])
    try:
        revision = str(json.loads(answers["revision"].body)["sha"])
        files = wanted_files(answers, service.files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{subject}: the Hub {hub} answered something that is not its own ({error!r}). Look for a proxy or a login "
            "page in between."
        ) from error
    _judge_files(subject, service, service.repo, files)
    return revision, files


def combine(revision: str, files: tuple[HubFile, ...], image: ImageFacts) -> Sources:
    """What was read of weights and image, in one."""
    return Sources(revision=revision, files=files, **image.model_dump())


def _judge_files(subject: str, service: Service, place: str, files: tuple[HubFile, ...]) -> None:
    there = [file.path for file in files]
    if not service.files and not any(path.endswith(".safetensors") for path in there):
        raise SourceError(
            f"{subject}: {place} has no .safetensors file in its top folder; {ENGINES[service.engine].LABEL} "
            "reads no other form. Choose a repository with safetensors."
        )
    for pattern in service.files:
        if not any(fnmatchcase(path, pattern) for path in there):
            raise SourceError(
                f"{subject}: {place} has no file {pattern}. Names are case-sensitive; look at the repository's "
                "list of files."
            )
    if unnamed := [file.path for file in files if not (file.sha256 or file.oid)]:
        raise SourceError(
            f"{subject}: the list of files of {place} has no hash of {unnamed[0]}, so a damaged file could not be told "
            "from a whole one. Look at the mirror: the Hub gives an `oid` for each."
        )


def tree_pages(answers: Mapping[str, Answer]) -> tuple[str, ...]:
    """Names of the answers that hold the pages of the Hub's listing."""
    return tuple(name for name in answers if name == "tree" or name.startswith("tree-"))


def tree_rows(answers: Mapping[str, Answer]) -> list[Any]:
    """Rows of all pages of the Hub's listing.

    Raises:
        ValueError: A page is no JSON.
    """
    return [row for name in tree_pages(answers) for row in json.loads(answers[name].body)]


def wanted_files(answers: Mapping[str, Answer], patterns: Sequence[str] = ()) -> tuple[HubFile, ...]:
    """The files of a repository that an engine reads, from the Hub's listing.

    Args:
        patterns: The GGUF files, ``*`` for the numbers of a split one; none: safetensors and what belongs to them.
    """
    return tuple(
        HubFile(
            path=row["path"],
            size=row["size"],
            sha256=row.get("lfs", {}).get("oid"),
            oid=None if "lfs" in row else row.get("oid"),  # of a large file it names the pointer, not the content
            xet=row.get("xetHash"),
        )
        for row in tree_rows(answers)
        if row["type"] == "file"
        and (any(fnmatchcase(row["path"], p) for p in patterns) if patterns else _wanted(row["path"]))
    )


def settle(service: Service, sources: Sources) -> Service:
    """The service with commit, files and digest filled in, and its engine's options made from them.

    Sources without files: nobody had to be asked for them.
    """
    files = service.files
    if sources.files and files:
        files = tuple(sorted(file.path for file in sources.files if file.path.endswith(".gguf")))
    image = service.image.model_copy(update={"digest": sources.digest}) if service.image else None
    resolved = service.model_copy(update={"revision": sources.revision, "files": files, "image": image})
    return resolved.model_copy(update={"config": ENGINES[service.engine].pinned(resolved)})
