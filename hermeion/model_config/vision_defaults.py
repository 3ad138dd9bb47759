"""What Transformers' configuration classes of vision towers take where a ``vision_config`` leaves a key out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VISION_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "siglip_vision_model": {
        "hidden_size": 768,
        "image_size": 224,
        "intermediate_size": 3072,
        "num_channels": 3,
        "num_hidden_layers": 12,
        "patch_size": 16,
    },
    "clip_vision_model": {
        "hidden_size": 768,
        "image_size": 224,
        "intermediate_size": 3072,
        "num_channels": 3,
        "num_hidden_layers": 12,
        "patch_size": 32,
    },
    "pixtral": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 16,
    },
    "moonvit": {
        "hidden_size": 1152,
        "init_pos_emb_height": 64,
        "init_pos_emb_width": 64,
        "intermediate_size": 4304,
        "num_channels": 3,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
    "qwen2_vl": {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4},
    "qwen2_5_vl": {"depth": 32, "intermediate_size": 3420, "out_hidden_size": 3584},
    "qwen3_vl": {
        "deepstack_visual_indexes": [8, 16, 24],
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_position_embeddings": 2304,
        "out_hidden_size": 3584,
        "patch_size": 16,
    },
    "internvl_vision": {
        "hidden_size": 1024,
        "image_size": 448,
        "intermediate_size": 4096,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 14,
    },
    "llama4_vision_model": {
        "hidden_size": 768,
        "image_size": 448,
        "intermediate_size": 5632,
        "num_channels": 3,
        "num_hidden_layers": 34,
        "patch_size": 14,
        "projector_input_dim": 4096,
        "projector_output_dim": 4096,
        "vision_output_dim": 7680,
    },
}
"""By ``model_type``. Source: ``configuration_*.py`` of Transformers 5.23."""
