"""What stands at the beginning of a safetensors file, and whether files fit their configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hermeion.errors import ModelError
from hermeion.headers import check_bytes, parse_safetensors_header, parse_safetensors_index
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Shape
from hermeion.weights import published_bytes

WHERE = "model.safetensors"
TENSORS: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
    "b": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [64, 80]},
    "c": {"dtype": "F32", "shape": [], "data_offsets": [80, 84]},
    "d": {"dtype": "F4", "shape": [3, 2], "data_offsets": [84, 87]},
}


def header(tensors: object) -> bytes:
    """The beginning of a file."""
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def error_of(data: bytes, size: int | None = None) -> str:
    """The message of a file that is refused."""
    with pytest.raises(ModelError) as caught:
        parse_safetensors_header(data, WHERE, size)
    return str(caught.value)


def test_header() -> None:
    """Bytes are added up by number format; metadata are no tensor."""
    data = header(TENSORS)
    found = parse_safetensors_header(data + b"\0" * 100, WHERE, len(data) + 87)

    assert {
        "tensors": 4,
        "bytes": 87,
        "by_dtype": {"BF16": 64, "F8_E4M3": 16, "F32": 4, "F4": 3},
        "header_bytes": len(data),
    } == found.to_json()


def test_tensors_in_any_order() -> None:
    """The order of the header is not that of the data."""
    assert 87 == parse_safetensors_header(header(dict(reversed(TENSORS.items()))), WHERE).bytes


def test_no_tensors() -> None:
    """A file without tensors has none."""
    assert (0, 0) == ((found := parse_safetensors_header(header({}), WHERE)).tensors, found.bytes)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            0,
            "a safetensors file begins with 8 bytes that tell its header's length, but only 0 were read. "
            "Read at least 8 bytes of the file.",
        ),
        (
            7,
            "a safetensors file begins with 8 bytes that tell its header's length, but only 7 were read. "
            "Read at least 8 bytes of the file.",
        ),
        (8, "the header has 269 bytes, but only 8 were read. Read at least 269 bytes of the file."),
        (268, "the header has 269 bytes, but only 268 were read. Read at least 269 bytes of the file."),
    ],
)
def test_more_bytes_are_needed(read: int, message: str) -> None:
    """A beginning that is too short tells how much is needed."""
    text = json.dumps({"a": TENSORS["a"]}).encode().ljust(261)

    assert f"{WHERE}: {message}" == error_of(((261).to_bytes(8, "little") + text)[:read])


@pytest.mark.parametrize(
    ("data", "length", "shown"),
    [
        (b"version https://git-lfs", 2336927755350992246, b"version https://"),
        (b"\x01" + b"\0" * 20, 1, b"\x01" + b"\0" * 15),
        ((100_000_001).to_bytes(8, "little"), 100_000_001, b"\x01\xe1\xf5\x05\0\0\0\0"),
    ],
)
def test_absurd_length(data: bytes, length: int, shown: bytes) -> None:
    """A pointer of Git LFS, or a page, is not taken for a header of gigabytes."""
    expected = (
        f"{WHERE} is not a safetensors file: its header would have {length} bytes, and may have from 2 to 100000000. "
        f"It begins with {shown!r}. Pull it again."
    )

    assert expected == error_of(data)


def test_header_is_not_json() -> None:
    """A broken header is told with the place of the fault."""
    expected = (
        f"{WHERE}: the header is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 "
        "(char 1). Pull the file again."
    )

    assert expected == error_of((4).to_bytes(8, "little") + b"{a:}")
    assert f"{WHERE}: the header is not a JSON object. Pull the file again." == error_of(header([]))


UNREADABLE = "has no readable dtype, shape and data_offsets"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (7, f"the tensor a {UNREADABLE}: 7."),
        ({"dtype": "F32", "shape": [1]}, f"the tensor a {UNREADABLE}: {{'dtype': 'F32', 'shape': [1]}}."),
        (
            {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
            f"the tensor a {UNREADABLE}: {{'dtype': 'F32', 'shape': [-1], 'data_offsets': [0, 4]}}.",
        ),
        (
            {"dtype": "F32", "shape": [1], "data_offsets": [0]},
            f"the tensor a {UNREADABLE}: {{'dtype': 'F32', 'shape': [1], 'data_offsets': [0]}}.",
        ),
        (
            {"dtype": "F128", "shape": [1], "data_offsets": [0, 16]},
            "the tensor a has the dtype 'F128', which is not known.",
        ),
        (
            {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 16]},
            "the tensor a has the dtype ['F32'], which is not known.",
        ),
        (
            {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 32]},
            "the tensor a has 32 bytes, but BF16 × [4, 8] takes 64.",
        ),
        (
            {"dtype": "BF16", "shape": [4, 8], "data_offsets": [64, 0]},
            "the tensor a has -64 bytes, but BF16 × [4, 8] takes 64.",
        ),
    ],
)
def test_contradicting_tensors(entry: object, message: str) -> None:
    """A tensor whose bytes are not those of its dtype and shape is named."""
    assert f"{WHERE}: {message} Pull it again." == error_of(header({"a": entry}))


@pytest.mark.parametrize("begin", [4, 12])
def test_holes_and_overlaps(begin: int) -> None:
    """Tensors lie one behind the other."""
    tensors = {
        "a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        "b": {"dtype": "F64", "shape": [1], "data_offsets": [begin, begin + 8]},
    }
    expected = (
        f"{WHERE}: tensors leave a hole or overlap: one ends at byte 8 and the next begins at byte {begin}. "
        "Pull the file again."
    )

    assert expected == error_of(header(tensors))


def test_file_that_was_cut_short() -> None:
    """A file's size is compared with what its header describes."""
    data = header(TENSORS)

    assert f"{WHERE} has 200 bytes, but its header describes {len(data) + 87}. Pull the file again." == error_of(
        data, 200
    )


