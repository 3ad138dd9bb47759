"""What an inventory asks of one host: the keys ``hermes_*`` of its data, validated.

The keys are flat because pyinfra does not merge nested data: host data hides group data key by key.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from hermeion.errors import InventoryError
from hermeion.records import Record
from hermeion.variants import CatalogEntry

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
ImageReference = Annotated[
    str, StringConstraints(pattern=r"^([\w.-]+:\d+/)?[a-z0-9._/-]+:[\w][\w.-]{0,127}(@sha256:[0-9a-f]{64})?$")
]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[\w./+-]+$")]
ServedName = Annotated[str, StringConstraints(pattern=r"^[\w./:+@-]{1,128}$")]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ArchiveFileSpec(Record):
    """A file with its checksum."""

    url: str = Field(
        pattern=r"^https?://[\w.:/%+~@-]+\.(tar\.gz|tgz|tar\.zst|tar\.xz)$",
        description="Where it is: `.tar.gz`, `.tgz`, `.tar.zst` or `.tar.xz`.",
    )
    sha256: Sha256 = Field(description="Its checksum, 64 hexadecimal digits; another file is not unpacked.")


class ArchiveSpec(ArchiveFileSpec):
    """A binary release of an engine."""

    program: str | None = Field(
        default=None,
        pattern=r"^[\w.+-]+(/[\w.+-]+)*$",
        description="Path of the program in it, below the one folder that everything may lie in. None: "
        "`llama-server` or `bin/ollama`.",
    )
    libraries: ArchiveFileSpec | None = Field(
        default=None,
        description="A second archive that is unpacked into the same folder: CUDA's libraries, which llama.cpp's own "
        "releases keep apart.",
    )


class ServiceSpec(Record):
    """One wanted service: a model behind a port."""

    name: ServiceName = Field(
        description="Name of the service, of its unit and of its folder under `/opt/hermeion`. "
        "Lower case, digits, dashes, at most 32 characters.",
        examples=["hermes"],
    )
    model: str = Field(description="Model of the catalogue, or of `hermes_catalog`.", examples=["hermes-4-14b"])
    variant: str = Field(
        default="auto",
        description="Variant of the model, by name or precision. `auto`: the most precise that fits with the wanted "
        "context, in a precision that the GPUs compute in before one that they only store.",
    )
    engine: Literal["auto", "vllm", "sglang", "llamacpp", "ollama"] = Field(
        default="auto",
        description="Engine. `auto`: vLLM, and llama.cpp for a variant in GGUF files.",
    )
    engine_version: str | None = Field(
        default=None,
        description="Version of the engine. None: the newest that this release knows. A newer one is planned as the "
        "newest known, with a remark.",
        examples=["0.33.0"],
    )
    image: ImageReference | None = Field(
        default=None,
        description="Image in place of the engine's own, with tag and best with digest. None: the engine's "
        "official image at `engine_version`. A name without registry comes from `hermes_mirrors.registry`.",
        examples=["vllm/vllm-openai:v0.33.0@sha256:…"],
    )
    context: Literal["max"] | Annotated[int, Field(ge=1, le=100_000_000)] = Field(
        default="max",
        description="Context in tokens. `max`: as much as fits, up to what the model was made for.",
        examples=[32768],
    )
    min_context: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="The least context that is accepted, in tokens, if the wanted one does not fit. None: 2048 with "
        "`context` `max`, and exactly the wanted one with a number.",
        examples=[16384],
    )
    sequences: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Requests served at the same time. None: the engine's default for the GPU, or fewer where the "
        "wanted context only fits then.",
    )
    kv_precision: Literal["auto", "bf16", "fp8", "q8_0"] = Field(
        default="auto",
        description="Precision of the KV cache. `auto`: 16 bits, and 8 (FP8 with vLLM and SGLang, Q8_0 with llama.cpp "
        "and Ollama) where a context in numbers (or `min_context`) only fits then and the GPUs have it.",
    )
    gpus: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] | Annotated[tuple[str, ...], Field(min_length=1)] = (
        Field(
            default="auto",
            description="GPUs: `auto` (as few as serve the wanted context), a number, or a list of UUIDs.",
            examples=[2],
        )
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port on 127.0.0.1 where the service listens.")
    runtime: Literal["compose", "systemd"] = Field(
        default="compose",
        description="How it runs: in a container of Docker Compose, or natively, as a systemd service from a folder of "
        "the engine's own under `/opt/hermeion/engines`.",
    )
    requirements: str | None = Field(
        default=None,
        description="File on this machine with the locked requirements (pip's format, every line with hashes) of a "
        "native vLLM or SGLang. None: those of this release for `engine_version`.",
    )
    archive: ArchiveSpec | None = Field(
        default=None,
        description="Binary release of a native llama.cpp or Ollama. None: the one that this release knows for "
        "`engine_version`.",
    )
    served_names: tuple[ServedName, ...] = Field(
        default=(),
        description="More names under which requests may call the model, besides the service's name and the "
        "repository's.",
        examples=[["gpt-4o-mini"]],
    )
    thinking: bool = Field(
        default=False,
        description="Whether the model thinks before it answers when a request does not say. "
        "A request says it with `chat_template_kwargs: {thinking: true}`.",
    )
    extra_args: dict[str, str | int | float | bool] = Field(
        default={},
        description="More options of the engine, as its configuration file spells them; of Ollama its environment "
        "variables. What the plan decides, and what the engine's version does not know, is refused.",
        examples=[{"seed": 1}],
    )
    environment: dict[EnvironmentName, str] = Field(
        default={},
        description="More environment variables of the engine's process. Not for secrets: the plan and `docker "
        "inspect` show them.",
        examples=[{"NCCL_DEBUG": "INFO"}],
    )


class AptMirror(Record):
    """Where an apt repository is found instead of its usual place."""

    url: str = Field(
        pattern=r"^https?://[\w.:/-]+/$", description="Base URL, laid out as the original, with a final slash."
    )
    key: str = Field(description="File on this machine with the repository's public key (`.asc`).")


class AptDistributionMirror(Record):
    """Where the distribution's own packages are found instead of where the host looks."""

    url: str = Field(pattern=r"^https?://[\w.:/-]+/$", description="Base URL of the archive, with a final slash.")
    key: str | None = Field(
        default=None, description="File on this machine with its public key. None: the distribution's own keys."
    )
    suites: tuple[str, ...] = Field(
        default=(),
        description="Suites to read. Empty: the release and its updates.",
        examples=[["trixie", "trixie-updates"]],
    )


