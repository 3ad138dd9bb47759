"""GGUF files as bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hermeion.errors import ModelError
from hermeion.headers import GgufHeader, parse_gguf_header

WHERE = "model.gguf"
FORMS = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}

LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Hermes 3",
    "llama.block_count": 32,
    "llama.context_length": 131072,
    "llama.embedding_length": 4096,
    "llama.feed_forward_length": 14336,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.rope.freq_base": 500000.0,
    "general.file_type": 15,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": [f"token{number}" for number in range(500)],
    "tokenizer.ggml.token_type": [1] * 500,
    "tokenizer.chat_template": "{{ messages }}",
}


def text(value: str) -> bytes:
    """A string: length and bytes."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value_of(value: Any) -> bytes:
    """A value with its type in front."""
    if isinstance(value, bytes):  # as it is
        return value
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        kind = 8 if isinstance(value[0], str) else FORMS[type(value[0])][0]
        inner = b"".join(text(one) if kind == 8 else struct.pack(FORMS[type(one)][1], one) for one in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + inner
    kind, form = FORMS[type(value)]
    return struct.pack("<I", kind) + struct.pack(form, value)


def gguf(metadata: dict[str, Any], tensors: tuple[str, ...] = ("token_embd.weight", "output.weight")) -> bytes:
    """The beginning of a file."""
    pairs = b"".join(text(key) + value_of(value) for key, value in metadata.items())
    infos = b"".join(text(name) + struct.pack("<IQQIQ", 2, 4096, 500, 0, 0) for name in tensors)
    return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + pairs + infos


def parsed(changes: dict[str, Any] | None = None, *left_out: str, file: str = "") -> GgufHeader:
    """A Llama, changed."""
    metadata = {key: value for key, value in (LLAMA | (changes or {})).items() if key not in left_out}
    return parse_gguf_header(gguf(metadata), WHERE, file)


def error_of(data: bytes, file: str = "") -> str:
    """The message of a file that is refused."""
    with pytest.raises(ModelError) as caught:
        parse_gguf_header(data, WHERE, file)
    return str(caught.value)


def renamed(architecture: str, **own: Any) -> dict[str, Any]:
    """The metadata of another architecture; underscores of ``own`` are dots."""
    metadata = {key.replace("llama.", f"{architecture}."): value for key, value in LLAMA.items()}
    return (
        metadata
        | {"general.architecture": architecture}
        | {f"{architecture}.{key.replace('__', '.')}": value for key, value in own.items()}
    )
