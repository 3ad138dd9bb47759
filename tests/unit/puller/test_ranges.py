"""What servers make of a request for the rest of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.puller.conftest import MIB, run, served
from tests.unit.puller.origin import HookedHandler, Origin

SHARD = "model-1.safetensors"


def leave(origin: Origin, cache: Path, data: bytes) -> Path:
    """What an earlier run left of the first shard."""
    blobs = cache / "hub/models--me--model/blobs"
    blobs.mkdir(parents=True)
    part = blobs / f"{hashlib.sha256(origin.content[SHARD]).hexdigest()}.incomplete"
    part.write_bytes(data)
    return part


def ranges(answer: Callable[[HookedHandler, bytes], bool]) -> Callable[[Origin], Callable[[HookedHandler], bool]]:
    """A hook for requests of the rest of the first shard, and for those alone."""

    def make(origin: Origin) -> Callable[[HookedHandler], bool]:
        def hook(handler: HookedHandler) -> bool:
            asked = handler.path.endswith(SHARD) and handler.headers.get("Range")
            return bool(asked) and answer(handler, origin.content[SHARD])

        return hook

    return make


ANSWERS: dict[str, Callable[[HookedHandler, bytes], bool]] = {
    "knows no ranges": lambda handler, data: handler.answer(200, {"Content-Length": str(len(data))}, data),
    "no length": lambda handler, data: handler.answer(200, {}, data),
    "another range": lambda handler, data: handler.answer(
        206, {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}", "Content-Length": str(len(data))}, data
    ),
    "no such range": lambda handler, _: handler.answer(416, {"Content-Length": "0"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_odd_ranges(tmp_path: Path, origin: Origin, name: str) -> None:
    """Whatever a server makes of a request for the rest of a file, the file is right in the end."""
    leave(origin, tmp_path / "cache", origin.content[SHARD][:MIB])
    origin.hook(ranges(ANSWERS[name])(origin))
    run(origin.job(tmp_path / "cache"))

    assert origin.content == served(tmp_path / "cache")
    once = name in {"knows no ranges", "no length"}  # what is there already is skipped
    assert [f"bytes={MIB}-", *([] if once else [None])] == origin.asked(SHARD)


def test_chunked(tmp_path: Path, origin: Origin) -> None:
    """A body without a length, in chunks, is read; more than was promised is not."""

    def hook(handler: HookedHandler) -> bool:
        if not handler.path.endswith(SHARD):
            return False
        data = origin.content[SHARD] + b"more"
        body = b"".join(
            b"%x\r\n%s\r\n" % (len(data[at : at + MIB]), data[at : at + MIB]) for at in range(0, len(data), MIB)
        )
        return handler.answer(200, {"Transfer-Encoding": "chunked"}, body + b"0\r\n\r\n")

    origin.hook(hook)
    run(origin.job(tmp_path / "cache"))

    assert origin.content == served(tmp_path / "cache")
