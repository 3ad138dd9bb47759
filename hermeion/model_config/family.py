"""What one kind of decoder's configuration means: its keys, and values where a file leaves a key out.

A file of its own has every key of its class, but a ``text_config`` only has those that differ from the class (that is
how Transformers writes them): ``sizes`` are for the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from hermeion.records import Record


class Mixture(Record):
    """Keys of a mixture of experts.

    Attributes:
        count: Key of the number of routed experts.
        intermediate: Key of a routed expert's feed-forward size.
        shared_count: Key of the number of shared experts, each as large as a routed one.
        shared_size: Key of the shared experts' feed-forward size, where they are one.
        dense: What decides which layers have an ordinary feed-forward part: the first ones (``first_k_dense_replace``),
            all but every so many-th (``decoder_sparse_step``, ``interleave_moe_layer_step``), none.
    """

    count: str
    intermediate: str = "moe_intermediate_size"
    shared_count: str | None = None
    shared_size: str | None = None
    dense: Literal["none", "first", "sparse_step", "interleave"] = "none"


class Family(Record):
    """One ``model_type``.

    Attributes:
        architectures: Classes with this configuration.
        defaults: Values of keys that a file may leave out.
        sizes: Values of keys that a ``text_config`` may leave out.
        intermediate: Key of a dense layer's feed-forward size.
        qkv_bias: Whether query, key and value have a bias, or the key that says so.
        gated: Whether the feed-forward part has a gate.
        norms: Norm vectors of a layer as wide as the hidden size, biases counted as vectors.
        window: Which layers have sliding windows, where ``layer_types`` does not say: none, all, those from
            ``max_window_layers`` on, or all but every ``pattern``-th.
        window_key: Key of the window.
        two_rotary_caches: Whether sliding and full layers rotate differently, each kind with a cache of its own.
        mrope_factor: How many times ``max_position_embeddings`` the cache of a multi-dimensional rotary embedding has
            (vLLM's ``mrope.py``: 4, for long videos; Qwen3-VL's positions never exceed the tokens: 1).
        mixture: A mixture of experts.
        latent: Multi-head latent attention.
    """

    model_type: str
    architectures: tuple[str, ...]
    defaults: Mapping[str, Any] = {}
    sizes: Mapping[str, int] = {}
    intermediate: str = "intermediate_size"
    qkv_bias: bool | str = "attention_bias"
    gated: bool = True
    norms: int = 2
    window: Literal["none", "all", "upper", "pattern"] = "none"
    window_key: str = "sliding_window"
    pattern: int = 0
    two_rotary_caches: bool = False
    mrope_factor: int = 4
    mixture: Mixture | None = None
    latent: bool = False


def sizes(hidden: int, intermediate: int, layers: int, heads: int, vocab: int, context: int) -> dict[str, int]:
    """The six numbers that every class has a value for."""
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "vocab_size": vocab,
        "max_position_embeddings": context,
    }
