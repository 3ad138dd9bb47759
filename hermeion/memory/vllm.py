"""How many bytes a service takes on each GPU, before anything runs.

The terms follow vLLM's own start-up (``gpu_worker.py: determine_available_memory``). The constants were fitted on
start-up logs of vLLM 0.19.0 on H100s; the KV cache of the 26 with a dense model the formula gives to 0.5 % on average
and 0.17 GiB at most (tests/unit/test_memory.py).
"""

from __future__ import annotations

from hermeion.plans import MemoryBudget
from hermeion.units import GIB, MIB
from hermeion.variants import Shape, Variant

SMI_TO_CUDA = 768 * MIB
"""What CUDA sees is at most this much less than ``nvidia-smi``'s total (0.46 to 0.75 GiB on the cards compared)."""


def margin(total: int) -> int:
    """Bytes left free on each GPU: half a GiB or one per cent."""
    return max(GIB // 2, total // 100)


def weight_bytes(variant: Variant, tensor_parallel: int) -> int:
    """Bytes of weights on one GPU, rotary-embedding cache included."""
    s, t = variant.shape, tensor_parallel
    kv_heads = s.kv_heads / t if t <= s.kv_heads else 1.0
    q_width, kv_width = s.heads / t * s.head_dim, kv_heads * s.head_dim
    linear = s.hidden * (q_width + 2 * kv_width) + q_width * s.hidden + 3 * s.hidden * s.intermediate / t
    outputs = q_width + 2 * kv_width + s.hidden + 2 * s.intermediate / t + s.hidden
    layer = 2 * linear if variant.precision == "bf16" else linear + 4 * outputs
    if s.qkv_bias:
        layer += 2 * (q_width + 2 * kv_width)
    layer += 2 * 2 * s.hidden  # two norms
    vocab = -(-s.vocab // 64) * 64  # vLLM pads the vocabulary to 64
    embeddings = (1 if s.tied_embeddings else 2) * vocab / t * s.hidden * 2
    rotary = s.max_context * s.head_dim * 2
    return round(s.layers * layer + embeddings + 2 * s.hidden + rotary)


def activation_bytes(shape: Shape, tensor_parallel: int, sequences: int, batched_tokens: int) -> int:
    """Peak of the activations: the sampler's logits, or one batch through the widest layer."""
    sampler = 3.5 * sequences * shape.vocab * 4 + 0.17 * GIB
    layer = batched_tokens * (3 * shape.hidden + 3 * shape.intermediate / tensor_parallel) * 2 + 0.15 * GIB
    return round(max(sampler, layer))


def vllm_budget(
    variant: Variant,
    memory: int,
    *,
    tensor_parallel: int,
    sequences: int,
    batched_tokens: int,
    utilisation: float,
    own_margin: int | None = None,
) -> MemoryBudget:
    """Add up one vLLM service on one GPU.

    Args:
        memory: What CUDA sees of the GPU, in bytes.
        sequences: ``max-num-seqs``.
        batched_tokens: ``max-num-batched-tokens``.
        utilisation: ``gpu-memory-utilization``, a share of all memory.
        own_margin: Bytes left free in place of :func:`margin`.
    """
    shape, t = variant.shape, tensor_parallel
    return MemoryBudget(
        total=int(memory * utilisation),
        weights=weight_bytes(variant, t),
        activations=activation_bytes(shape, t, sequences, batched_tokens),
        communication=round((0.25 if t == 1 else 2.1 + 0.03 * (t - 2)) * GIB),
        graphs=round((0.35 + 0.0175 * shape.layers) * GIB),
        margin=margin(memory) if own_margin is None else own_margin,
        kv_per_token=shape.kv_bytes_per_token(t),
    )
