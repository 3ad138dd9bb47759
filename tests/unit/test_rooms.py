"""Whether there is room on a host, to the byte, before anything is pulled."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.errors import PlacementError
from hermeion.rooms import check_room, missing_bytes
from hermeion.sources import HubFile
from tests.unit.builders import NAME, final_service, image_of, make_probe, make_sources

ROOMY = "9000000000000 9000000000000 yes /dev/sda1 ext4 /"
NATIVE = {"name": "hermes", "model": "hermes-3-8b", "runtime": "systemd"}
FOLDER = "models--NousResearch--Hermes-3-Llama-3.1-8B"
WEIGHTS = 16_060_522_496
"""Bytes of hermes-3-8b in BF16: one file in these tests, named by 64 times ``ef``."""

BLOB = "ef" * 32


def disks(cache: str, docker: str = ROOMY, opt: str = ROOMY) -> dict[str, Any]:
    """Answers about the filesystems."""
    return {"disks": [f"/srv/models {cache}", f"/var/lib/docker {docker}", f"/opt/hermeion {opt}"]}


def row(size: int, name: str = BLOB, folder: str = FOLDER) -> str:
    """A row of the probe's about a blob."""
    return f"blob {folder} {size} {name}"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            disks("9000000000000 9000000000000 no nas:/models nfs4 /srv/models"),
            "gpu-1: hermes_cache /srv/models is on a read-only filesystem (nas:/models). Remount it read-write or "
            "choose another folder.",
        ),
        (
            disks("9000000000000 16060522496 yes /dev/sda1"),
            "gpu-1: no room for the weights of hermes-3-8b-bf16: 17134264320 bytes (16.0 GiB) are needed at "
            "/srv/models, 16060522496 (15.0 GiB) are free. Free some or choose another filesystem.",
        ),
        (
            disks("9000000000000 1073741923 yes /dev/sda1") | {"weights": [row(WEIGHTS - 100, f"{BLOB}.incomplete")]},
            "gpu-1: no room for the weights of hermes-3-8b-bf16: 1073741924 bytes (1.0 GiB) are needed at "
            "/srv/models, 1073741923 (1.0 GiB) are free. Free some or choose another filesystem.",
        ),
        (
            disks(ROOMY, "9000000000000 26843545599 yes /dev/sda1"),
            "gpu-1: no room for the image vllm/vllm-openai: 26843545600 bytes (25.0 GiB) are needed at "
            "/var/lib/docker, 26843545599 (25.0 GiB) are free. Free some or choose another filesystem.",
        ),
    ],
)
def test_no_room(answers: dict[str, Any], message: str) -> None:
    """A filesystem that is read-only or too small is refused with the bytes needed and free."""
    service = final_service()
    with pytest.raises(PlacementError) as caught:
        check_room(NAME, service, make_sources(service), make_probe(**answers))

    assert message == str(caught.value)


IMAGE = {"images": [image_of(final_service()).reference]}
FULL = "1 0 yes /dev/sda1"


@pytest.mark.parametrize(
    "answers",
    [
        disks("9000000000000 17134264320 yes /dev/sda1", "9000000000000 26843545600 yes /dev/sda1"),
        disks("1 0 no nas:/models", FULL) | {"weights": [f"{final_service().snapshot} complete"]} | IMAGE,
        disks("9000000000000 1073741924 yes /dev/sda1") | {"weights": [row(WEIGHTS - 100, f"{BLOB}.incomplete")]},
        disks(FULL) | {"weights": [row(WEIGHTS)]},
        disks(FULL) | {"weights": [f"{final_service().snapshot} damaged", row(WEIGHTS)]},
    ],
    ids=["to the byte", "complete", "half", "all of it, unchecked", "all of it, damaged"],
)
def test_room(answers: dict[str, Any]) -> None:
    """Room to the byte is room; what is here already needs none."""
    service = final_service()
    check_room(NAME, service, make_sources(service), make_probe(**answers))


def test_another_host_pulls() -> None:
    """A host that reads what another one writes needs neither room nor the right to write, but room for the image."""
    service = final_service()
    read_only = disks("1 0 no nas:/models nfs4 /srv/models")
    check_room(NAME, service, make_sources(service), make_probe(**read_only), pulls=False)
    small = disks("1 0 no nas:/models", FULL)

    with pytest.raises(PlacementError, match="no room for the image"):
        check_room(NAME, service, make_sources(service), make_probe(**small), pulls=False)


def test_no_room_for_a_native_engine() -> None:
    """Room for what is downloaded and what is installed is looked for before an engine is installed."""
    service = final_service(NATIVE)
    package = service.package
    assert package
    needed = (package.download or 0) + (package.installed or 0) + (1 << 30)
    rows = disks(ROOMY, opt=f"9000000000000 {needed - 1} yes /dev/sda2")
    with pytest.raises(PlacementError) as caught:
        check_room(NAME, service, make_sources(service), make_probe(**rows))

    assert f"gpu-1: no room for the engine vllm-0.33.0: {needed} bytes " in str(caught.value)
    check_room(NAME, service, make_sources(service), make_probe(**rows, engines=[package.identity]))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], 1000 + 200 + 7),
        ([row(1000, "aa")], 200 + 7),
        ([row(999, "aa")], 1000 + 200 + 7),
        ([row(999, "aa.incomplete"), row(150, "bb.incomplete")], 1 + 50 + 7),
        ([row(2000, "aa.incomplete")], 200 + 7),
        ([row(1000, "aa"), row(10, "aa.incomplete"), row(200, "bb")], 7),
        ([row(1000, "aa.1f2e3d4c.incomplete")], 1000 + 200 + 7),
        ([row(1000, "aa", "models--other--repo")], 1000 + 200 + 7),
        ([row(7, "cc")], 1000 + 200),
    ],
)
def test_missing_bytes(rows: list[str], expected: int) -> None:
    """What is there counts where the pull will use it: by name and size, the beginning of a file by its size."""
    service = final_service()
    files = (
        HubFile(path="a", size=1000, sha256="aa"),
        HubFile(path="copy of a", size=1000, sha256="aa"),
        HubFile(path="b", size=200, sha256="bb"),
        HubFile(path="config.json", size=7, sha256=None, oid="cc"),
    )

    assert expected == missing_bytes(service, make_sources(service, files=files), make_probe(weights=rows))
