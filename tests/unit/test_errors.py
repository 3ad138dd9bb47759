"""The tree of errors."""

from __future__ import annotations

import re

import pytest

from hermeion import errors
from hermeion.errors import HermeionError


def documented() -> dict[str, int]:
    """Names and exit codes from the tree in the module's docstring."""
    found = re.findall(r"^ *(?:[├└]── )?(\w+Error) +(\d+)", errors.__doc__ or "", re.MULTILINE)
    return {name: int(code) for name, code in found}


def subclasses(of: type[HermeionError]) -> list[type[HermeionError]]:
    """Every subclass of ours, at any depth."""
    return [cls for child in of.__subclasses__() for cls in (child, *subclasses(child))]


def test_documented_tree() -> None:
    """The tree in the docstring is the tree of the classes, exit codes included."""
    classes: list[type[HermeionError]] = [HermeionError, *subclasses(HermeionError)]

    assert documented() == {cls.__name__: cls.exit_code for cls in classes}


def test_exit_codes_differ() -> None:
    """Every kind of error has an exit code of its own."""
    codes = [cls.exit_code for cls in subclasses(HermeionError)]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("cls", subclasses(HermeionError))
def test_errors_live_in_one_module(cls: type[HermeionError]) -> None:
    """An error is defined where it is documented."""
    assert errors.__name__ == cls.__module__
