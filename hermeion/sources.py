"""Ask the Hub and the registry, from the host that will pull, before anything is changed.

One shell script with ``curl`` or ``wget`` resolves branch and tag to commit and digest and lists exact sizes;
its answer is judged here. Secrets reach the script over standard input only.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib.resources import files

from hermeion.errors import PlacementError, SourceError
from hermeion.inventory import HostSpec
from hermeion.plans import Service
from hermeion.probe import Probe
from hermeion.records import Record
from hermeion.units import format_bytes

HUB = "https://huggingface.co"
WANTED_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer*", "*.txt", "*.model")
UNWANTED_FILES = ("original/*", "*.pth", "*.bin", "*.gguf", "*/*")
"""What vLLM reads of a repository: the top folder's safetensors, configuration and tokenizer."""

UNPACKED_RATIO = 3
"""An image takes about this many times its compressed size while and after it is unpacked (vLLM's: 2.5 to 3)."""

RESERVE = 1 << 30
"""Bytes that a pull leaves free on a filesystem."""


class Answer(Record):
    """One HTTP answer as the host saw it. ``status`` is 0 when there was none; ``error`` says why."""

    status: int
    sha256: str
    error: str
    body: str


class HubFile(Record):
    """A file of a repository: its size in bytes and, for a large file, its SHA-256."""

    path: str
    size: int
    sha256: str | None


class Sources(Record):
    """What the Hub and the registry say about one service."""

    revision: str
    files: tuple[HubFile, ...]
    digest: str
    image_bytes: int

    @property
    def bytes(self) -> int:
        """Size of the wanted files."""
        return sum(file.size for file in self.files)


def hub_url(spec: HostSpec) -> str:
    """The Hub or its mirror, without a final slash."""
    return (spec.hermes_mirrors.hub or HUB).rstrip("/")


