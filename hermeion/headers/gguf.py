"""What a GGUF file says of its model: the shape, and the format of its weights.

Keys are those of llama.cpp (``gguf-py/gguf/constants.py``); they are put into the words of ``config.json``, so that the
same rules apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hermeion.errors import ModelError
from hermeion.headers.gguf_file_types import file_type_name, precision_of, told_by_name
from hermeion.headers.gguf_metadata import Array, Metadata, read_metadata
from hermeion.model_config.decoder import decoder_shape
from hermeion.model_config.families import FAMILIES
from hermeion.model_config.family import Family
from hermeion.model_config.values import Settings
from hermeion.records import Record
from hermeion.shapes import Shape

ARCHITECTURES: Mapping[str, str] = {
    "cohere2": "cohere2",
    "command-r": "cohere",
    "deepseek2": "deepseek_v3",
    "exaone4": "exaone4",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "glm4": "glm4",
    "glm4moe": "glm4_moe",
    "gpt-oss": "gpt_oss",
    "granite": "granite",
    "granitemoe": "granitemoe",
    "llama": "llama",
    "mistral": "mistral",
    "mistral3": "ministral3",
    "mixtral": "mixtral",
    "olmo2": "olmo2",
    "olmoe": "olmoe",
    "phi2": "phi",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen2moe": "qwen2_moe",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "seed_oss": "seed_oss",
    "smollm3": "smollm3",
    "starcoder2": "starcoder2",
}
"""llama.cpp's name of an architecture, and the kind of configuration that it is."""

NEEDED = ("block_count", "embedding_length", "attention.head_count", "context_length")


class GgufHeader(Record):
    """What planning takes from a GGUF file.

    Attributes:
        precision: Format of the weights: a key of ``PRECISIONS``.
        chat_template: Whether it has one; ``None`` if the bytes at hand did not go so far.
        split_count: Files that the model consists of; ``None`` if the bytes at hand did not go so far.
    """

    architecture: str
    precision: str
    shape: Shape
    chat_template: bool | None
    split_count: int | None


class _Keys:
    """The metadata by key, with what to say where one is missing."""

    def __init__(self, metadata: Metadata, where: str, read: int) -> None:
        self._metadata = metadata
        self._where = where
        self._read = read
        self.architecture = str(self.needed("general.architecture"))

    def missing(self, key: str) -> ModelError:
        if self._metadata.needed is not None:
            return ModelError(
                f"{self._where}: the first {self._read} bytes end before {key}. "
                f"Read {max(self._metadata.needed, 2 * self._read)} bytes of the file, or more."
            )
        return ModelError(f"{self._where}: {key} is missing. Convert the model with a current llama.cpp.")

    def needed(self, key: str) -> Any:
        value = self._metadata.values.get(key)
        if value is None:
            raise self.missing(key)
        return value

    def number(self, key: str) -> Any:
        """A value of the model's own; of one for each layer, the largest."""
        value = self._metadata.values.get(f"{self.architecture}.{key}")
        if isinstance(value, Array):
            return max(value.numbers, default=None)
        return value

    def vocabulary(self) -> int:
        """Tokens, which llama.cpp may count without telling their number."""
        told = self.number("vocab_size")
        if isinstance(told, int):
            return told
        tokens = self.needed("tokenizer.ggml.tokens")
        return tokens.length if isinstance(tokens, Array) else 0

    def window_pattern(self) -> list[str] | None:
        """Which layers slide, where the file tells it layer by layer."""
        told = self._metadata.values.get(f"{self.architecture}.attention.sliding_window_pattern")
        if not isinstance(told, Array) or len(told.numbers) != told.length:
            return None
        return ["sliding_attention" if slides else "full_attention" for slides in told.numbers]


def _latent(keys: _Keys) -> dict[str, Any]:
    """DeepSeek's attention: newer files tell lengths of a compressed head, and those of a whole one as ``_mla``."""
    rope = keys.number("rope.dimension_count")
    key = keys.number("attention.key_length_mla") or keys.number("attention.key_length")
    return {
        "kv_lora_rank": keys.number("attention.kv_lora_rank"),
        "q_lora_rank": keys.number("attention.q_lora_rank"),
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": key - rope if isinstance(key, int) and isinstance(rope, int) else None,
        "v_head_dim": keys.number("attention.value_length_mla") or keys.number("attention.value_length"),
    }


