"""Parameters of vision towers and of the projectors into the language model.

As vLLM 0.33 holds them (``siglip.py``, ``clip.py``, ``pixtral.py``, ``moonvit.py``, ``qwen*_vl.py``, ``intern_vit.py``,
``mllama4.py``): layers above the last one that is used, and pooling heads, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hermeion.model_config.values import Settings, shown


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    return inputs * outputs + (outputs if bias else 0)


def _side(vision: Settings, key: str) -> int:
    """A side of an image or patch; InternVL writes both sides."""
    both = vision.values.get(key)
    if isinstance(both, list) and both:
        return Settings(where=vision.where, values={key: both[0]}, path=vision.path).number(key)
    return vision.number(key)


def _used_layers(vision: Settings, top: Settings, default: int) -> tuple[int, int]:
    """Layers up to the last one whose output is used, and how many outputs are put side by side."""
    layers = vision.number("num_hidden_layers")
    told = top.values.get("vision_feature_layer", default)
    wanted = told if isinstance(told, list) and told else [told]
    for index in wanted:
        if isinstance(index, bool) or not isinstance(index, int) or not -layers <= index <= layers:
            raise top.error("vision_feature_layer", f"is {shown(told)}, but the tower has {layers} layers")
    return max(layers + index + 1 if index < 0 else index for index in wanted), len(wanted)


def _encoder(vision: Settings, layers: int) -> int:
    """Layers of attention and feed-forward part, all with biases and two layer norms."""
    h, m = vision.number("hidden_size"), vision.number("intermediate_size")
    return layers * (4 * _linear(h, h) + _linear(h, m) + _linear(m, h) + 4 * h)


def _patches(vision: Settings) -> int:
    return (_side(vision, "image_size") // _side(vision, "patch_size")) ** 2


def _patch_embedding(vision: Settings, *, bias: bool) -> int:
    pixels = vision.number("num_channels") * _side(vision, "patch_size") ** 2
    return _linear(pixels, vision.number("hidden_size"), bias=bias)


def _siglip(vision: Settings, layers: int) -> int:
    embedding = _patch_embedding(vision, bias=True) + _patches(vision) * vision.number("hidden_size")
    return embedding + _encoder(vision, layers)


def _clip(vision: Settings, layers: int) -> int:
    # One more position and vector for the class token, and a norm before the layers.
    embedding = _patch_embedding(vision, bias=False) + (_patches(vision) + 4) * vision.number("hidden_size")
    return embedding + _encoder(vision, layers)


def _pixtral(vision: Settings, layers: int) -> int:
    h, m = vision.number("hidden_size"), vision.number("intermediate_size")
    return _patch_embedding(vision, bias=False) + h + layers * (4 * h * h + 3 * h * m + 2 * h)


_LLAVA_TOWERS: Mapping[str, Callable[[Settings, int], int]] = {
    "siglip_vision_model": _siglip,
    "clip_vision_model": _clip,
    "pixtral": _pixtral,
}


def gemma3(vision: Settings, _top: Settings, text_hidden: int) -> int:
    """SigLIP with its last norm; one matrix and a norm into the language model."""
    h = vision.number("hidden_size")
    return _siglip(vision, vision.number("num_hidden_layers")) + 2 * h + h * text_hidden + h


def llava(vision: Settings, top: Settings, text_hidden: int) -> int:
    """LLaVA: SigLIP, CLIP or Pixtral, and two matrices into the language model.

    Raises:
        ModelError: Another tower.
    """
    kind = vision.text("model_type") or "clip_vision_model"
    if kind not in _LLAVA_TOWERS:
        raise vision.error("model_type", f"is {kind!r}, and must be one of {', '.join(sorted(_LLAVA_TOWERS))}")
    layers, outputs = _used_layers(vision, top, -2)
    bias = top.with_defaults({"multimodal_projector_bias": True}).flag("multimodal_projector_bias")
    projector = _linear(outputs * vision.number("hidden_size"), text_hidden, bias=bias)
    projector += _linear(text_hidden, text_hidden, bias=bias)
    return _LLAVA_TOWERS[kind](vision, layers) + projector


def llava_next(vision: Settings, top: Settings, text_hidden: int) -> int:
    """LLaVA, and a vector that ends lines of patches."""
    return llava(vision, top, text_hidden) + text_hidden


def mistral3(vision: Settings, top: Settings, text_hidden: int) -> int:
    """Pixtral; patches are merged, then two matrices into the language model."""
    layers, outputs = _used_layers(vision, top, -1)
    h = vision.number("hidden_size")
    merge = top.with_defaults({"spatial_merge_size": 2}).number("spatial_merge_size") ** 2
    bias = top.flag("multimodal_projector_bias")
    projector = h + merge * h * h
    projector += _linear(outputs * h, text_hidden, bias=bias) + _linear(text_hidden, text_hidden, bias=bias)
    return _pixtral(vision, layers) + projector


def kimi_vl(vision: Settings, _top: Settings, text_hidden: int) -> int:
    """MoonViT; four patches go through two matrices into the language model."""
    h = vision.number("hidden_size")
    positions = vision.number("init_pos_emb_height") * vision.number("init_pos_emb_width")
    tower = _patch_embedding(vision, bias=True) + positions * h
    tower += _encoder(vision, vision.number("num_hidden_layers")) + 2 * h
    return tower + 2 * h + _linear(4 * h, 4 * h) + _linear(4 * h, text_hidden)


def _merge(vision: Settings) -> int:
    return vision.with_defaults({"spatial_merge_size": 2}).number("spatial_merge_size") ** 2


def _qwen_patch(vision: Settings, *, patch: int = 14) -> int:
    """Inputs of Qwen's patch embedding: pixels of a few frames."""
    own = vision.with_defaults({"temporal_patch_size": 2, "patch_size": patch})
    return 3 * own.number("temporal_patch_size") * own.number("patch_size") ** 2


