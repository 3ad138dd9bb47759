"""What stands at the beginning of model files, and whether the files fit the configuration beside them."""

from __future__ import annotations

from hermeion.errors import ModelError
from hermeion.headers.gguf import GgufHeader, parse_gguf_header
from hermeion.headers.safetensors import SafetensorsHeader, parse_safetensors_header, parse_safetensors_index
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Shape
from hermeion.units import format_bytes
from hermeion.weights import published_bytes

__all__ = (
    "GgufHeader",
    "SafetensorsHeader",
    "check_bytes",
    "parse_gguf_header",
    "parse_safetensors_header",
    "parse_safetensors_index",
)

TOLERANCE = 0.12
"""Part by which files may differ from the shape: layers for several tokens at once, embeddings published twice."""

LEFT_IN_16_BITS = 0.6
"""Part by which files of a quantised model may be larger: what its exclusion list leaves in 16 bits. Meta's FP8 405B,
which leaves attention and two layers, is a fifth larger."""


def check_bytes(shape: Shape, precision: str, size: int, where: str) -> None:
    """See that the files are about as large as the configuration says.

    Args:
        precision: Format of the weights: a key of ``PRECISIONS``.
        size: All weight files together, in bytes.
        where: The model, as messages shall name it.

    Raises:
        ModelError: They differ by more than 12 %, or a quantised model's are larger by more than 60 %; the message
            shows both sides.
    """
    expected = published_bytes(shape, PRECISIONS[precision])
    more = LEFT_IN_16_BITS if PRECISIONS[precision].is_quantised else TOLERANCE
    if -TOLERANCE <= size / expected - 1 <= more:
        return
    relation = f"{abs(size / expected - 1):.0%} {'more' if size > expected else 'less'}".replace("%", " %")
    tied = "one embedding" if shape.tied_embeddings else "two embeddings"
    raise ModelError(
        f"{where}: the weight files have {format_bytes(size)}, but {shape.architecture or 'the configuration'} with "
        f"{shape.layers} layers, hidden size {shape.hidden}, {tied} and {precision} weights has "
        f"{format_bytes(expected)}: {relation}. Look for files of another model in the folder, a part that is missing, "
        "or a wrong quantization_config."
    )
