"""Fixtures of the puller's tests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermeion.puller import attempts
from hermeion.puller.client import prepare_client
from hermeion.puller.job import read_job
from hermeion.puller.kinds import open_source
from hermeion.puller.run import pull
from tests.unit.puller.origin import REVISION, Origin

MIB = 1 << 20


@pytest.fixture(scope="session", autouse=True)
def _client_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The Hub's client keeps to a folder of its own, as on a host."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HOME", "HF_TOKEN", "HF_HUB_OFFLINE"):
            patch.setenv(name, "")  # so that they are put back in the end
        prepare_client(tmp_path_factory.mktemp("home"))
        yield


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not keep a test waiting."""
    monkeypatch.setattr(attempts, "FIRST_WAIT", 0.01)


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """A repository of two shards and two small files, one with a space in its name."""
    noise = random.Random(6)  # noqa: S311  # the same bytes in every run
    served = Origin(
        tmp_path / "origin",
        {
            "model-1.safetensors": noise.randbytes(3 * MIB + 17),
            "model-2.safetensors": noise.randbytes(MIB),
            "config.json": b"{}",
            "extra files/read [me].txt": b"",
        },
    )
    yield served
    served.server.shutdown()
    served.server.server_close()


def run(job: dict[str, Any]) -> None:
    """Pull in this process."""
    read = read_job(json.dumps(job))
    pull(read, [open_source(entry, read) for entry in read.sources])


def facts(out: str) -> dict[str, str]:
    """Figures of a job's output."""
    return dict(line[7:].split(" ", 1) for line in out.splitlines() if line.startswith("##fact "))


def notes(out: str) -> list[str]:
    """Notes of a job's output."""
    return [line[7:] for line in out.splitlines() if line.startswith("##note ")]


def served(cache: Path) -> dict[str, bytes]:
    """Names of the snapshot that lead to something, with their content."""
    snapshot = cache / "hub/models--me--model/snapshots" / REVISION
    return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}
