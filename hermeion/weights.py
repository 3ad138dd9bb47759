"""Bytes of a model's weights on each GPU, matrix by matrix.

The matrices are those of the published architectures; how they are split follows vLLM's and SGLang's layers (both from
Megatron): by output (query, key, value, gate, up, vocabulary), by input (attention output, down), or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

from hermeion.precisions import PRECISIONS, Precision
from hermeion.records import Record
from hermeion.shapes import Shape

VOCAB_BLOCK = 64
"""The vocabulary is padded to a multiple of this (``vocab_parallel_embedding.py``)."""

MXFP4_INTERMEDIATE_BLOCK = 128
MXFP4_HIDDEN_BLOCK = 256
"""Kernels for MXFP4 experts pad their matrices (``quantization/mxfp4.py``); gpt-oss-20b takes 7.01 GiB on each of 2."""


class Matrix(NamedTuple):
    """One linear layer: ``outputs × inputs`` elements.

    ``split``: how tensor parallelism shares it; ``kv`` is split by KV heads, and replicated beyond their number.
    """

    name: str
    inputs: int
    outputs: int
    split: Literal["outputs", "inputs", "kv", "none"]
    copies: int = 1
    quantised: bool = True
    bias: bool = False


class WeightBytes(Record):
    """Weights on one GPU, in bytes.

    Attributes:
        weights: Elements of the linear layers, embeddings, norms, biases, towers.
        scales: Scales and zero points of quantised weights.
        rotary: Cache of the rotary embedding's sines and cosines.
    """

    weights: int
    scales: int
    rotary: int

    @property
    def total(self) -> int:
        """All of it: what vLLM prints as `Model loading took`."""
        return self.weights + self.scales + self.rotary


def _attention(shape: Shape) -> Iterator[Matrix]:
    h, n = shape.hidden, shape.heads
    if latent := shape.latent:
        head = latent.nope_dim + latent.rope_dim
        if latent.query_rank:
            yield Matrix("q_a", h, latent.query_rank, "none")
            yield Matrix("q_b", latent.query_rank, n * head, "outputs")
        else:
            yield Matrix("q", h, n * head, "outputs")
        yield Matrix("kv_a", h, latent.kv_rank + latent.rope_dim, "none")
        up = n * (latent.nope_dim + latent.value_dim)
        yield Matrix("kv_b", latent.kv_rank, up, "outputs")
        yield Matrix("o", n * latent.value_dim, h, "inputs")
        return
    d = shape.head_dim
    yield Matrix("q", h, n * d, "outputs", bias=shape.qkv_bias)
    yield Matrix("kv", h, 2 * shape.kv_heads * d, "kv", bias=shape.qkv_bias)
    yield Matrix("o", n * d, h, "inputs")


def _feed_forward(shape: Shape, name: str, intermediate: int, copies: int = 1) -> Iterator[Matrix]:
    wide = 2 if shape.gated else 1
    yield Matrix(f"{name}up", shape.hidden, wide * intermediate, "outputs", copies)
    yield Matrix(f"{name}down", intermediate, shape.hidden, "inputs", copies)


def layer_matrices(shape: Shape, *, mixture: bool) -> Iterator[Matrix]:
    """The matrices of one layer.

    Args:
        mixture: A layer with experts, not with an ordinary feed-forward part.
    """
    yield from _attention(shape)
    if not mixture or not shape.experts:
        yield from _feed_forward(shape, "", shape.intermediate)
        return
    experts = shape.experts
    yield Matrix("router", shape.hidden, experts.count, "none", quantised=False)
    yield from _feed_forward(shape, "expert_", experts.intermediate, experts.count)
    if experts.shared_intermediate:
        yield from _feed_forward(shape, "shared_", experts.shared_intermediate)


def _round_up(number: float, block: int) -> int:
    return -int(-number // block) * block


def _on_rank(
    matrix: Matrix, shape: Shape, precision: Precision, tensor_parallel: int, padded: bool
) -> tuple[float, float]:
    """Inputs and outputs of a GPU's share of a matrix, with the kernels' padding if ``padded``."""
    inputs: float = matrix.inputs
    outputs: float = matrix.outputs
    if matrix.split == "inputs":
        inputs /= tensor_parallel
    elif matrix.split == "outputs":
        outputs /= tensor_parallel
    elif matrix.split == "kv":
        outputs = outputs * shape.kv_heads_on(tensor_parallel) / shape.kv_heads
    if padded and precision.name == "mxfp4" and matrix.name.startswith("expert_"):
        if matrix.split == "inputs":
            return _round_up(inputs, MXFP4_INTERMEDIATE_BLOCK), _round_up(outputs, MXFP4_HIDDEN_BLOCK)
        return _round_up(inputs, MXFP4_HIDDEN_BLOCK), _round_up(outputs / 2, MXFP4_INTERMEDIATE_BLOCK) * 2
    return inputs, outputs


def _matrix_bytes(
    matrix: Matrix, shape: Shape, precision: Precision, tensor_parallel: int, element: int, padded: bool
) -> tuple[float, float]:
    """Bytes of a GPU's share of a matrix: weights and scales. ``element``: bytes of an unquantised weight."""
    inputs, outputs = _on_rank(matrix, shape, precision, tensor_parallel, padded)
    count = inputs * outputs * matrix.copies
    bias = outputs * element if matrix.bias else 0
    plain = not matrix.quantised or (precision.experts_only and not matrix.name.startswith("expert_"))
    if plain or not precision.is_quantised:
        return count * element + bias, 0
    scales = outputs * matrix.copies * precision.channel_bytes
    if precision.group:
        scales += count / precision.group * precision.group_bytes
    return count * precision.element + bias, scales


