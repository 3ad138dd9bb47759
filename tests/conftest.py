"""Options of all tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden`` writes what the tests found into the golden files."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew; look at the diff")
