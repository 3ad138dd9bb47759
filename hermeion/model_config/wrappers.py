"""Models that put a vision tower in front of a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from hermeion.errors import ModelError
from hermeion.model_config import towers
from hermeion.model_config.families import DECODERS, FAMILIES
from hermeion.model_config.family import Family
from hermeion.model_config.values import Settings
from hermeion.model_config.vision_defaults import VISION_DEFAULTS


class Wrapper(NamedTuple):
    """How a class with a tower is read.

    ``tower`` counts its parameters; ``vision`` and ``text`` are the ``model_type`` of tower and decoder where the file
    does not say; ``text_key`` is where the decoder stands.
    """

    tower: Callable[[Settings, Settings, int], int]
    vision: str
    text: str
    text_key: str = "text_config"


WRAPPERS: Mapping[str, Wrapper] = {
    "Gemma3ForConditionalGeneration": Wrapper(towers.gemma3, "siglip_vision_model", "gemma3_text"),
    "InternVLChatModel": Wrapper(towers.internvl, "internvl_vision", "qwen2", "llm_config"),
    "InternVLForConditionalGeneration": Wrapper(towers.internvl, "internvl_vision", "qwen2"),
    "KimiVLForConditionalGeneration": Wrapper(towers.kimi_vl, "moonvit", "deepseek_v3"),
    "Llama4ForConditionalGeneration": Wrapper(towers.llama4, "llama4_vision_model", "llama4_text"),
    "LlavaForConditionalGeneration": Wrapper(towers.llava, "clip_vision_model", "llama"),
    "LlavaNextForConditionalGeneration": Wrapper(towers.llava_next, "clip_vision_model", "llama"),
    "Mistral3ForConditionalGeneration": Wrapper(towers.mistral3, "pixtral", "mistral"),
    "Qwen2VLForConditionalGeneration": Wrapper(towers.qwen2_vl, "qwen2_vl", "qwen2_vl_text"),
    "Qwen2_5_VLForConditionalGeneration": Wrapper(towers.qwen2_5_vl, "qwen2_5_vl", "qwen2_vl_text"),
    "Qwen3VLForConditionalGeneration": Wrapper(towers.qwen3_vl, "qwen3_vl", "qwen3_vl_text"),
    "Qwen3VLMoeForConditionalGeneration": Wrapper(towers.qwen3_vl, "qwen3_vl", "qwen3_vl_moe_text"),
}

SAME = {"qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_vl_text", "qwen2_5_vl_text": "qwen2_vl_text"}
"""Decoders with the same configuration under more than one ``model_type``."""


def text_family(text: Settings, wrapper: Wrapper) -> Family:
    """The decoder's kind, by its ``model_type`` or its class.

    Raises:
        ModelError: It is none that is known.
    """
    kind = text.text("model_type")
    if kind is None:
        named = next(iter(text.entries("architectures") or ()), None)
        return DECODERS.get(str(named), FAMILIES[wrapper.text])
    kind = SAME.get(kind, kind)
    if kind not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise text.error("model_type", f"is {kind!r}, which is not known", f"Name a model with one of: {known}.")
    return FAMILIES[kind]


def tower_parameters(settings: Settings, wrapper: Wrapper, text_hidden: int) -> int:
    """Parameters of tower and projector.

    Raises:
        ModelError: ``vision_config`` is missing, or a number in it is missing or absurd.
    """
    vision = settings.section("vision_config")
    if vision is None:
        raise ModelError(
            f"{settings.where}: vision_config is missing, although the class has a vision tower. "
            "Name a repository whose files the engine can load."
        )
    kind = vision.text("model_type")
    defaults = VISION_DEFAULTS.get(kind or "", VISION_DEFAULTS[wrapper.vision])
    return wrapper.tower(vision.with_defaults(defaults), settings, text_hidden)
