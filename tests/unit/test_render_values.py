"""Values in templates: what a reader finds is what the plan has."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hermeion.render import quote_compose, quote_line, quote_unit

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
"""Whatever a Python string holds that can be written as UTF-8."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", '"plain"'),
        ("$x", '"$$x"'),
        ('a"b\\c\n', '"a\\"b\\\\c\\n"'),
        (True, "true"),
        (8, "8"),
        ("{{ x }}", '"{{ x }}"'),
        ("é😀", '"é😀"'),
        ("\u2028\x7f\ufeff", '"\\u2028\\u007f\\ufeff"'),
        (["a", "$"], '["a", "$$"]'),
    ],
)
def test_quote_compose(value: object, text: str) -> None:
    """A value is a YAML scalar, and Compose's variables are quoted."""
    assert text == quote_compose(value)


@given(TEXT)
def test_yaml_reads_what_was_quoted(value: str) -> None:
    """Every text is the same to a YAML reader, its dollars doubled."""
    assert value.replace("$", "$$") == yaml.safe_load(f"key: {quote_compose(value)}\n")["key"]


@pytest.mark.parametrize(
    ("value", "text"),
    [("100 %", "100 %%"), ("%n%i", "%%n%%i"), ("plain", "plain"), ("a\nUser=root\r\u2028b", "a User=root b")],
)
def test_quote_unit(value: str, text: str) -> None:
    """systemd's specifiers are quoted, and no value begins a line of its own."""
    assert text == quote_unit(value)


@given(TEXT)
def test_a_comment_stays_one(value: str) -> None:
    """No text in a comment ends it."""
    assert 1 == len(f"# {quote_line(value)}.".splitlines())
