"""What a Hugging Face ``config.json`` says of a model's size: its shape, and the format of its weights."""

from __future__ import annotations

from pydantic import Field

from hermeion.errors import ModelError
from hermeion.model_config.decoder import decoder_shape
from hermeion.model_config.families import DECODERS
from hermeion.model_config.family import Family
from hermeion.model_config.quantisation import read_dtype, read_precision
from hermeion.model_config.refusals import refuse
from hermeion.model_config.values import Settings, read_object
from hermeion.model_config.wrappers import WRAPPERS, text_family, tower_parameters
from hermeion.records import Record
from hermeion.shapes import Shape

DEPRECATED = ("fbgemm_fp8",)
"""Quantisation methods that vLLM from 0.32 on loads only with ``--allow-deprecated-quantization``."""


class ModelConfig(Record):
    """What planning takes from a ``config.json``."""

    shape: Shape
    precision: str = Field(description="Format of the weights: a key of `precisions.PRECISIONS`.")
    dtype: str = Field(description="Number format of what is not quantised: `bfloat16`, `float16`, `float32`.")
    quant_method: str | None = Field(default=None, description="Quantisation method as it is written. None: none.")

    @property
    def deprecated(self) -> bool:
        """Whether vLLM wants to be told that it may load this quantisation."""
        return self.quant_method in DEPRECATED


def _architecture(settings: Settings) -> str:
    names = settings.entries("architectures")
    if not names or not isinstance(names[0], str):
        raise ModelError(
            f"{settings.where} names no architectures, so that the kind of model is unknown. "
            "Name a repository with a Transformers model, or a GGUF file."
        )
    return names[0]


def _is_tied(settings: Settings, text: Settings, family: Family) -> bool:
    """Whether input and output embeddings are one matrix.

    Some wrappers and their ``text_config`` disagree (both ways): then there are two, as there are files of such models.
    """
    told = [own.flag("tie_word_embeddings") for own in (settings, text) if own.has("tie_word_embeddings")]
    return all(told) if told else bool(family.defaults.get("tie_word_embeddings", False))


def parse_config(text: str, where: str) -> ModelConfig:
    """Read a ``config.json``.

    Args:
        text: The file.
        where: The file, as messages shall name it: repository, revision and path.

    Raises:
        ModelError: It is no JSON object, the architecture is unknown or cannot be planned, a key is missing, a value is
            of the wrong type, absurd or contradicts another, or the weights are in a format of unknown size.
    """
    settings = read_object(text, where)
    architecture = _architecture(settings)
    wrapper = WRAPPERS.get(architecture)
    if wrapper:
        # Qwen2-VL writes the decoder's keys beside `vision_config`.
        told = settings.section(wrapper.text_key) or settings
        family = text_family(told, wrapper)
        decoder = told.with_defaults({**family.sizes, **family.defaults})
        shape = decoder_shape(decoder, family).model_copy(update={"tied_embeddings": _is_tied(settings, told, family)})
        shape = shape.model_copy(update={"tower_parameters": tower_parameters(settings, wrapper, shape.hidden)})
    elif architecture in DECODERS:
        family = DECODERS[architecture]
        decoder = settings.with_defaults(family.defaults)
        shape = decoder_shape(decoder, family)
    else:
        raise refuse(architecture, where, (*DECODERS, *WRAPPERS))
    dtype = read_dtype(settings, decoder)
    precision, method = read_precision(settings, decoder, dtype)
    return ModelConfig(
        shape=shape.model_copy(update={"architecture": architecture}),
        precision=precision,
        dtype=dtype,
        quant_method=method,
    )