def stage_layers(layers: int, pipeline_parallel: int) -> tuple[int, ...]:
    """Layers of each pipeline stage: what is left over goes to the later stages, the last one excepted (vLLM)."""
    stages = [layers // pipeline_parallel] * pipeline_parallel
    for index in range(2, layers % pipeline_parallel + 2):
        stages[-index] += 1
    return tuple(stages)


@cache
def weight_bytes(
    shape: Shape,
    precision: Precision,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    stage: int = 0,
    element: int = 2,
    padded: bool = True,
) -> WeightBytes:
    """Weights on each GPU of a pipeline stage.

    Args:
        stage: Pipeline stage, from 0.
        element: Bytes of a weight that is not quantised: 2, or 4 when everything runs in 32 bits.
        padded: As kernels want their matrices; otherwise as files have them.
    """
    first, last = stage == 0, stage == pipeline_parallel - 1
    layers = stage_layers(shape.layers, pipeline_parallel)[stage]
    # Dense layers of a mixture come first in every published model that has them.
    before = sum(stage_layers(shape.layers, pipeline_parallel)[:stage])
    dense_layers = shape.layers - shape.moe_layers
    dense = min(max(dense_layers - before, 0), layers)
    weights = scales = 0.0
    for count, mixture in ((dense, False), (layers - dense, True)):
        if not count:
            continue
        for matrix in layer_matrices(shape, mixture=mixture):
            own, own_scales = _matrix_bytes(matrix, shape, precision, tensor_parallel, element, padded)
            weights += count * own
            scales += count * own_scales
    weights += layers * shape.norms * shape.hidden * element
    if latent := shape.latent:  # vLLM keeps its up-projection a second time, in 16 bits, for absorbed decoding
        up = latent.kv_rank * shape.heads / tensor_parallel * (latent.nope_dim + latent.value_dim)
        weights += layers * up * element
    vocab = (_round_up(shape.vocab, VOCAB_BLOCK) if padded else shape.vocab) / tensor_parallel
    tables = int(first or (last and shape.tied_embeddings)) + int(last and not shape.tied_embeddings)
    weights += tables * vocab * shape.hidden * element
    if last:
        weights += shape.hidden * element
    if first:
        weights += shape.tower_parameters * element / tensor_parallel
    rotary_dim = shape.rotary_dim
    if rotary_dim is None:
        rotary_dim = shape.latent.rope_dim if shape.latent else shape.head_dim
    positions = shape.max_context if shape.rotary_positions is None else shape.rotary_positions
    return WeightBytes(weights=round(weights), scales=round(scales), rotary=positions * rotary_dim * element)


@cache
def published_bytes(shape: Shape, precision: Precision, element: int = 2) -> int:
    """Size of the weights as they are published: without padding, rotary cache, or anything kept twice.

    A GGUF file has every matrix in about its nominal bits, embeddings included; its real size is better than this.
    """
    if precision.container == "gguf":
        return round(published_bytes(shape, PRECISIONS["bf16"]) / 2 * precision.bits / 8)
    whole = weight_bytes(shape, precision, element=element, padded=False)
    twice = 0
    if latent := shape.latent:
        twice = shape.layers * latent.kv_rank * shape.heads * (latent.nope_dim + latent.value_dim) * element
    return whole.weights + whole.scales - twice