def qwen2_vl(vision: Settings, _top: Settings, _text_hidden: int) -> int:
    """Qwen2-VL: ``embed_dim`` is the tower's own size, ``hidden_size`` the language model's."""
    h, out = vision.number("embed_dim"), vision.number("hidden_size")
    m = round(h * vision.factor("mlp_ratio"))
    wide = _merge(vision) * h
    block = 4 * h + _linear(h, 3 * h) + _linear(h, h) + _linear(h, m) + _linear(m, h)
    merger = 2 * h + _linear(wide, wide) + _linear(wide, out)
    return _qwen_patch(vision) * h + vision.number("depth") * block + merger


def qwen2_5_vl(vision: Settings, _top: Settings, _text_hidden: int) -> int:
    """Qwen2.5-VL: gated feed-forward part, norms without biases."""
    h, m = vision.number("hidden_size"), vision.number("intermediate_size")
    wide = _merge(vision) * h
    block = 2 * h + _linear(h, 3 * h) + _linear(h, h) + 2 * _linear(h, m) + _linear(m, h)
    merger = h + _linear(wide, wide) + _linear(wide, vision.number("out_hidden_size"))
    return _qwen_patch(vision) * h + vision.number("depth") * block + merger


def qwen3_vl(vision: Settings, _top: Settings, _text_hidden: int) -> int:
    """Qwen3-VL: learnt positions, and one more merger for each layer whose output goes into the language model."""
    h, m, out = vision.number("hidden_size"), vision.number("intermediate_size"), vision.number("out_hidden_size")
    wide = _merge(vision) * h
    block = 4 * h + _linear(h, 3 * h) + _linear(h, h) + _linear(h, m) + _linear(m, h)
    projection = _linear(wide, wide) + _linear(wide, out)
    deep = len(vision.entries("deepstack_visual_indexes") or ())
    mergers = 2 * h + projection + deep * (2 * wide + projection)
    embedding = _linear(_qwen_patch(vision, patch=16), h) + vision.number("num_position_embeddings") * h
    return embedding + vision.number("depth") * block + mergers


def internvl(vision: Settings, top: Settings, text_hidden: int) -> int:
    """InternViT; patches are merged, then two matrices into the language model."""
    h, m = vision.number("hidden_size"), vision.number("intermediate_size")
    bias = vision.flag("attention_bias") or vision.flag("qkv_bias")
    # Two layer norms, and two vectors that scale what is added; RMS norms have no biases.
    vectors = 4 * h if vision.text("norm_type") == "rms_norm" else 6 * h
    if vision.flag("use_qk_norm") or vision.flag("qk_normalization"):
        vectors += 2 * h
    block = _linear(h, 3 * h, bias=bias) + _linear(h, h) + _linear(h, m) + _linear(m, h) + vectors
    embedding = _patch_embedding(vision, bias=True) + (_patches(vision) + 2) * h
    ratio = top.with_defaults({"downsample_ratio": 0.5}).factor("downsample_ratio")
    wide = round(h / ratio**2)
    projector = 2 * wide + _linear(wide, text_hidden) + _linear(text_hidden, text_hidden)
    return embedding + vision.number("num_hidden_layers") * block + projector


def llama4(vision: Settings, _top: Settings, text_hidden: int) -> int:
    """Llama 4's tower, its adapter and one matrix into the language model."""
    h = vision.number("hidden_size")
    inner, outer = vision.number("projector_input_dim"), vision.number("projector_output_dim")
    # Class vector and its position; norms before and after the layers.
    embedding = _patch_embedding(vision, bias=False) + (_patches(vision) + 2) * h + 4 * h
    adapter = vision.number("intermediate_size") * inner + inner * outer
    projector = vision.number("vision_output_dim") * text_hidden
    return embedding + _encoder(vision, vision.number("num_hidden_layers")) + adapter + projector
