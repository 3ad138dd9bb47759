"""The shape of a decoder, from its configuration's keys."""

from __future__ import annotations

from hermeion.model_config.family import Family
from hermeion.model_config.layers import experts, latent, sliding
from hermeion.model_config.rotary import rotary
from hermeion.model_config.values import Settings
from hermeion.shapes import Shape


def _head_dim(settings: Settings, heads: int, hidden: int) -> int:
    told = settings.optional_number("head_dim")
    if told:
        return told
    if hidden % heads:
        raise settings.error("num_attention_heads", f"is {heads}, which does not divide hidden_size, {hidden}")
    return hidden // heads


def decoder_shape(settings: Settings, family: Family) -> Shape:
    """The shape, without what a wrapper adds.

    Args:
        settings: The keys, defaults filled in.

    Raises:
        ModelError: A key is missing, a value is of the wrong type, absurd or contradicts another.
    """
    layers = settings.number("num_hidden_layers")
    hidden = settings.number("hidden_size")
    heads = settings.number("num_attention_heads")
    latent_sizes = latent(settings, family)
    if latent_sizes:  # what a latent is unpacked into has as many heads as the queries
        kv_heads, head_dim = heads, latent_sizes.nope_dim + latent_sizes.rope_dim
    else:
        kv_heads = settings.optional_number("num_key_value_heads") or heads
        head_dim = _head_dim(settings, heads, hidden)
    if heads % kv_heads:
        raise settings.error(
            "num_key_value_heads", f"is {kv_heads}, which does not divide num_attention_heads, {heads}"
        )
    turned = rotary(settings, family, head_dim)
    window, sliding_layers = sliding(settings, family, layers, turned.context)
    bias = settings.flag(family.qkv_bias) if isinstance(family.qkv_bias, str) else family.qkv_bias
    return Shape(
        layers=layers,
        hidden=hidden,
        intermediate=settings.number(family.intermediate),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=settings.number("vocab_size"),
        max_context=turned.context,
        tied_embeddings=settings.flag("tie_word_embeddings"),
        qkv_bias=bias,
        gated=family.gated,
        norms=family.norms,
        sliding_window=window,
        sliding_layers=sliding_layers,
        rotary_positions=turned.positions,
        rotary_dim=turned.dim,
        experts=experts(settings, family, layers),
        latent=latent_sizes,
    )