class AptMirrors(Record):
    """Mirrors of apt repositories."""

    nvidia: AptMirror | None = Field(
        default=None, description="Mirror of NVIDIA's CUDA repository (flat): the driver. None: NVIDIA's own."
    )
    toolkit: AptMirror | None = Field(
        default=None,
        description="Mirror of NVIDIA's container toolkit repository (flat). None: that of `nvidia`, else NVIDIA's.",
    )
    docker: AptMirror | None = Field(
        default=None, description="Mirror of `https://download.docker.com/linux/<distribution>/`. None: Docker's own."
    )
    distribution: AptDistributionMirror | None = Field(
        default=None,
        description="Mirror of the distribution's archive, for Hermeion's own calls alone: the host's sources stay as "
        "they are. None: the host's sources.",
    )


class RpmMirror(Record):
    """Where a dnf repository is found instead of its usual place."""

    url: str = Field(pattern=r"^https?://[\w.:/-]+/$", description="Base URL (with `repodata/` in it), final slash.")
    key: str = Field(description="File on this machine with the key that its packages are signed with.")


class RpmMirrors(Record):
    """Mirrors of dnf repositories. The distribution's own are the host's business (`/etc/yum.repos.d`)."""

    nvidia: RpmMirror | None = Field(
        default=None, description="Mirror of NVIDIA's CUDA repository: the driver. None: NVIDIA's own."
    )
    toolkit: RpmMirror | None = Field(
        default=None,
        description="Mirror of NVIDIA's container toolkit repository. None: that of `nvidia`, else NVIDIA's own.",
    )
    docker: RpmMirror | None = Field(default=None, description="Mirror of Docker's repository. None: Docker's own.")
    epel: RpmMirror | None = Field(
        default=None, description="Mirror of EPEL, which has `dkms`. None: the host's, else Fedora's own."
    )