def _settings(keys: _Keys, family: Family, where: str) -> Settings:
    """The metadata in the words of ``config.json``."""
    for key in NEEDED:
        keys.needed(f"{keys.architecture}.{key}")
    expert_size = keys.number("expert_feed_forward_length")
    values: dict[str, Any] = {
        "num_hidden_layers": keys.number("block_count"),
        "hidden_size": keys.number("embedding_length"),
        "intermediate_size": keys.number("feed_forward_length") or expert_size,
        "num_attention_heads": keys.number("attention.head_count"),
        "num_key_value_heads": keys.number("attention.head_count_kv"),
        "head_dim": keys.number("attention.key_length"),
        "max_position_embeddings": keys.number("context_length"),
        "vocab_size": keys.vocabulary(),
        "num_experts_per_tok": keys.number("expert_used_count"),
        "moe_intermediate_size": expert_size,
        "shared_expert_intermediate_size": keys.number("expert_shared_feed_forward_length"),
        "n_shared_experts": keys.number("expert_shared_count"),
        "first_k_dense_replace": keys.number("leading_dense_block_count") or 0,
    }
    if family.mixture:
        values[family.mixture.count] = keys.number("expert_count")
    if family.latent:
        values |= _latent(keys)
    window = keys.number("attention.sliding_window")
    if window:
        values["sliding_window"] = window
    pattern = keys.window_pattern()
    if pattern:
        values["layer_types"] = pattern
    return Settings(where=where, values=values).with_defaults(family.defaults)


def _precision(metadata: Metadata, keys: _Keys, where: str, file: str) -> str:
    """llama.cpp writes the file type behind the vocabulary; where that was not reached the file's name tells it."""
    number = metadata.values.get("general.file_type")
    name = file_type_name(number) if isinstance(number, int) else told_by_name(file)
    if name is None:
        raise keys.missing("general.file_type")
    return precision_of(name, where)


def _is_tied(metadata: Metadata, split_count: int | None, family: Family) -> bool:
    """Whether there is no output matrix. A part of a split model does not tell what the others have."""
    if metadata.tensors is not None and ("output.weight" in metadata.tensors or split_count == 1):
        return "output.weight" not in metadata.tensors
    return bool(family.defaults.get("tie_word_embeddings", False))


def parse_gguf_header(data: bytes, where: str, file: str = "") -> GgufHeader:
    """Read the beginning of a file. A MiB is enough for the shape; the file type may stand 10 MiB further.

    Args:
        data: The file's first bytes.
        where: The file, as messages shall name it.
        file: Its name: tells the format of the weights where the bytes at hand do not.

    Raises:
        ModelError: More bytes are needed (the message tells how many), it is no GGUF file or broken, or its
            architecture or its format of weights is not known.
    """
    metadata = read_metadata(data, where)
    keys = _Keys(metadata, where, len(data))
    kind = ARCHITECTURES.get(keys.architecture)
    if kind is None:
        raise ModelError(
            f"{where}: the architecture {keys.architecture} is not known. Name a model of one of: "
            f"{', '.join(ARCHITECTURES)}."
        )
    if metadata.needed is not None and not any(key.startswith("tokenizer.") for key in metadata.values):
        raise keys.missing("tokenizer.ggml.model")  # the model's own keys stand before the vocabulary's
    experts = keys.number("expert_count")
    family = FAMILIES["mixtral" if kind == "llama" and experts else kind]
    complete = metadata.needed is None
    split = metadata.values.get("split.count")
    split_count = split if isinstance(split, int) else (1 if complete else None)
    template = any(key.startswith("tokenizer.chat_template") for key in metadata.values)
    shape = decoder_shape(_settings(keys, family, where), family)
    return GgufHeader(
        architecture=keys.architecture,
        precision=_precision(metadata, keys, where, file),
        # llama.cpp computes rotations as it goes and keeps no cache of them.
        shape=shape.model_copy(
            update={
                "architecture": keys.architecture,
                "tied_embeddings": _is_tied(metadata, split_count, family),
                "rotary_positions": 0,
            }
        ),
        chat_template=True if template else (False if complete else None),
        split_count=split_count,
    )
