"""Decoders with mixtures of experts.

Source: ``configuration_*.py`` and ``modeling_*.py`` of Transformers 5.23.
"""

from __future__ import annotations

from hermeion.model_config.family import Family, Mixture, sizes

# Qwen's mixtures have a dense layer wherever the step does not hit, and where `mlp_only_layers` names one.
_QWEN_MIXTURE = Mixture(count="num_experts", dense="sparse_step")
_DEEPSEEK_MIXTURE = Mixture(count="n_routed_experts", shared_count="n_shared_experts", dense="first")
_PLAIN_MIXTURE = Mixture(count="num_local_experts", intermediate="intermediate_size")
_LATENT = {"kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
_QWEN3_MOE = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}

MIXTURES = (
    Family(
        model_type="mixtral",
        architectures=("MixtralForCausalLM",),
        defaults={"num_key_value_heads": 8},
        qkv_bias=False,
        window="all",
        mixture=_PLAIN_MIXTURE,
    ),
    Family(
        model_type="qwen2_moe",
        architectures=("Qwen2MoeForCausalLM",),
        defaults={"qkv_bias": True, "max_window_layers": 28, "decoder_sparse_step": 1},
        qkv_bias="qkv_bias",
        window="upper",
        mixture=_QWEN_MIXTURE.model_copy(update={"shared_size": "shared_expert_intermediate_size"}),
    ),
    Family(
        model_type="qwen3_moe",
        architectures=("Qwen3MoeForCausalLM",),
        defaults={"num_key_value_heads": 4, "max_window_layers": 0, "decoder_sparse_step": 1},
        sizes={**sizes(2048, 6144, 24, 32, 151936, 32768), **_QWEN3_MOE},
        window="upper",
        mixture=_QWEN_MIXTURE,
    ),
    Family(
        model_type="qwen3_vl_moe_text",
        architectures=(),
        defaults={"head_dim": 128, "num_key_value_heads": 16, "decoder_sparse_step": 1},
        sizes={
            **sizes(2048, 5632, 24, 16, 151936, 128000),
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
        },
        mrope_factor=1,
        mixture=_QWEN_MIXTURE,
    ),
    Family(
        model_type="deepseek_v2",
        architectures=("DeepseekV2ForCausalLM",),
        defaults={"first_k_dense_replace": 0, "moe_layer_freq": 1, **_LATENT},
        mixture=_DEEPSEEK_MIXTURE,
        latent=True,
    ),
    Family(
        model_type="deepseek_v3",
        architectures=("DeepseekV3ForCausalLM",),
        defaults={"first_k_dense_replace": 3, "moe_layer_freq": 1, **_LATENT},
        sizes={
            **sizes(7168, 18432, 61, 128, 129280, 4096),
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
        },
        mixture=_DEEPSEEK_MIXTURE,
        latent=True,
    ),
    Family(
        model_type="gpt_oss",
        architectures=("GptOssForCausalLM",),
        defaults={"attention_bias": True, "head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128},
        window="pattern",
        pattern=2,
        mixture=_PLAIN_MIXTURE,
    ),
    Family(
        model_type="glm4_moe",
        architectures=("Glm4MoeForCausalLM",),
        defaults={
            "num_key_value_heads": 8,
            "partial_rotary_factor": 0.5,
            "first_k_dense_replace": 1,
            "moe_layer_freq": 1,
        },
        mixture=_DEEPSEEK_MIXTURE,
    ),
    Family(model_type="granitemoe", architectures=("GraniteMoeForCausalLM",), mixture=_PLAIN_MIXTURE),
    Family(
        model_type="olmoe",
        architectures=("OlmoeForCausalLM",),
        defaults={"num_experts": 64, "num_experts_per_tok": 8},
        norms=4,  # as Olmo 2's
        mixture=Mixture(count="num_experts", intermediate="intermediate_size"),
    ),
    Family(
        model_type="llama4_text",
        architectures=("Llama4ForCausalLM",),
        defaults={
            "head_dim": 128,
            "num_key_value_heads": 8,
            "attention_chunk_size": 8192,
            "interleave_moe_layer_step": 1,
        },
        sizes={
            **sizes(5120, 8192, 48, 40, 202048, 131072),
            "intermediate_size_mlp": 16384,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
        },
        intermediate="intermediate_size_mlp",
        window="pattern",
        window_key="attention_chunk_size",
        pattern=4,
        mixture=Mixture(
            count="num_local_experts",
            intermediate="intermediate_size",
            shared_size="intermediate_size",
            dense="interleave",
        ),
    ),
)
