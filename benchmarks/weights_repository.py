"""A repository of one's own size: random shards that a planner takes for a model, the same for the same seed."""

from __future__ import annotations

import json
import random
from pathlib import Path

HIDDEN, INTERMEDIATE, HEADS = 2048, 8192, 16
LAYER_BYTES = 2 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INTERMEDIATE + 2 * HIDDEN)
"""Of one layer of a Llama with these sizes, in 16 bits."""

BLOCK = 8 << 20


def config(size: int) -> dict[str, object]:
    """The configuration of a Llama whose weights have about ``size`` bytes: the vocabulary takes the rest."""
    layers = max(1, size * 3 // 4 // LAYER_BYTES)
    vocabulary = max(256, (size - layers * LAYER_BYTES) // (4 * HIDDEN))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "num_hidden_layers": layers,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
    }


def make_repository(folder: Path, size: int, shards: int, seed: int = 6) -> int:
    """Write it; returns the bytes of all its files.

    Args:
        size: Bytes of the weights, about.
        shards: Files that they are in.
    """
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(size), indent=1))
    (folder / "tokenizer_config.json").write_text("{}")
    stream = random.Random(seed)  # noqa: S311  # nothing is secret in it
    length = size // shards // 2 * 2
    for number in range(1, shards + 1):
        header = json.dumps({"t": {"dtype": "BF16", "shape": [length // 2], "data_offsets": [0, length]}}).encode()
        with (folder / f"model-{number:05d}-of-{shards:05d}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for start in range(0, length, BLOCK):
                file.write(stream.randbytes(min(BLOCK, length - start)))
    return sum(path.stat().st_size for path in folder.iterdir())
