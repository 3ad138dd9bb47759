"""Options and fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.fakes import Runs

GOLDEN = Path(__file__).parents[1] / "golden"

Compare = Callable[[str, str], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Compare:
    """Compare a text with a file under ``tests/golden``, as a whole."""

    def compare(path: str, actual: str) -> None:
        file = GOLDEN / path
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(actual)
        assert file.read_text() == actual

    return compare


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole runs come last: the runs go on beside the other tests."""
    items.sort(key=lambda item: "runs" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def _runs_start_early(request: pytest.FixtureRequest) -> None:
    """Start the runs at once, if any test wants them."""
    if any("runs" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("runs")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs of the whole deploy on pyinfra's ``@fake`` connector."""
    return Runs(tmp_path_factory.mktemp("runs"))
