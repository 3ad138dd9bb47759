"""llama.cpp's memory on each GPU: whole layers of the file, their cache, and the buffers of one step.

Options are those of build 11669; the rules were read in the code of 2026 (``llama-model.cpp``, ``llama-graph.cpp``,
``fattn-common.cuh``) and not calibrated. Two logs agree: a 27B model with 32,768 tokens printed a compute buffer of
154.02 MiB where the rule says 154, and Llama 3.1 8B 258.50 MiB where, with its logits, it says 259.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from hermeion.memory.kv_cache import ELEMENT_BYTES, KvPrecision
from hermeion.plans import MemoryBudget
from hermeion.precisions import Precision
from hermeion.shapes import Shape
from hermeion.units import GIB
from hermeion.weights import layer_matrices

MICRO_BATCH = 512
"""Tokens of one step (``--ubatch-size``); the buffers are made for so many. Ollama passes the same number."""

PIPELINE_COPIES = 4
"""Copies of a step's inputs on each of several GPUs, which then work on different steps (``GGML_SCHED_MAX_COPIES``)."""

CELL_BLOCK = 256
"""A request's cache is rounded up to so many tokens (``n_ctx_seq`` of ``llama-context.cpp``)."""

OUTPUT_BITS = 6.5625
"""Mixtures of fewer bits keep the output layer in Q6_K (``llama-quant.cpp``)."""

CUDA_CONTEXT = GIB // 2
"""CUDA context, cuBLAS's workspace, CUDA graphs."""

FIT_TARGET = GIB
"""What llama-server leaves free on each GPU if nobody says (``--fit-target 1024``); here it stands for the margin."""


class Device(NamedTuple):
    """A GPU's memory in bytes.

    Attributes:
        total: What CUDA sees of it.
        free: What others leave of it; more than ``total`` counts as ``total``.
    """

    total: int
    free: int


class Settings(NamedTuple):
    """What of llama-server's options decides its memory.

    Attributes:
        context: Tokens of one request; ``--ctx-size`` is this times ``sequences``.
        sequences: Requests at the same time (``--parallel``).
        kv_precision: ``bf16`` stands for llama.cpp's f16.
    """

    context: int
    sequences: int
    kv_precision: KvPrecision = "bf16"

    @property
    def cells(self) -> int:
        """Tokens that the cache has room for."""
        return -(-self.context // CELL_BLOCK) * CELL_BLOCK * self.sequences


def gpu_layers(layers: int, gpus: int) -> tuple[int, ...]:
    """Layers on each GPU with ``--split-mode layer`` and equal parts; the output is one more, and on the last GPU.

    Equal parts have to be asked for (``--tensor-split 1,1``): the default follows the memory that is free at the start.
    """
    places = [layer * gpus // (layers + 1) for layer in range(layers)]
    return tuple(places.count(gpu) for gpu in range(gpus))


def _layer_sizes(shape: Shape) -> list[int]:
    """Elements of each layer's matrices; ordinary layers of a mixture come first."""
    dense, mixture = (
        sum(matrix.inputs * matrix.outputs * matrix.copies for matrix in layer_matrices(shape, mixture=is_mixture))
        for is_mixture in (False, True)
    )
    return [dense] * (shape.layers - shape.moe_layers) + [mixture] * shape.moe_layers


def weights_on(shape: Shape, precision: Precision, file_bytes: int, gpus: int) -> tuple[int, ...]:
    """Bytes of the GGUF file on each of so many GPUs.

    The token embedding stays in the host's memory. How large it is in the file is not known here, so it is counted
    with the layers.
    """
    output = min(file_bytes, round(shape.vocab * shape.hidden * max(precision.bits, OUTPUT_BITS) / 8))
    sizes = _layer_sizes(shape)
    found: list[int] = []
    first = 0
    for count in gpu_layers(shape.layers, gpus):
        found.append(math.ceil((file_bytes - output) * sum(sizes[first : first + count]) / sum(sizes)))
        first += count
    found[-1] += output
    return tuple(found)


def _width(shape: Shape) -> int:
    """Elements for each token of a step at the widest place of a layer."""
    branches = 3 if shape.gated else 2
    widths = [2 * shape.heads * shape.head_dim]
    if shape.latent:
        widths.append(2 * shape.heads * (shape.latent.kv_rank + shape.latent.rope_dim))
    if shape.moe_layers < shape.layers:
        widths.append(branches * shape.intermediate)
    if experts := shape.experts:
        routed = experts.per_token * (branches * experts.intermediate + shape.hidden)
        widths.append(routed + branches * experts.shared_intermediate)
    return max(widths) + shape.hidden


def compute_bytes(shape: Shape, settings: Settings, gpus: int, *, is_last: bool) -> int:
    """The buffers of one step on a GPU.

    These are the inputs (the hidden state in 32 bits and the attention mask in 16, several times on several GPUs), the
    widest place of a layer or, on the last GPU, the logits of every token. Builds of 2026 need logits of fewer tokens.
    Flash attention unpacks a quantised cache, one layer at a time, to 16 bits.

    Args:
        is_last: Whether the output layer is on the GPU.
    """
    cells = settings.cells // settings.sequences
    copies = PIPELINE_COPIES if gpus > 1 else 1
    inputs = copies * (2 * cells + 4 * shape.hidden)
    widest = max(_width(shape), shape.vocab) if is_last else _width(shape)
    unpacked = 0 if settings.kv_precision == "bf16" else 2 * shape.kv_elements() * settings.cells
    return MICRO_BATCH * (inputs + 4 * widest) + unpacked


def kv_per_token(shape: Shape, layers: int, precision: KvPrecision) -> int:
    """Bytes of cache for one token of so many layers. Sliding-window layers count in full, as with ``--swa-full``."""
    return math.ceil(layers * shape.kv_elements() * ELEMENT_BYTES[precision])


def kv_bytes(shape: Shape, settings: Settings, gpus: int) -> int:
    """Bytes of cache on the GPU with the most layers, all requests added up: llama-server allots them at the start."""
    layers = max(gpu_layers(shape.layers, gpus))
    return settings.cells * kv_per_token(shape, layers, settings.kv_precision)


def llamacpp_budget(
    shape: Shape,
    precision: Precision,
    file_bytes: int,
    devices: Sequence[Device],
    settings: Settings,
    *,
    own_margin: int | None = None,
) -> MemoryBudget:
    """Add up the GPU that has the least room for the cache of its layers.

    Unlike vLLM, llama-server takes what it needs and not a share of the GPU: what is usable is what others leave free.

    Args:
        file_bytes: Size of the GGUF file, all parts of a split one.
        devices: The GPUs in PCI order.
        own_margin: Bytes kept in place of :data:`FIT_TARGET`.
    """
    gpus = len(devices)
    layers = gpu_layers(shape.layers, gpus)
    weights = weights_on(shape, precision, file_bytes, gpus)
    budgets = [
        MemoryBudget(
            device=device.total,
            usable=min(device.total, device.free),
            weights=weights[index],
            activations=compute_bytes(shape, settings, gpus, is_last=index == gpus - 1),
            non_torch=CUDA_CONTEXT,
            margin=FIT_TARGET if own_margin is None else own_margin,
            kv_block=1,
            kv_per_token=max(1, kv_per_token(shape, layers[index], settings.kv_precision)),
        )
        for index, device in enumerate(devices)
    ]
    return min(budgets, key=lambda budget: budget.kv_cache / budget.kv_per_token)
