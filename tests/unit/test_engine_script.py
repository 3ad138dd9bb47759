"""The script that installs a native engine, run for real in a folder of the test's own."""

from __future__ import annotations

import hashlib
import io
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hermeion.plans import Archive, Package, Service
from hermeion.scripts.engine import engine_script
from hermeion.scripts.tools import environment
from tests.unit.builders import final_service, make_probe, make_spec

PROGRAM = "#!/bin/sh\necho started\n"
LOCK = "vllm==0.33.0 --hash=sha256:00\n"


class Quiet(SimpleHTTPRequestHandler):
    """A file server that says nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a server."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def pack(path: Path, prefix: str, program: str = PROGRAM) -> str:
    """An archive with a program in it; its SHA-256."""
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(f"{prefix}llama-server")
        info.size, info.mode = len(program), 0o775
        archive.addfile(info, io.BytesIO(program.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def native(package: Package) -> Service:
    """A service that runs from a package."""
    return final_service().model_copy(update={"runtime": "systemd", "image": None, "package": package})


def run(service: Service, root: Path, *, lock: str | None = None) -> subprocess.CompletedProcess[str]:
    """The script with ``root`` in place of the host's root folder."""
    script = engine_script(make_spec(), make_probe(), service, ca=None, keys={}, lock=lock)
    script = script.replace("/opt/hermeion", f"{root}/opt").replace("root:root", "$(id -u):$(id -g)")
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)


def archived(address: str, sha256: str, program: str = "llama-server") -> Service:
    """A service that runs from an archive."""
    files = (Archive(url=f"{address}/engine.tar.gz", sha256=sha256),)
    return native(Package(name="llamacpp-b1", kind="archive", sha256=sha256, program=(program,), archives=files))


@pytest.mark.parametrize("prefix", ["", "llama-b1/"])
def test_archive(site: tuple[str, Path], tmp_path: Path, prefix: str) -> None:
    """An archive is downloaded, checked and unpacked, with or without a folder around everything, and marked."""
    address, folder = site
    sha256 = pack(folder / "engine.tar.gz", prefix)
    service = archived(address, sha256)
    done = run(service, tmp_path)
    there = tmp_path / "opt" / "engines" / f"llamacpp-b1-{sha256[:12]}"

    assert (0, "") == (done.returncode, done.stderr)
    assert [".complete", "llama-server"] == sorted(path.name for path in there.iterdir())
    assert 0o755 == stat.S_IMODE((there / "llama-server").stat().st_mode)
    assert [there] == list(there.parent.iterdir()), "no download is left"


def test_archive_twice(site: tuple[str, Path], tmp_path: Path) -> None:
    """What is complete is not touched again, not even by a server that is gone."""
    address, folder = site
    service = archived(address, pack(folder / "engine.tar.gz", ""))
    run(service, tmp_path)
    (folder / "engine.tar.gz").unlink()

    assert (0, "") == ((done := run(service, tmp_path)).returncode, done.stdout)


def test_archive_that_is_another(site: tuple[str, Path], tmp_path: Path) -> None:
    """An archive with another checksum is not unpacked, and not kept."""
    address, folder = site
    found = pack(folder / "engine.tar.gz", "")
    done = run(archived(address, "0" * 64), tmp_path)

    assert 1 == done.returncode
    assert (
        f"##error the archive {address}/engine.tar.gz has SHA-256 {found}, {'0' * 64} was expected. "
        "It was not unpacked." in done.stdout.splitlines()
    )
    assert [] == [path for path in (tmp_path / "opt" / "engines").rglob("*") if path.is_file()]


def test_two_archives(site: tuple[str, Path], tmp_path: Path) -> None:
    """A second archive, CUDA's libraries, is unpacked into the same folder."""
    address, folder = site
    first, second = pack(folder / "engine.tar.gz", "llama-b1/"), pack(folder / "cuda.tar.gz", "cudart-b1/lib")
    package = archived(address, first).package
    assert package
    files = (*package.archives, Archive(url=f"{address}/cuda.tar.gz", sha256=second))
    done = run(native(package.model_copy(update={"archives": files})), tmp_path)

    assert (0, "") == (done.returncode, done.stderr)
    assert [".complete", "libllama-server", "llama-server"] == sorted(
        path.name for path in (tmp_path / "opt" / "engines" / package.identity).iterdir()
    )