class S3Spec(Record):
    """An S3-compatible store: where `source`s that begin with `s3://` are."""

    endpoint: str = Field(
        pattern=r"^https?://[\w.:/-]+$",
        description="URL of the store. A bucket is a folder of it (path style).",
        examples=["https://minio.example:9000"],
    )
    region: str = Field(
        default="us-east-1",
        pattern=r"^[a-z0-9-]+$",
        description="Region that requests are signed for; most stores of one's own take any.",
    )


class Mirrors(Record):
    """Where things come from, for sites that do not reach the internet."""

    registry: str | None = Field(
        default=None,
        pattern=r"^[\w.-]+(:\d+)?$",
        description="Container registry, host and port. None: the image's own registry.",
        examples=["registry.example:5000"],
    )
    hub: str | None = Field(
        default=None,
        pattern=r"^https?://[\w.:/-]+$",
        description="Hugging Face Hub or a mirror. None: `https://huggingface.co`.",
    )
    s3: S3Spec | None = Field(
        default=None,
        description="S3-compatible store for models whose `source` begins with `s3://`; credentials come from the "
        "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), without them requests are anonymous. None: AWS, "
        "region `us-east-1`.",
        examples=[{"endpoint": "https://minio.example:9000"}],
    )
    index: str | None = Field(
        default=None,
        pattern=r"^https?://[\w.:/-]+$",
        description="Python package index for the Hub client. None: PyPI.",
    )
    apt: AptMirrors = Field(default=AptMirrors(), description="Mirrors of apt repositories.")
    rpm: RpmMirrors = Field(default=RpmMirrors(), description="Mirrors of dnf repositories.")
    ca: str | None = Field(
        default=None,
        description="File on this machine with the certificates (PEM) that the mirrors are signed by. "
        "None: the host's own list.",
    )


class DriverSpec(Record):
    """How far Hermeion may go with the NVIDIA driver."""

    branch: Literal[580, 595] = Field(
        default=580,
        description="Driver branch to install where there is none, or to upgrade to. 580 is the LTS branch, and the "
        "last one for Maxwell, Pascal and Volta.",
    )
    source: Literal["auto", "nvidia", "distribution"] = Field(
        default="auto",
        description="Whose packages. `auto`: Ubuntu's own on Ubuntu (signed modules, no compiler), NVIDIA's elsewhere. "
        "`distribution`: Debian's own on Debian, which are too old for CUDA 13.",
    )
    install: bool = Field(default=True, description="Whether a missing driver is installed.")
    upgrade: bool = Field(
        default=False, description="Whether a healthy driver that is too old for the planned images is replaced."
    )
    repair: bool = Field(
        default=False, description="Whether packages of the driver that a failed build left half-configured are purged."
    )
    reboot: bool = Field(default=True, description="Whether a host may be rebooted to load the driver.")
    reboot_timeout: int = Field(
        default=1800, ge=30, description="Seconds to wait for a host that reboots; big servers take long."
    )


class RuntimeSpec(Record):
    """How far Hermeion may go with Docker."""

    source: Literal["auto", "distribution", "docker"] = Field(
        default="auto",
        description="Whose packages, where there is no Docker. `auto`: the distribution's if they know CDI (25 or "
        "newer) and have Compose v2, else Docker's own.",
    )
    install: bool = Field(default=True, description="Whether a missing Docker is installed.")


