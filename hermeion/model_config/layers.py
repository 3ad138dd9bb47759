"""Which layers have sliding windows, which have experts, and how large those are."""

from __future__ import annotations

from hermeion.model_config.family import Family
from hermeion.model_config.values import Settings
from hermeion.shapes import Experts, Latent

FULL = ("full_attention", "attention")
SLIDING = ("sliding_attention", "chunked_attention")
COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""Keys of the number of experts: Transformers 5 writes a class's files with another one than Transformers 4 did."""


def _told_sliding(settings: Settings, layers: int) -> int | None:
    """Sliding layers as ``layer_types`` tells them, or ``None`` where it does not.

    Raises:
        ModelError: It has another length than there are layers, or names layers that are no attention.
    """
    types = settings.entries("layer_types")
    if types is None:
        return None
    if len(types) != layers:
        raise settings.error("layer_types", f"names {len(types)} layers, but num_hidden_layers is {layers}")
    for found in types:
        if found not in FULL + SLIDING:
            raise settings.error(
                "layer_types",
                f"has {found!r}, whose memory is not that of attention and cannot be planned",
                f"Name a model whose layers are all {FULL[0]!r} or {SLIDING[0]!r}.",
            )
    return sum(found in SLIDING for found in types)


def _pattern(settings: Settings, family: Family) -> int:
    """Every so many-th layer sees everything. Exaone writes the pattern as letters: ``LLLG``."""
    told = settings.values.get("sliding_window_pattern")
    if isinstance(told, str) and told:
        return len(told)
    return family.pattern if told is None else settings.number("sliding_window_pattern")


def _sliding_layers(settings: Settings, family: Family, layers: int) -> int:
    told = _told_sliding(settings, layers)
    if told is not None:
        return told
    if family.window == "all":
        return layers
    if family.window == "upper":
        return max(0, layers - settings.number("max_window_layers", least=0))
    if family.window == "pattern":
        return layers - layers // _pattern(settings, family)
    return 0


def sliding(settings: Settings, family: Family, layers: int, context: int) -> tuple[int | None, int]:
    """The window in tokens and the number of layers that have it.

    A window as long as the context is none, nor is one of 0 (some checkpoints write that).
    """
    if family.window == "upper" and not settings.flag("use_sliding_window"):
        return None, 0
    told = _told_sliding(settings, layers)
    if not told and not settings.has(family.window_key):
        return None, 0
    window = settings.number(family.window_key, least=0)
    count = _sliding_layers(settings, family, layers)
    if not count or not 0 < window < context:
        return None, 0
    return window, count


def _dense_layers(settings: Settings, mixture_rule: str, layers: int) -> int:
    """Layers of a mixture that have an ordinary feed-forward part."""
    if mixture_rule == "first":
        first = settings.number("first_k_dense_replace", least=0)
        step = settings.number("moe_layer_freq")
        return layers - sum(index >= first and index % step == 0 for index in range(layers))
    if mixture_rule == "sparse_step":
        step = settings.number("decoder_sparse_step")
        plain = settings.entries("mlp_only_layers") or []
        return layers - sum((index + 1) % step == 0 and index not in plain for index in range(layers))
    if mixture_rule == "interleave":
        return layers - layers // settings.number("interleave_moe_layer_step")
    return 0


def experts(settings: Settings, family: Family, layers: int) -> Experts | None:
    """The mixture of experts. A file of a mixture's class without experts is an ordinary model.

    Raises:
        ModelError: A size is missing or absurd, or a token passes through more experts than there are.
    """
    mixture = family.mixture
    if mixture is None:
        return None
    key = next((name for name in (mixture.count, *COUNTS) if settings.has(name)), mixture.count)
    # DeepSeek's class means by null that there are none; every other class wants the number.
    if mixture.dense == "first" and not settings.has(key):
        return None
    count = settings.number(key, least=0)
    dense_layers = _dense_layers(settings, mixture.dense, layers)
    if not count or dense_layers == layers:
        return None
    per_token = settings.number("num_experts_per_tok")
    if per_token > count:
        raise settings.error("num_experts_per_tok", f"is {per_token}, but {key} is {count}")
    size = settings.number(mixture.intermediate)
    shared = 0
    if mixture.shared_size:
        shared = settings.optional_number(mixture.shared_size, least=0) or 0
    if mixture.shared_count:
        shared = size * (settings.optional_number(mixture.shared_count, least=0) or 0)
    return Experts(
        count=count, per_token=per_token, intermediate=size, shared_intermediate=shared, dense_layers=dense_layers
    )


def latent(settings: Settings, family: Family) -> Latent | None:
    """Multi-head latent attention's sizes. ``q_lora_rank`` null: queries are not compressed."""
    if not family.latent:
        return None
    return Latent(
        kv_rank=settings.number("kv_lora_rank"),
        query_rank=settings.optional_number("q_lora_rank", least=0) or 0,
        nope_dim=settings.number("qk_nope_head_dim"),
        rope_dim=settings.number("qk_rope_head_dim"),
        value_dim=settings.number("v_head_dim"),
    )
