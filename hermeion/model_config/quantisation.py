"""In which format weights are, as ``quantization_config`` says it.

Sources: ``quantization/*.py`` of vLLM 0.33, ``quantization_config.py`` of Transformers, schemes of compressed-tensors.
"""

from __future__ import annotations

import json

from hermeion.errors import ModelError
from hermeion.model_config.values import Settings

UNQUANTISED = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
DTYPES = {"half": "float16", "float": "float32"} | {name: name for name in UNQUANTISED}

GROUP = 128
"""Weights that share a scale in the integer formats whose size is known (``precisions``)."""

BLOCK = [128, 128]


def read_dtype(*settings: Settings | None) -> str:
    """The checkpoint's number format: the first that is told.

    Engines load what does not tell it in 16 bits.

    Raises:
        ModelError: It is none that engines load.
    """
    for own in settings:
        for key in ("torch_dtype", "dtype"):
            value = own.text(key) if own else None
            if own and value:
                name = value.removeprefix("torch.")
                if name not in DTYPES:
                    raise own.error(key, f"is {value!r}, and must be one of {', '.join(UNQUANTISED)}")
                return DTYPES[name]
    return "bfloat16"


def _refused(quantisation: Settings, what: str) -> ModelError:
    return ModelError(
        f"{quantisation.where}: weights are quantised as {what}, whose size is not known. Known: fp8 (also in blocks "
        "of 128 × 128), fbgemm_fp8, modelopt FP8 and NVFP4, mxfp4, awq and gptq with 4 bits, gptq with 8 bits, "
        "compressed-tensors of these. Name a repository in one of them."
    )


def _group_is_known(weights: Settings) -> bool:
    """Whether integer weights share scales in groups of 128, or in larger ones."""
    size = weights.values.get("group_size")
    return size in (None, -1) or (isinstance(size, int) and size >= GROUP)


def _compressed_group(quantisation: Settings, weights: Settings, form: str) -> str:
    """One group of compressed-tensors: what its layers' weights are."""
    bits = weights.number("num_bits")
    kind = weights.text("type") or "int"
    strategy = weights.text("strategy") or "tensor"
    if kind == "float" and bits == 8 and strategy in ("tensor", "channel"):
        return "fp8"
    if kind == "float" and bits == 8 and strategy == "block" and weights.entries("block_structure") == BLOCK:
        return "fp8-block"
    if kind == "float" and bits == 4 and (form == "nvfp4-pack-quantized" or weights.values.get("group_size") == 16):
        return "nvfp4"
    if kind == "int" and bits == 8 and strategy in ("tensor", "channel"):
        return "int8"
    if kind == "int" and bits in (4, 8) and _group_is_known(weights):
        return "gptq" if bits == 4 else "gptq-8bit"
    told = {key: weights.values.get(key) for key in ("type", "num_bits", "strategy", "group_size", "block_structure")}
    raise _refused(quantisation, f"compressed-tensors {json.dumps({k: v for k, v in told.items() if v is not None})}")


def _compressed(quantisation: Settings, unquantised: str) -> str:
    groups = quantisation.section("config_groups")
    form = quantisation.text("format") or ""
    found = set()
    for name in groups.values if groups else ():
        group = groups.section(name) if groups else None
        weights = group.section("weights") if group else None
        if group and weights:
            found.add(_compressed_group(quantisation, weights, group.text("format") or form))
    if len(found) > 1:
        raise _refused(quantisation, f"compressed-tensors that mix {' and '.join(sorted(found))}")
    return found.pop() if found else unquantised  # only activations, or only the KV cache


def _modelopt(quantisation: Settings) -> str:
    inner = quantisation.section("quantization") or quantisation
    algorithm = inner.text("quant_algo") or ("NVFP4" if quantisation.text("quant_method") == "modelopt_fp4" else "FP8")
    if algorithm.upper() not in ("FP8", "NVFP4"):
        raise _refused(quantisation, f"modelopt {algorithm}")
    return algorithm.lower()


def _fp8(quantisation: Settings) -> str:
    block = quantisation.entries("weight_block_size")
    if block is None:
        return "fp8"
    if block != BLOCK:
        raise _refused(quantisation, f"fp8 in blocks of {' × '.join(map(str, block))}")
    return "fp8-block"


def _integer(quantisation: Settings, method: str) -> str:
    bits = quantisation.number("bits")
    known = {("awq", 4): "awq", ("gptq", 4): "gptq", ("gptq", 8): "gptq-8bit"}.get((method, bits))
    if known is None:
        raise _refused(quantisation, f"{method} with {bits} bits")
    if not _group_is_known(quantisation):
        raise _refused(quantisation, f"{method} with groups of {quantisation.values['group_size']}")
    return known


def read_precision(settings: Settings, text: Settings, dtype: str) -> tuple[str, str | None]:
    """The precision's name (a key of ``PRECISIONS``), and the quantisation method as it is written.

    Raises:
        ModelError: The method is none whose weights have a known size.
    """
    unquantised = UNQUANTISED[dtype]
    quantisation = (
        settings.section("quantization_config")
        or settings.section("compression_config")
        or text.section("quantization_config")
    )
    if quantisation is None or not quantisation.values:
        return unquantised, None
    method = quantisation.text("quant_method") or ("modelopt" if quantisation.has("quant_algo") else None)
    if method is None:
        raise quantisation.error("quant_method", "is missing, so that the weights' format is unknown")
    if method == "compressed-tensors":
        return _compressed(quantisation, unquantised), method
    if method in ("modelopt", "modelopt_fp4"):
        return _modelopt(quantisation), method
    if method == "fp8":
        return _fp8(quantisation), method
    if method == "fbgemm_fp8":
        return "fp8", method
    if method == "mxfp4":
        return "mxfp4", method
    if method in ("awq", "gptq"):
        return _integer(quantisation, method), method
    raise _refused(quantisation, method)
