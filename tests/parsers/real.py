"""The real parsers as functions: ``accepts_vllm(config)``, ``accepts_sglang(config)``, ``accepts_llamacpp(arguments)``.

vLLM's runs on the packages that the lab installs for its engine image; SGLang's out of its wheel, fetched once;
llama-server is the lab's own archive of it.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermeion.lab.paths import cache_root
from tools.engine_tables.downloads import BACKEND

ROOT = Path(__file__).parents[2]
LAB_VLLM = "0.32.0"
SGLANG = "0.5.23"

# What is fetched, with the sha256 of the files for Linux on x86_64; msgspec's are those for Python 3.11, 3.12 and 3.13.
PINNED = {
    "sglang-0.5.23": ("00b3cd5b265ac76c64185fbb6b95424f324ddd9f428d0306b77bc9db9d859937",),
    "vllm-0.33.0": ("f4c33c2503d52bb411146afa9618a4f48bed68912f617e6803ac8d76e4c74112",),
    "msgspec-0.22.0": (
        "a6db3806b3b76ca78064255eac6fa101a8a64fe6f698d80fbaf81fdfa21217d4",
        "99c401861c5bb3a57f7d6423ea7ed4352cd57aa3f04f4fbe9f3e3e4564a10f08",
        "c6c310ef83e7e291b01a63298828f848348bb99e84a1098c4b3923c05674d032",
    ),
}


class Parser:
    """A process that holds a parser. Refusals are its own words."""

    def __init__(self, program: str, arguments: list[str], *, python: str, path: list[Path]) -> None:
        environment = {
            "HOME": tempfile.gettempdir(),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *path])),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the process
        command = [python, "-m", f"tests.parsers.programs.{program}", *arguments]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        atexit.register(self.close)

    def ask(self, **question: Any) -> Any:
        """The answer to a question; fails the test with the program's last words if it died."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            pytest.fail(f"the parser's process ended: {self._log.read()[-2000:]}")
        return json.loads(line)

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        """Why a configuration file is refused; ``None``: it is accepted."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(dict(config), file, sort_keys=False)
            file.flush()
            said: str | None = self.ask(arguments=["--config", file.name])
        return said

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.kill()
        self._process.wait()
        self._log.close()


def fetched(name: str) -> Path:
    """Folder with the Python files of a pinned package; skips the test, in words, if the index does not have it."""
    place = cache_root().parent / "parsers" / name
    if place.is_dir():
        return place
    package, _, version = name.rpartition("-")
    source = package == "vllm"  # its wheel is 400 MB of GPU code; nothing is built of the source archive
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "setuptools").mkdir()
        (work / "setuptools" / "__init__.py").touch()
        (work / "setuptools" / "build_meta.py").write_text(BACKEND)
        hashes = " ".join(f"--hash=sha256:{one}" for one in PINNED[name])
        (work / "wanted.txt").write_text(f"{package}=={version} {hashes}\n")
        options = ["--no-binary", package, "--no-build-isolation"] if source else ["--only-binary", ":all:"]
        if package == "sglang":  # any Python can read it
            options += ["--python-version", "3.11", "--platform", "manylinux_2_34_x86_64"]
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(work / "got"), *options]
        command += ["--require-hashes", "-r", str(work / "wanted.txt")]
        environment = dict(os.environ) | ({"PYTHONPATH": str(work)} if source else {})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{package} {version} cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{name}-"))
        _unpack(next((work / "got").iterdir()), part)
        part.rename(place)
    return place


def _unpack(file: Path, folder: Path) -> None:
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            wanted = (".py", ".so") if "msgspec" in file.name else (".py",)
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(wanted)])  # noqa: S202  # pinned by hash
        return
    with tarfile.open(file) as archive:
        for member in archive:
            member.name = member.name.partition("/")[2]
            if member.isfile() and member.name.startswith("vllm/") and member.name.endswith((".py", ".json")):
                archive.extract(member, folder, filter="data")


def lab_site() -> Path:
    """The packages of the lab's engine image; skips the test, in words, where no lab has installed them."""
    found = [
        path
        for path in sorted(cache_root().glob("site-*"), key=lambda path: path.stat().st_mtime)
        if (path / f"vllm-{LAB_VLLM}+cpu.dist-info").is_dir()
    ]
    if not found:
        pytest.skip("vLLM for the CPU is not installed: `hermeion lab up` does it, once")
    return found[-1]


def python_311() -> str:
    """A Python 3.11, for which the lab's packages are; skips the test, in words, if there is none."""
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    found = shutil.which("python3.11")
    if found is None:
        pytest.skip("the lab's vLLM is for Python 3.11, and there is no python3.11 here")
    return found


@cache
def vllm(version: str = LAB_VLLM) -> Parser:
    """vLLM's parser: that of the lab's version as installed, others from their source on the same packages."""
    path = [lab_site()] if version == LAB_VLLM else [fetched(f"vllm-{version}"), lab_site()]
    return Parser("vllm", [], python=python_311(), path=path)


@cache
def sglang() -> Parser:
    """SGLang's parser."""
    msgspec = fetched("msgspec-0.22.0")
    return Parser("sglang", [str(fetched(f"sglang-{SGLANG}"))], python=sys.executable, path=[msgspec])


@cache
def llama_server() -> str:
    """The program ``llama-server``; skips the test, in words, where no lab has made its archive."""
    found = sorted(cache_root().glob("llamacpp-archive-*/llama-b11669-*.tar.gz"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip("there is no archive of llama-server: `hermeion lab up` makes it, once")
    folder = Path(tempfile.mkdtemp(prefix="llama-server-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with tarfile.open(found[-1]) as archive:
        archive.extractall(folder, filter="tar")
    return str(next(folder.rglob("llama-server")))


def llama_help() -> str:
    """What ``llama-server --help`` prints."""
    return subprocess.run([llama_server(), "--help"], capture_output=True, text=True, check=True).stdout


END = "--no-such-option-of-any-server"


def accepts_llamacpp(arguments: Sequence[str]) -> str | None:
    """Why llama-server refuses arguments; ``None``: it takes all of them. Files that they name must exist here.

    It parses from left to right and stops at the first that it does not know: one that nobody knows is put at the end.
    """
    done = subprocess.run(
        [llama_server(), *arguments, END], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line]
    said = lines[0] if lines else f"it ended with exit code {done.returncode} without a word"
    return None if said.endswith(f"invalid argument: {END}") else said


def accepts_vllm(config: Mapping[str, Any], version: str = LAB_VLLM) -> str | None:
    """Why ``vllm serve --config`` refuses a configuration; ``None``: it accepts it.

    A ``chat-template`` that is a path must exist here.
    """
    return vllm(version).refusal(config)


def accepts_sglang(config: Mapping[str, Any]) -> str | None:
    """Why SGLang refuses a configuration file; ``None``: it accepts it. It takes ``model-path`` as it comes."""
    return sglang().refusal(config)
