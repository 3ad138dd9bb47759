"""How many bytes a weight takes in each format that weights are published in.

Sizes of a weight's element follow from the formats themselves; bits per weight of GGUF mixtures are those of published
files (bytes of bartowski's Hermes-3-Llama-3.1-8B and -70B files over their parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hermeion.records import Record

Container = Literal["safetensors", "gguf"]


class Precision(Record):
    """A format of weights.

    Attributes:
        name: As variants are called: ``fp8``, ``q4_k_m``.
        element: Bytes of one weight of a linear layer.
        group: Weights that share a scale, or 0: none, or one per output channel.
        group_bytes: Bytes of scale and zero point of a group.
        channel_bytes: Bytes of the scale of an output channel.
        experts_only: Whether only experts are in this format and everything else has 16 bits.
        bits: Bits per weight, scales included: orders variants from most to least precise.
    """

    name: str
    container: Container = "safetensors"
    element: float
    group: int = 0
    group_bytes: float = 0.0
    channel_bytes: int = 0
    experts_only: bool = False
    bits: float

    @property
    def is_quantised(self) -> bool:
        """Whether linear layers have fewer than 16 bits."""
        return self.bits < 16


def _gguf(name: str, bits: float) -> Precision:
    return Precision(name=name, container="gguf", element=bits / 8, bits=bits)


PRECISIONS: Mapping[str, Precision] = {
    precision.name: precision
    for precision in (
        Precision(name="fp32", element=4, bits=32),
        Precision(name="bf16", element=2, bits=16),
        Precision(name="fp16", element=2, bits=16),
        Precision(name="fp8", element=1, channel_bytes=4, bits=8.01),
        Precision(name="fp8-block", element=1, group=128 * 128, group_bytes=4, bits=8.002),
        Precision(name="int8", element=1, channel_bytes=4, bits=8.005),
        Precision(name="gptq-8bit", element=1, group=128, group_bytes=3, bits=8.19),
        Precision(name="nvfp4", element=0.5, group=16, group_bytes=1, bits=4.5),
        Precision(name="mxfp4", element=0.5, group=32, group_bytes=1, experts_only=True, bits=4.25),
        Precision(name="awq", element=0.5, group=128, group_bytes=2.5, bits=4.16),
        Precision(name="gptq", element=0.5, group=128, group_bytes=2.5, bits=4.155),
        _gguf("f16", 16.0),
        _gguf("q8_0", 8.5),
        _gguf("q6_k", 6.57),
        _gguf("q5_k_m", 5.69),
        _gguf("q4_k_m", 4.85),
        _gguf("q4_k_s", 4.62),
        _gguf("q4_0", 4.61),
        _gguf("iq4_xs", 4.38),
        _gguf("q3_k_m", 3.95),
        _gguf("q2_k", 3.08),
    )
}
