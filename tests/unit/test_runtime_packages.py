"""Docker's packages by distribution, against the lines of the indices that they were read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermeion.runtime.engine import FIRST_WITH_CDI, OLDEST_COMPOSE, docker_packages
from hermeion.runtime.versions import version_of

INDEX = [
    line.split()
    for line in (Path(__file__).parent / "data" / "docker-index.txt").read_text().splitlines()
    if not line.startswith("#")
]
CODENAMES = {
    ("debian", "12"): "bookworm",
    ("debian", "13"): "trixie",
    ("ubuntu", "22.04"): "jammy",
    ("ubuntu", "24.04"): "noble",
    ("ubuntu", "26.04"): "resolute",
}


def versions(codename: str, package: str) -> set[str]:
    """Versions of a package that any suite of a release has."""
    return {found for index, name, found in INDEX if f"/dists/{codename}" in index and name == package}


@pytest.mark.parametrize("row", docker_packages()[0].values(), ids=lambda row: f"{row.id}-{row.version}")
def test_distribution(row: object) -> None:
    """Every package is in the release's index, and engine and Compose are the newest there."""
    own = next(found for found in docker_packages()[0].values() if found is row)
    codename = CODENAMES[own.id, own.version]

    assert [] == [package for package in own.packages if not versions(codename, package)]
    assert own.compose in own.packages
    for package, version in (("docker.io", own.engine), (own.compose, own.compose_version)):
        assert version in versions(codename, package)
        assert version_of(version) == max(version_of(found) or (0, 0, 0) for found in versions(codename, package))


@pytest.mark.parametrize(("system", "codename"), CODENAMES.items())
def test_who_has_docker_of_its_own(system: tuple[str, str], codename: str) -> None:
    """A distribution is listed if, and only if, its newest Docker knows CDI and it has a Compose that will do."""
    engine = max((version_of(v) or (0, 0, 0) for v in versions(codename, "docker.io")), default=(0, 0, 0))
    compose = max(
        (version_of(v) or (0, 0, 0) for n in ("docker-compose", "docker-compose-v2") for v in versions(codename, n)),
        default=(0, 0, 0),
    )

    assert (engine >= FIRST_WITH_CDI and compose >= OLDEST_COMPOSE) == (system in docker_packages()[0])


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("26.1.5+dfsg1", (26, 1, 5)),
        ("5:29.1.3-1~debian.13~trixie", (29, 1, 3)),
        ("v2.26.1", (2, 26, 1)),
        ("2.40", (2, 40, 0)),
        ("", None),
        (None, None),
        ("dev", None),
    ],
)
def test_version_of(text: str | None, version: tuple[int, int, int] | None) -> None:
    """The three numbers that count, whatever is around them."""
    assert version == version_of(text)
