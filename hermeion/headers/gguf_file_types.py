"""Formats of a GGUF file's weights: llama.cpp's ``LLAMA_FTYPE``, by number and by name."""

from __future__ import annotations

import re

from hermeion.errors import ModelError

FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
}

PRECISIONS_BY_NAME = {
    "F32": "fp32",
    "F16": "f16",
    "BF16": "f16",  # as many bits
    "Q8_0": "q8_0",
    "Q6_K": "q6_k",
    "Q5_K_M": "q5_k_m",
    "Q4_K_M": "q4_k_m",
    "Q4_K_S": "q4_k_s",
    "Q4_0": "q4_0",
    "IQ4_XS": "iq4_xs",
    "Q3_K_M": "q3_k_m",
    "Q2_K": "q2_k",
}
"""Those whose bits per weight are known (``precisions``)."""

IN_A_NAME = re.compile(r"(?<![A-Z0-9])(I?Q\d\w*|TQ\d_0|MXFP4\w*|NVFP4|B?F16|F32)(?=[.-]|$)", re.IGNORECASE)


def file_type_name(number: int) -> str:
    """A file type as llama.cpp calls it."""
    return FILE_TYPES.get(number, f"of file type {number}")


def told_by_name(file: str) -> str | None:
    """What a file's name tells: ``Hermes-4-14B-Q4_K_M.gguf``."""
    found = IN_A_NAME.findall(file)
    return found[-1].upper() if found else None


def precision_of(name: str, where: str) -> str:
    """The precision's name: a key of ``PRECISIONS``.

    Raises:
        ModelError: Its bits per weight are not known.
    """
    if name not in PRECISIONS_BY_NAME:
        raise ModelError(
            f"{where}: weights are {name}, whose size is not known. Name a file in one of: "
            f"{', '.join(PRECISIONS_BY_NAME)}."
        )
    return PRECISIONS_BY_NAME[name]
