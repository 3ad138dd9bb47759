"""How far a GGUF file is read, and what is no GGUF file."""

from __future__ import annotations

import struct

import pytest

from hermeion.errors import ModelError
from hermeion.headers import parse_gguf_header
from tests.unit.gguf_files import LLAMA, WHERE, error_of, gguf, text


@pytest.mark.parametrize("version", [2, 3])
def test_versions(version: int) -> None:
    """Versions 2 and 3 differ in nothing that is read."""
    data = gguf(LLAMA)

    assert 32 == parse_gguf_header(data[:4] + struct.pack("<I", version) + data[8:], WHERE).shape.layers


def test_value_types() -> None:
    """Every type of value is passed, nested arrays too."""
    scalars = {
        f"x.{kind}": struct.pack("<I", kind) + struct.pack(form, 1)
        for kind, form in {
            0: "<B",
            1: "<b",
            2: "<H",
            3: "<h",
            5: "<i",
            6: "<f",
            7: "<?",
            10: "<Q",
            11: "<q",
            12: "<d",
        }.items()
    }
    nested = struct.pack("<IIQ", 9, 9, 2) + struct.pack("<IQBB", 0, 2, 1, 2) + struct.pack("<IQ", 8, 1) + text("x")
    long = struct.pack("<IIQ", 9, 6, 2000) + b"\0" * 8000

    assert 32 == parse_gguf_header(gguf(scalars | {"x.nested": nested, "x.long": long} | LLAMA), WHERE).shape.layers


@pytest.mark.parametrize(("share", "template", "parts"), [(1.0, True, 3), (0.5, None, None)])
def test_what_was_not_reached(share: float, template: bool | None, parts: int | None) -> None:
    """A beginning that has the shape is enough; what stands behind it is unknown, not absent."""
    data = gguf(LLAMA | {"split.count": 3})
    header = parse_gguf_header(data[: int(len(data) * share)], WHERE)

    assert (template, parts, 500) == (header.chat_template, header.split_count, header.shape.vocab)


@pytest.mark.parametrize("read", range(0, 600, 7))
def test_every_beginning(read: int) -> None:
    """A beginning is enough, or it tells how many more bytes to read: never less than it has."""
    data = gguf(LLAMA)
    try:
        assert 32 == parse_gguf_header(data[:read], WHERE).shape.layers
    except ModelError as error:
        assert int(str(error).rpartition("Read ")[2].split(" ")[0]) > read


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (3, "the first 3 bytes end before general.architecture. Read 6 bytes of the file, or more."),
        (60, "the first 60 bytes end before general.architecture. Read 120 bytes of the file, or more."),
        (200, "the first 200 bytes end before tokenizer.ggml.model. Read 400 bytes of the file, or more."),
    ],
)
def test_more_bytes_are_needed(read: int, message: str) -> None:
    """A beginning that is too short tells what it lacks and how much to read."""
    data = gguf({"x": "y" * 20} | LLAMA)

    assert f"{WHERE}: {message}" == error_of(data[:read])


def test_file_type_behind_the_vocabulary() -> None:
    """A long list is told by what at least is still to come: 8 bytes of each text."""
    late = {"tokenizer.ggml.merges": ["x"] * 10_000, "general.file_type": 15}
    short = {"tokenizer.ggml.tokens": ["x"], "tokenizer.ggml.token_type": [1]}
    data = gguf({key: value for key, value in (LLAMA | short).items() if key not in late} | late)

    assert (
        f"{WHERE}: the first 1000 bytes end before general.file_type. Read 80673 bytes of the file, or more."
        == error_of(data[:1000])
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1",
            " is not a GGUF file: it begins with b'version https://'. Pull it again.",
        ),
        (
            b"GGUF" + struct.pack("<I", 1),
            " is a GGUF file of version 1; little-endian ones of versions 2 and 3 are read. "
            "Convert the model with a current llama.cpp.",
        ),
        (
            b"GGUF" + struct.pack(">I", 3),
            " is a GGUF file big-endian; little-endian ones of versions 2 and 3 are read. "
            "Convert the model with a current llama.cpp.",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1),
            ": broken at byte 16: 1152921504606846976 tensors, and there may be up to 1000000. Pull the file again.",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 60),
            ": broken at byte 24: 1152921504606846976 entries of metadata, and there may be up to 100000. "
            "Pull the file again.",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1 << 40),
            ": broken at byte 32: 1099511627776 bytes of text, and there may be up to 1073741824. Pull the file again.",
        ),
        (
            gguf({"x": struct.pack("<I", 13)}),
            ": broken at byte 37: x has the unknown type 13. Pull the file again.",
        ),
        (
            gguf({"x": struct.pack("<IIQ", 9, 77, 1)}),
            ": broken at byte 49: an array of the unknown type 77. Pull the file again.",
        ),
        (
            gguf({"x": struct.pack("<IIQ", 9, 8, 1 << 40)}),
            ": broken at byte 49: 1099511627776 elements of an array, and there may be up to 1073741824. "
            "Pull the file again.",
        ),
    ],
)
def test_broken_files(data: bytes, message: str) -> None:
    """What is no GGUF file, or a broken one, is refused with the place of the fault."""
    assert WHERE + message == error_of(data)
