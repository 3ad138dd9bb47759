"""What stands at the beginning of a safetensors file, and in the index of several.

Source: the format's description, github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from typing import Any

from hermeion.errors import ModelError
from hermeion.records import Record

LENGTH_BYTES = 8
MOST_HEADER = 100_000_000
"""The format's own limit on a header, in bytes."""

BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}


class SafetensorsHeader(Record):
    """What a file's header says of its tensors.

    Attributes:
        tensors: How many.
        bytes: All of them together.
        by_dtype: Bytes of each number format.
        header_bytes: Where the tensors begin.
    """

    tensors: int
    bytes: int
    by_dtype: dict[str, int]
    header_bytes: int


def _length(data: bytes, where: str) -> int:
    """Bytes of the whole header, its length included."""
    if len(data) < LENGTH_BYTES:
        raise ModelError(
            f"{where}: a safetensors file begins with {LENGTH_BYTES} bytes that tell its header's length, but only "
            f"{len(data)} were read. Read at least {LENGTH_BYTES} bytes of the file."
        )
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    if not 2 <= length <= MOST_HEADER:
        raise ModelError(
            f"{where} is not a safetensors file: its header would have {length} bytes, and may have from 2 to "
            f"{MOST_HEADER}. It begins with {data[:16]!r}. Pull it again."
        )
    whole = LENGTH_BYTES + length
    if len(data) < whole:
        raise ModelError(
            f"{where}: the header has {whole} bytes, but only {len(data)} were read. "
            f"Read at least {whole} bytes of the file."
        )
    return whole


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor(name: str, entry: Any, where: str) -> tuple[str, int, int]:
    """One tensor's number format and where it begins and ends."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        shape = None
        dtype, begin, end = "", 0, 0
    if not isinstance(shape, list) or not all(map(_is_size, [*shape, begin, end])):
        raise ModelError(
            f"{where}: the tensor {name} has no readable dtype, shape and data_offsets: {entry!r:.120}. Pull it again."
        )
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ModelError(f"{where}: the tensor {name} has the dtype {dtype!r}, which is not known. Pull it again.")
    wanted = (prod(shape) * BITS[dtype] + 7) // 8
    if end - begin != wanted:
        raise ModelError(
            f"{where}: the tensor {name} has {end - begin} bytes, but {dtype} × {shape} takes {wanted}. Pull it again."
        )
    return dtype, begin, end


def parse_safetensors_header(data: bytes, where: str, size: int | None = None) -> SafetensorsHeader:
    """Read the beginning of a file.

    Args:
        data: The file's first bytes.
        where: The file, as messages shall name it.
        size: Bytes of the whole file, where they are known; they are compared.

    Raises:
        ModelError: More bytes are needed (the message tells how many), or the header is broken or contradicts itself or
            the file's size.
    """
    whole = _length(data, where)
    try:
        entries = json.loads(data[LENGTH_BYTES:whole])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: the header is not JSON: {error}. Pull the file again.") from error
    if not isinstance(entries, dict):
        raise ModelError(f"{where}: the header is not a JSON object. Pull the file again.")
    by_dtype: Counter[str] = Counter()
    spans = []
    for name, entry in entries.items():
        if name != "__metadata__":
            dtype, begin, end = _tensor(name, entry, where)
            by_dtype[dtype] += end - begin
            spans.append((begin, end))
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise ModelError(
                f"{where}: tensors leave a hole or overlap: one ends at byte {reached} and the next begins at byte "
                f"{begin}. Pull the file again."
            )
        reached = end
    if size is not None and size != whole + reached:
        raise ModelError(f"{where} has {size} bytes, but its header describes {whole + reached}. Pull the file again.")
    return SafetensorsHeader(tensors=len(spans), bytes=reached, by_dtype=dict(by_dtype), header_bytes=whole)


def parse_safetensors_index(text: str, where: str) -> int:
    """Bytes of all tensors, as ``model.safetensors.index.json`` tells them.

    Raises:
        ModelError: The file is not JSON, or tells no size.
    """
    try:
        index = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is not JSON: {error}. Pull the file again.") from error
    metadata = index.get("metadata") if isinstance(index, dict) else None
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():  # some tools write 14483464192.0
        total = int(total)
    if not _is_size(total) or not isinstance(total, int) or not total:
        raise ModelError(
            f"{where}: metadata.total_size is {json.dumps(total)}, and must be the tensors' size in bytes. "
            "Pull the file again, or name a repository whose index tells it."
        )
    return total