class SharingSpec(Record):
    """How hosts of one run that want the same weights share them."""

    hosts: bool = Field(
        default=True,
        description="Whether a host may copy weights from hosts of the run that have or are getting them, so that the "
        "Hub gives each byte once. False: every host pulls for itself.",
    )
    network: str | None = Field(
        default=None,
        description="Private network over which hosts copy, in CIDR notation; each host's address in it is taken. "
        "None: a private network that both have an address in.",
        examples=["10.0.0.0/24"],
    )
    port: int = Field(
        default=8730,
        ge=1024,
        le=65535,
        description="TCP port on which a host gives weights to others while the run lasts; a firewall between the "
        "hosts must let it through.",
    )

    @field_validator("network")
    @classmethod
    def _is_network(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no network in CIDR notation ({error})") from error
        if "/" not in text:
            wide = network.supernet(new_prefix=24 if network.version == 4 else 64)
            raise ValueError(f"{text!r} is one address, not a network: write it as {wide}")
        return text


class HostSpec(Record):
    """Everything the inventory says about one host."""

    hermes_services: tuple[ServiceSpec, ...] = Field(
        default=(), description="The services that the host serves, in order of preference for GPUs."
    )
    hermes_cache: AbsolutePath = Field(
        default="/srv/models", description="Folder of the weights on the host. Absolute."
    )
    hermes_driver: DriverSpec = Field(
        default=DriverSpec(),
        description="The NVIDIA driver. Given on a host without services, it alone is seen to.",
    )
    hermes_runtime: RuntimeSpec = Field(
        default=RuntimeSpec(),
        description="Docker and NVIDIA's container toolkit. Given on a host without services, they are seen to.",
    )
    hermes_disrupt: bool = Field(
        default=False,
        description="Whether what runs may be interrupted: other work on the GPUs by a change of driver, containers "
        "without `live-restore` by a restart of Docker, services of Hermeion by a reboot (one host of a service at a "
        "time).",
    )
    hermes_mirrors: Mirrors = Field(default=Mirrors(), description="Where things come from.")
    hermes_sharing: SharingSpec = Field(
        default=SharingSpec(), description="How hosts that want the same weights share them."
    )
    hermes_catalog: tuple[CatalogEntry, ...] = Field(default=(), description="Own models.")
    hermes_gpus: str | None = Field(
        default=None,
        description="The GPUs that the host is known to have, as a number and a model. A host that has others is "
        "refused, with both sides shown. None: whatever is found.",
        examples=["8xH100"],
    )
    hermes_refresh: bool = Field(
        default=False,
        description="Whether tags and branches that were resolved by an earlier run are resolved again.",
    )

    @model_validator(mode="after")
    def _names_and_ports_differ(self) -> HostSpec:
        for field in ("name", "port"):
            seen: set[object] = set()
            for service in self.hermes_services:
                value = getattr(service, field)
                if value in seen:
                    raise ValueError(f"two services have the same {field}: {value}")
                seen.add(value)
        return self


def _field_names(location: tuple[str | int, ...]) -> list[str]:
    """Valid keys at the place where ``location``'s last part is not one."""
    model: Any = HostSpec
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        model = next(
            candidate
            for candidate in (annotation, *getattr(annotation, "__args__", ()))
            if hasattr(candidate, "model_fields")
        )
    return sorted(model.model_fields)


def _path(data: Any, location: tuple[str | int, ...]) -> str:
    """The place in the inventory, without the names that pydantic gives to the branches of a union."""
    parts = []
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
        parts.append(str(part))
    return "/".join(parts) or "hermes_services"


def _explain(host: str, data: Mapping[str, object], error: ValidationError) -> list[str]:
    messages: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for problem in error.errors():
        location = problem["loc"]
        path = _path(data, location)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            path = "/".join(str(part) for part in location)
            message = "is missing"
        elif problem["type"] == "extra_forbidden":
            names = _field_names(location)
            near = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
            message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}")
        elif problem["type"] != "value_error":
            message = f"{message[0].lower()}{message[1:]}".replace("a valid tuple", "a list")
            found[path] = f" (found {problem['input']!r})"
        messages.setdefault(path, []).append(message)
    return [f"{host}: {path}: {', or '.join(texts)}{found.get(path, '')}" for path, texts in messages.items()]


def parse_host_spec(host: str, data: Mapping[str, object]) -> HostSpec:
    """Read the ``hermes_*`` keys of a host's data; all other keys are pyinfra's business.

    Raises:
        InventoryError: One line per problem: host, path, rule, and the nearest valid key for an unknown one.
    """
    own = {key: value for key, value in data.items() if key.startswith("hermes_")}
    try:
        return HostSpec.model_validate(own)
    except ValidationError as error:
        raise InventoryError("\n".join(_explain(host, own, error))) from error