@pytest.mark.parametrize(("total", "expected"), [(16060522496, 16060522496), (1.5e10, 15000000000)])
def test_index(total: float, expected: int) -> None:
    """The index of several files tells the size of all tensors."""
    assert expected == parse_safetensors_index(json.dumps({"metadata": {"total_size": total}, "weight_map": {}}), WHERE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", f"{WHERE} is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). "),
        ("[]", f"{WHERE}: metadata.total_size is null, and must be the tensors' size in bytes. "),
        ("{}", f"{WHERE}: metadata.total_size is null, and must be the tensors' size in bytes. "),
        (
            '{"metadata": {"total_size": -1}}',
            f"{WHERE}: metadata.total_size is -1, and must be the tensors' size in bytes. ",
        ),
        (
            '{"metadata": {"total_size": "1"}}',
            f'{WHERE}: metadata.total_size is "1", and must be the tensors\' size in bytes. ',
        ),
    ],
)
def test_broken_index(text: str, message: str) -> None:
    """An index that tells no size is refused."""
    next_step = (
        "Pull the file again."
        if "JSON" in message
        else "Pull the file again, or name a repository whose index tells it."
    )
    with pytest.raises(ModelError) as caught:
        parse_safetensors_index(text, WHERE)

    assert message + next_step == str(caught.value)


SHAPE = Shape(
    architecture="LlamaForCausalLM",
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocab=128256,
    max_context=131072,
)
BYTES = published_bytes(SHAPE, PRECISIONS["bf16"])


@pytest.mark.parametrize("share", [0.89, 1.0, 1.11])
def test_files_that_fit(share: float) -> None:
    """Files may be 12 % smaller or larger than the configuration says."""
    check_bytes(SHAPE, "bf16", int(BYTES * share), "org/name")


def test_quantised_files_may_be_larger() -> None:
    """What an exclusion list leaves in 16 bits is larger: Meta's FP8 405B by a fifth."""
    check_bytes(SHAPE, "fp8", int(1.2 * published_bytes(SHAPE, PRECISIONS["fp8"])), "org/name")


@pytest.mark.parametrize(
    ("precision", "size", "message"),
    [
        ("bf16", BYTES // 2, "have 7.5 GiB, but {} and bf16 weights has 15.0 GiB: 50 % less."),
        ("fp8", BYTES, "have 15.0 GiB, but {} and fp8 weights has 8.5 GiB: 77 % more."),
        ("bf16", int(1.2 * BYTES), "have 17.9 GiB, but {} and bf16 weights has 15.0 GiB: 20 % more."),
        ("bf16", 0, "have 0 bytes, but {} and bf16 weights has 15.0 GiB: 100 % less."),
    ],
)
def test_files_that_do_not_fit(precision: str, size: int, message: str) -> None:
    """Files of another size are refused with both sides, and where to look."""
    with pytest.raises(ModelError) as caught:
        check_bytes(SHAPE, precision, size, "org/name")
    described = "LlamaForCausalLM with 32 layers, hidden size 4096, two embeddings"

    assert (
        f"org/name: the weight files {message.format(described)} Look for files of another model in the folder, a part "
        "that is missing, or a wrong quantization_config."
    ) == str(caught.value)
