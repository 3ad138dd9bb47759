"""OCI images as values and streams: layers compressed while they are read, nothing twice on disk.

``docker import`` and ``docker push`` of 2.5 GB take a minute and a half, most of it gzip on one core; zstd with
a stream into the registry takes a few seconds. Same content, same digest: entries are sorted, times are fixed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from hermeion.errors import LabError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+"
EPOCH = 1_577_836_800  # 2020-01-01: fixed, and not so old that zip-based tools refuse it
_CHUNK = 1 << 20

TarWriter = Callable[[IO[bytes]], None]


@dataclass(frozen=True)
class Layer:
    """A layer as manifest and config name it."""

    media_type: str
    digest: str
    size: int
    diff_id: str
    """sha256 of the uncompressed tar."""


class _HashingWriter(io.RawIOBase):
    """Passes bytes on and hashes them on the way."""

    def __init__(self, target: IO[bytes], advance: Callable[[int], None]) -> None:
        self._target = target
        self._advance = advance
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self._target.write(data)
        self._advance(len(data))
        return len(data)


def write_folder(root: Path, prefix: str, file: IO[bytes]) -> None:
    """A tar of ``root`` under ``prefix``: sorted, owned by root, fixed times, modes 755 and 644."""
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_CHUNK) as archive:
        parts = prefix.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            archive.addfile(_entry("/".join(parts[:depth]), tarfile.DIRTYPE))
        for path in sorted(root.rglob("*")):
            name = f"{prefix.strip('/')}/{path.relative_to(root).as_posix()}"
            if path.is_symlink():
                link = _entry(name, tarfile.SYMTYPE)
                link.linkname = str(path.readlink())
                archive.addfile(link)
            elif path.is_dir():
                archive.addfile(_entry(name, tarfile.DIRTYPE))
            else:
                status = path.stat()
                info = _entry(name, tarfile.REGTYPE, executable=bool(status.st_mode & 0o100))
                info.size = status.st_size
                with path.open("rb") as content:
                    archive.addfile(info, content)


def _entry(name: str, kind: bytes, *, executable: bool = False) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mtime = kind, EPOCH
    info.mode = 0o755 if executable or kind == tarfile.DIRTYPE else 0o777 if kind == tarfile.SYMTYPE else 0o644
    return info


def rewrite_export(export: Iterator[bytes], file: IO[bytes]) -> None:
    """A container's export as a layer: without what Docker put there for the container, with fixed times."""
    source = cast("IO[bytes]", io.BufferedReader(_Chunks(export), _CHUNK))
    with (
        tarfile.open(fileobj=source, mode="r|*", bufsize=_CHUNK) as given,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as archive,
    ):
        for info in given:
            name = info.name.strip("/")
            if name in (".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf") or name.startswith("dev/"):
                continue
            info.mtime = EPOCH
            info.pax_headers = {}
            info.uname = info.gname = ""
            archive.addfile(info, given.extractfile(info) if info.isreg() else None)


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class Compressed:
    """Iterates over the compressed bytes of a tar that ``write`` produces; afterwards ``layer()`` names it."""

    def __init__(self, write: TarWriter, advance: Callable[[int], None] = lambda _: None) -> None:
        self._write = write
        self._advance = advance
        # Without the zstd program: gzip, slower but everywhere.
        self.kind = "zstd" if shutil.which("zstd") else "gzip"
        self._digest = hashlib.sha256()
        self._size = 0
        self._diff_id = ""
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._zstd() if self.kind == "zstd" else self._gzip():
            self._digest.update(chunk)
            self._size += len(chunk)
            yield chunk

    def layer(self) -> Layer:
        """The finished layer."""
        digest = f"sha256:{self._digest.hexdigest()}"
        return Layer(LAYER + self.kind, digest, self._size, f"sha256:{self._diff_id}")

    def _zstd(self) -> Iterator[bytes]:
        command = ["zstd", "-1", "-T0", "--quiet", "--stdout"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None  # noqa: S101 - both are pipes
            assert process.stdout is not None  # noqa: S101
            feeder = threading.Thread(target=self._feed, args=(process.stdin,), daemon=True)
            feeder.start()
            while chunk := process.stdout.read(_CHUNK):
                yield chunk
            feeder.join()
        self._raise_failure()
        if process.returncode:
            message = f"zstd ended with status {process.returncode} while a layer was compressed. Is there memory left?"
            raise LabError(message)

    def _gzip(self) -> Iterator[bytes]:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None  # noqa: S101
            assert process.stdout is not None  # noqa: S101
            packed = gzip.GzipFile(fileobj=process.stdin, mode="wb", compresslevel=1, mtime=0)
            feeder = threading.Thread(target=self._feed, args=(packed, process.stdin), daemon=True)
            feeder.start()
            while chunk := process.stdout.read(_CHUNK):
                yield chunk
            feeder.join()
        self._raise_failure()

    def _feed(self, *files: IO[bytes] | gzip.GzipFile) -> None:
        try:
            writer = _HashingWriter(cast("IO[bytes]", files[0]), self._advance)
            self._write(cast("IO[bytes]", writer))
            self._diff_id = writer.digest.hexdigest()
        except BaseException as error:  # raised again in the reading thread
            self._failure = error
        finally:
            for file in files:
                try:
                    file.close()
                except OSError as error:
                    self._failure = self._failure or error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def make_config(layers: list[Layer], *, settings: dict[str, Any], architecture: str = "amd64") -> bytes:
    """The image's configuration: ``settings`` are Entrypoint, Env, User and the like."""
    value = {
        "architecture": architecture,
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "hermeion lab"} for _ in layers],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def make_manifest(config: bytes, layers: list[Layer]) -> bytes:
    """The manifest that binds configuration and layers."""
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": f"sha256:{hashlib.sha256(config).hexdigest()}", "size": len(config)},
        "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size} for layer in layers],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
