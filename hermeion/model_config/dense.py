"""Decoders whose layers all have an ordinary feed-forward part.

Source: ``configuration_*.py`` and ``modeling_*.py`` of Transformers 5.23.
"""

from __future__ import annotations

from hermeion.model_config.family import Family, sizes

DENSE = (
    Family(
        model_type="llama",
        architectures=("LlamaForCausalLM", "LLaMAForCausalLM"),
        sizes=sizes(4096, 11008, 32, 32, 32000, 2048),
    ),
    Family(
        model_type="mistral",
        architectures=("MistralForCausalLM",),
        sizes={**sizes(4096, 14336, 32, 32, 32000, 131072), "num_key_value_heads": 8, "sliding_window": 4096},
        qkv_bias=False,
        window="all",
    ),
    Family(
        model_type="ministral",
        architectures=("MinistralForCausalLM",),
        qkv_bias=False,
        window="all",
    ),
    Family(
        model_type="ministral3",
        architectures=("Ministral3ForCausalLM",),
        defaults={"head_dim": 128},
        sizes={**sizes(4096, 14336, 34, 32, 131072, 262144), "num_key_value_heads": 8},
        qkv_bias=False,
        window="all",
    ),
    Family(
        model_type="qwen2",
        architectures=("Qwen2ForCausalLM",),
        defaults={"max_window_layers": 28},
        sizes=sizes(4096, 22016, 32, 32, 151936, 32768),
        qkv_bias=True,
        window="upper",
    ),
    Family(
        model_type="qwen2_vl_text",
        architectures=(),
        defaults={"max_window_layers": 80},
        sizes={**sizes(8192, 29568, 80, 64, 152064, 32768), "num_key_value_heads": 8},
        qkv_bias=True,
        window="upper",
    ),
    Family(
        model_type="qwen3",
        architectures=("Qwen3ForCausalLM",),
        defaults={"head_dim": 128, "max_window_layers": 28},
        sizes=sizes(4096, 22016, 32, 32, 151936, 32768),
        window="upper",
    ),
    Family(
        model_type="qwen3_vl_text",
        architectures=(),
        defaults={"head_dim": 128},
        sizes=sizes(4096, 22016, 32, 32, 151936, 128000),
        mrope_factor=1,
    ),
    Family(
        model_type="seed_oss",
        architectures=("SeedOssForCausalLM",),
        defaults={"attention_bias": True, "head_dim": 128, "num_key_value_heads": 8},
    ),
    Family(
        model_type="granite",
        architectures=("GraniteForCausalLM",),
        sizes=sizes(4096, 11008, 32, 32, 32000, 2048),
    ),
    Family(model_type="phi3", architectures=("Phi3ForCausalLM",), qkv_bias=False, window="all"),
    Family(
        model_type="phi",
        architectures=("PhiForCausalLM",),
        defaults={"partial_rotary_factor": 0.5},
        qkv_bias=True,
        gated=False,
        norms=2,  # one norm before attention and feed-forward alike, which has a bias
    ),
    Family(
        model_type="gemma",
        architectures=("GemmaForCausalLM",),
        defaults={"head_dim": 256, "tie_word_embeddings": True},
    ),
    Family(
        model_type="gemma2",
        architectures=("Gemma2ForCausalLM",),
        defaults={"head_dim": 256, "tie_word_embeddings": True, "num_key_value_heads": 4, "sliding_window": 4096},
        norms=4,
        window="pattern",
        pattern=2,
    ),
    Family(
        model_type="gemma3_text",
        architectures=("Gemma3ForCausalLM",),
        defaults={
            **sizes(2304, 9216, 26, 8, 262208, 131072),
            "num_key_value_heads": 4,
            "head_dim": 256,
            "tie_word_embeddings": True,
            "sliding_window": 4096,
        },
        norms=4,
        window="pattern",
        pattern=6,
        two_rotary_caches=True,
    ),
    Family(
        model_type="olmo2",
        architectures=("Olmo2ForCausalLM",),
        norms=4,  # query and key are normalised over all heads together, nearly the hidden size
    ),
    Family(
        model_type="starcoder2",
        architectures=("Starcoder2ForCausalLM",),
        defaults={"use_bias": True, "num_key_value_heads": 2, "tie_word_embeddings": True},
        qkv_bias="use_bias",
        gated=False,
        norms=4,  # two, with biases
        window="all",
    ),
    Family(
        model_type="glm4",
        architectures=("Glm4ForCausalLM",),
        defaults={
            "attention_bias": True,
            "head_dim": 128,
            "num_key_value_heads": 2,
            "partial_rotary_factor": 0.5,
        },
        norms=4,
    ),
    Family(
        model_type="cohere",
        architectures=("CohereForCausalLM",),
        defaults={"tie_word_embeddings": True},
        norms=1,
    ),
    Family(
        model_type="cohere2",
        architectures=("Cohere2ForCausalLM",),
        defaults={"tie_word_embeddings": True, "sliding_window": 4096},
        norms=1,
        window="pattern",
        pattern=4,
    ),
    Family(
        model_type="smollm3",
        architectures=("SmolLM3ForCausalLM",),
        defaults={"num_key_value_heads": 4, "tie_word_embeddings": True},
    ),
    Family(
        model_type="exaone4",
        architectures=("Exaone4ForCausalLM",),
        defaults={"sliding_window": 4096},
        qkv_bias=False,
        window="pattern",
        pattern=4,
    ),
)