def test_archive_that_does_not_run_here(site: tuple[str, Path], tmp_path: Path) -> None:
    """A program that cannot even tell its version is not installed; its last words are shown."""
    address, folder = site
    text = "#!/bin/sh\necho 'version `GLIBC_2.38 not found' >&2; exit 1\n"
    service = archived(address, pack(folder / "engine.tar.gz", "", text))
    done = run(service, tmp_path)

    assert 1 == done.returncode
    assert (
        "##error llamacpp-b1 does not run on this host: version `GLIBC_2.38 not found. Set runtime = 'compose'."
        in done.stdout.splitlines()
    )
    assert not list((tmp_path / "opt" / "engines").rglob(".complete"))


def test_archive_without_the_program(site: tuple[str, Path], tmp_path: Path) -> None:
    """An archive that holds another program is refused, and its folder is not marked as complete."""
    address, folder = site
    service = archived(address, pack(folder / "engine.tar.gz", ""), "bin/ollama")
    done = run(service, tmp_path)

    assert 1 == done.returncode
    assert f"##error the archive {address}/engine.tar.gz holds no program bin/ollama" in done.stdout.splitlines()
    assert not list((tmp_path / "opt" / "engines").rglob(".complete"))


@pytest.mark.parametrize("there", [10, None])
def test_interrupted_download(site: tuple[str, Path], tmp_path: Path, there: int | None) -> None:
    """What an interrupted download left is taken up, from a server that cannot continue a file too."""
    address, folder = site
    sha256 = pack(folder / "engine.tar.gz", "")
    downloads = tmp_path / "opt" / "engines" / ".downloads"
    downloads.mkdir(parents=True)
    (downloads / sha256).write_bytes((folder / "engine.tar.gz").read_bytes()[:there])
    if there is None:
        (folder / "engine.tar.gz").unlink()

    assert 0 == run(archived(address, sha256), tmp_path).returncode


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    """A stand-in for the host's tools: ``uv`` writes down what it was asked, and makes what a lock would bring."""
    bin_ = Path(environment().replace("/opt/hermeion", f"{tmp_path}/opt")) / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "python").symlink_to("/bin/true")
    program = bin_ / "uv"
    program.write_text(
        f'#!/bin/sh\necho "$UV_PYTHON_DOWNLOADS $*" >> {tmp_path}/asked\n'
        'case "$1" in venv) for last in "$@"; do :; done; mkdir -p "$last/bin";; '
        'pip) shift 4; touch "${1%/*}/vllm"; chmod +x "${1%/*}/vllm";; esac\n'
    )
    program.chmod(0o755)
    return tmp_path / "asked"


def test_virtual_environment(uv: Path, tmp_path: Path) -> None:
    """A virtual environment is made by uv from the lock alone: by hash, no source builds, no Python of uv's own."""
    sha256 = hashlib.sha256(LOCK.encode()).hexdigest()
    package = Package(name="vllm-0.33.0", kind="venv", sha256=sha256, program=("bin/vllm", "serve"))
    script = engine_script(make_spec(), make_probe(), native(package), ca=None, keys={}, lock=LOCK)
    # What the distribution gives is another test's business.
    kept = [line for line in script.splitlines() if not line.startswith("apt install")]
    text = "\n".join(kept).replace("/opt/hermeion", f"{tmp_path}/opt").replace("root:root", "$(id -u):$(id -g)")
    text = (
        text.replace("apt update", ":")
        .replace("/etc/hermeion", f"{tmp_path}/etc")
        .replace("/run/hermeion", str(tmp_path))
    )
    done = subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True, check=False)
    folder = tmp_path / "opt" / "engines" / f"vllm-0.33.0-{sha256[:12]}"

    assert 0 == done.returncode, done.stderr
    assert (folder / ".complete").exists()
    venv, pip = uv.read_text().splitlines()
    assert f"never venv -q --python python3 {folder}" == venv
    assert (
        f"never pip install -q --python {folder}/bin/python --no-deps --require-hashes --only-binary :all: "
        f"--compile-bytecode -r {tmp_path}/opt/engines/.downloads/vllm-0.33.0-{sha256[:12]}.txt"
        == " ".join(pip.split())
    )
