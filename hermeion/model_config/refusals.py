"""Why a class of models cannot be planned."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from hermeion.errors import ModelError

# By how class names begin. Sources: Transformers' model list, `registry.py` of vLLM 0.33.
RECURRENT = (
    "Bamba",
    "BailingMoeLinear",
    "BailingMoeV2_5",
    "FalconH1",
    "FalconMamba",
    "GraniteMoeHybrid",
    "Jamba",
    "KimiLinear",
    "Lfm2",
    "Mamba",
    "MiniMaxM1",
    "MiniMaxText01",
    "NemotronH",
    "OlmoHybrid",
    "Plamo2",
    "Qwen3Next",
    "Qwen3_5",
    "RecurrentGemma",
    "Rwkv",
    "RWKV",
    "Zamba",
    "xLSTM",
)
ENCODER_DECODERS = ("Bart", "MBart", "MT5", "Marian", "Pegasus", "T5", "UMT5", "Whisper")
ENCODERS = (
    "Albert",
    "Bert",
    "CLIP",
    "Camembert",
    "Deberta",
    "DistilBert",
    "Electra",
    "GteModel",
    "MPNet",
    "ModernBert",
    "NewModel",
    "NomicBert",
    "Roberta",
    "Siglip",
    "ViT",
    "XLMRoberta",
)
NO_TEXT = (
    "EmbeddingModel",
    "ForMaskedLM",
    "ForQuestionAnswering",
    "ForRewardModel",
    "ForSequenceClassification",
    "ForTokenClassification",
)
"""Endings of classes that read text and write none."""


def refuse(architecture: str, where: str, known: Iterable[str]) -> ModelError:
    """Why, and what to name instead."""
    decoder = "Name a decoder-only model, whose class ends in ForCausalLM or ForConditionalGeneration."
    if architecture.startswith(RECURRENT):
        return ModelError(
            f"{where}: {architecture} has state-space or linear-attention layers, whose memory does not grow with the "
            "context as a KV cache does and cannot be planned. Name a model whose layers are all attention."
        )
    if architecture.startswith(ENCODER_DECODERS):
        return ModelError(f"{where}: {architecture} is an encoder-decoder and not decoder-only. {decoder}")
    if architecture.startswith(ENCODERS) or architecture.endswith(NO_TEXT):
        return ModelError(f"{where}: {architecture} reads text and generates none. {decoder}")
    names = sorted(known)
    near = get_close_matches(architecture, names, n=1)
    nearest = f" The nearest known one is {near[0]}." if near else ""
    return ModelError(
        f"{where}: the architecture {architecture} is not known.{nearest} Name a model of one of: {', '.join(names)}."
    )