def question_script(spec: HostSpec, service: Service, *, ca: str | None, token: str | None) -> str:
    """The script for one service; it prints one ``@name``…``@=status error`` section per question."""
    image = service.image
    registry = "registry-1.docker.io" if image.registry == "docker.io" else image.registry
    values = {
        "CA": ca or "",
        "TOKEN": token or "",
        "HUB": hub_url(spec),
        "REPO": service.repo,
        "REVISION": service.revision or "main",
        "REGISTRY": f"https://{registry}/v2/{image.repository}/manifests",
        "REFERENCE": image.digest or image.tag,
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return head + files("hermeion").joinpath("sources.sh").read_text()


def parse_answers(lines: Iterable[str]) -> dict[str, Answer]:
    """Sections of the script's output by name."""
    answers: dict[str, Answer] = {}
    name = ""
    body: list[str] = []
    for line in lines:
        if line.startswith("@=") and name:
            status, sha256, error = (line[2:] + " ").split(" ", 2)
            answers[name] = Answer(status=int(status), sha256=sha256, error=error.strip(), body="\n".join(body))
            name = ""
        elif line.startswith("@") and not name:
            name, body = line[1:], []
        elif name:
            body.append(line)
    return answers


def _judge_hub(host: str, hub: str, service: Service, answer: Answer) -> None:
    if answer.status == 200:
        return
    what = f"{host}: {service.name}: the Hub {hub} "
    if answer.status in {401, 403}:
        raise SourceError(
            f"{what}refuses {service.repo} ({answer.status}): it is gated, private, or does not exist. Check the "
            "name, accept its terms on the Hub, and pass a token: export HF_TOKEN=hf_…, then run again."
        )
    if answer.status == 404:
        raise SourceError(
            f"{what}has no {service.repo} at revision {service.revision or 'main'} (404). Check repo and revision "
            "of the model in hermes_catalog."
        )
    if answer.status:
        raise SourceError(f"{what}answers {answer.status}. Nothing was changed; try again later.")
    raise SourceError(
        f"{what}cannot be reached from the host ({answer.error}). Check the network and hermes_mirrors/hub, "
        "hermes_mirrors/ca."
    )


def _judge_registry(host: str, service: Service, answer: Answer) -> None:
    image = service.image
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
    if "tool" in answers:
        raise SourceError(
            f"{host}: neither curl nor wget is here to ask the Hub and the registry before anything is changed. "
            "Install one (apt-get install -y curl ca-certificates), then run again."
        )
    if missing := {"revision", "tree", "manifest"} - set(answers):
        raise SourceError(
            f"{host}: {service.name}: asking the Hub and the registry was cut short (no {', '.join(sorted(missing))}). "
            "Nothing was changed; run again."
        )
    hub = hub_url(spec)
    for name in ("revision", "tree"):
        _judge_hub(host, hub, service, answers[name])
    _judge_registry(host, service, answers["manifest"])
    if "platform" in answers and answers["platform"].status != 200:
        raise SourceError(
            f"{host}: {service.name}: the registry {service.image.registry} answers {answers['platform'].status} for "
            f"this machine's manifest of {service.image.repository}:{service.image.tag}. Nothing was changed; "
            "run again."
        )
    try:
        sources = _read_bodies(answers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{host}: {service.name}: the Hub {hub} or the registry {service.image.registry} answered something that "
            f"is not its own ({error!r}). Look for a proxy or a login page in between."
        ) from error
    if not sources.image_bytes:
        raise SourceError(
            f"{host}: {service.name}: {service.image.repository}:{service.image.tag} has no image for this host's "
            "architecture. Choose a tag that has one."
        )
    if not any(file.path.endswith(".safetensors") for file in sources.files):
        raise SourceError(
            f"{host}: {service.name}: {service.repo} has no .safetensors file in its top folder; vLLM reads no other "
            "form. Choose a repository with safetensors."
        )
    return sources


def _read_bodies(answers: dict[str, Answer]) -> Sources:
    manifest = answers.get("platform", answers["manifest"]).body
    return Sources(
        revision=json.loads(answers["revision"].body)["sha"],
        files=tuple(
            HubFile(path=row["path"], size=row["size"], sha256=row.get("lfs", {}).get("oid"))
            for row in json.loads(answers["tree"].body)
            if row["type"] == "file" and _wanted(row["path"])
        ),
        digest=f"sha256:{answers['manifest'].sha256}",
        image_bytes=sum(layer["size"] for layer in json.loads(manifest).get("layers", ())),
    )


def settle(service: Service, sources: Sources) -> Service:
    """The service with commit and digest filled in, and the weights' size as the Hub tells it."""
    return service.model_copy(
        update={
            "revision": sources.revision,
            "image": service.image.model_copy(update={"digest": sources.digest}),
            "config": {**service.config, "revision": sources.revision},
        }
    )


def check_room(host: str, service: Service, sources: Sources, probe: Probe) -> None:
    """See that weights and image have room before either is pulled.

    Raises:
        PlacementError: The filesystem is read-only or too small; bytes needed and free are shown.
    """
    disk = probe.disks[service.cache]
    if probe.weights.get(service.snapshot) != "complete":
        if not disk.writable:
            raise PlacementError(
                f"{host}: hermes_cache {service.cache} is on a read-only filesystem ({disk.source}). Remount it "
                "read-write or choose another folder."
            )
        _room(host, f"the weights of {service.variant}", sources.bytes + RESERVE, disk.free, service.cache)
    if service.image.reference not in probe.images:
        docker = probe.disks["/var/lib/docker"]
        needed = sources.image_bytes * UNPACKED_RATIO + RESERVE
        _room(host, f"the image {service.image.repository}", needed, docker.free, docker.path)


def _room(host: str, what: str, needed: int, free: int, path: str) -> None:
    if needed > free:
        raise PlacementError(
            f"{host}: no room for {what}: {needed} bytes ({format_bytes(needed)}) are needed at {path}, "
            f"{free} ({format_bytes(free)}) are free. Free some or choose another filesystem."
        )
