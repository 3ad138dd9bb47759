# mypy: ignore-errors
# Its imports exist in the engine image only.
"""Write the tiny model as GGUF files. Runs in the engine image, with the ``gguf`` package beside it.

``python3 convert.py MODEL OUT``: reads the folder that ``train.py`` wrote, writes the same model in
two precisions. The keys are those that llama.cpp's ``convert_hf_to_gguf.py`` writes for a Llama with a
byte-level BPE vocabulary; that program is not on the package index.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from content import FILES, NAME, read_vocabulary

KINDS = {
    "F16": (gguf.LlamaFileType.MOSTLY_F16, gguf.GGMLQuantizationType.F16),
    "Q8_0": (gguf.LlamaFileType.MOSTLY_Q8_0, gguf.GGMLQuantizationType.Q8_0),
}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name, in single precision. numpy has no bfloat16: it is the upper half of a float32."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            sys.exit(f"{name} is {entry['dtype']}, and BF16 is what the lab trains")
        first, end = entry["data_offsets"]
        halves = np.frombuffer(data[8 + length + first : 8 + length + end], dtype="<u2")
        tensors[name] = (halves.astype("<u4") << 16).view("<f4").reshape(entry["shape"])
    return tensors


def interleave(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection as llama.cpp rotates them: pairs side by side, not in two halves."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def name_tensors(tensors: dict[str, np.ndarray], config: dict[str, Any]) -> dict[str, np.ndarray]:
    """The tensors under llama.cpp's names and in its order of rows."""
    layers = config["num_hidden_layers"]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    found = {}
    for name, tensor in tensors.items():
        wanted = names.get_name(name, try_suffixes=(".weight",))
        if wanted is None:
            sys.exit(f"llama.cpp has no name for {name}")
        count = heads.get(name.split(".")[-2])
        found[wanted] = interleave(tensor, count) if count else tensor
    return found


def describe(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    """Everything but the tensors."""
    writer.add_type("model")
    writer.add_name(NAME)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = read_vocabulary(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")  # ByteLevel's own pattern is GPT-2's
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def write(folder: Path, out: Path) -> None:
    """Both files. Norms stay in single precision, as llama.cpp wants them."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = name_tensors(read_safetensors(folder / "model.safetensors"), config)
    for precision, (file_type, kind) in KINDS.items():
        writer = gguf.GGUFWriter(out / FILES[precision], "llama")
        describe(writer, folder, config)
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for name, tensor in tensors.items():
            if tensor.ndim == 1:
                writer.add_tensor(name, tensor)
            else:
                writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
