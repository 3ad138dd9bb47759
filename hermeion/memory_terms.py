"""Each part of a GPU's memory in one sentence: what it is, and how its bytes were worked out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hermeion.engines import ENGINES
from hermeion.plans import Service
from hermeion.records import Record
from hermeion.units import format_bytes


class Term(Record):
    """A part of a GPU's memory.

    Attributes:
        letter: Stands for it in a picture.
        meaning: What it is and how it was worked out, in one sentence.
    """

    name: str
    letter: str
    bytes: int
    meaning: str


LETTERS: Mapping[str, str] = {
    "weights": "W",
    "scales": "s",
    "rotary cache": "r",
    "activations": "a",
    "non-torch": "t",
    "NCCL": "n",
    "CUDA graphs": "g",
    "KV cache": "K",
    "margin": "m",
    "left alone": ".",
}


def divides_cache(service: Service) -> bool:
    """Whether its engine makes a KV cache of the planned size; the others fill what is left."""
    return service.engine in ENGINES and ENGINES[service.engine].DIVIDES_CACHE


def _split(service: Service) -> str:
    if divides_cache(service) and service.pipeline_parallel > 1:
        return f": the layers of the fullest of {service.pipeline_parallel} GPUs"
    ways = []
    if service.tensor_parallel > 1:
        ways.append(f"each layer split over {service.tensor_parallel} GPUs")
    if service.pipeline_parallel > 1:
        ways.append(f"the layers of the fullest of {service.pipeline_parallel} pipeline stages")
    return ": " + ", ".join(ways) if ways else ", whole on this GPU"


def _weights(service: Service) -> str:
    return f"The {service.precision} weights ({format_bytes(service.weights_bytes)} of files){_split(service)}."


def _scales(service: Service) -> str:
    return f"Scales and zero points that lie beside the {service.precision} weights, by the format's group size."


def _activations(service: Service) -> str:
    if service.engine == "vllm":
        batched = service.config.get("max-num-batched-tokens")
        tokens = f"{batched} tokens" if batched else "tokens"
        return (
            f"The larger of two peaks: one batch of {tokens} in the widest layer, and the sampler over the logits of "
            f"{service.sequences} requests at once."
        )
    return "The engine's compute buffers for one batch, from its own settings and the model's widths."


def _nccl(service: Service) -> str:
    return f"Buffers through which {len(service.gpus)} GPUs exchange results: a constant from start-up logs."


def _kv_cache(service: Service) -> str:
    memory = service.memory
    text = (
        f"Keys and values of the tokens in work: the {format_bytes(memory.usable)} that the engine may use, less "
        f"everything above and the margin; a token takes {format_bytes(memory.kv_per_token)} in {service.kv_precision}"
    )
    if divides_cache(service):
        return f"{text}. The engine takes what {service.kv_tokens} tokens need."
    return f"{text}."


def _margin(service: Service) -> str:
    share = f"{service.memory.margin / service.memory.device:.1%} of the GPU"
    if divides_cache(service):
        return f"What llama.cpp leaves free on each GPU if nobody says, {share}: it covers errors of this estimate."
    return f"Kept against errors of this estimate, {share}; what is not needed becomes KV cache."


def _non_torch(service: Service) -> str:
    basis = "that was not calibrated" if divides_cache(service) else "from start-up logs"
    return f"CUDA's context and libraries, outside what the engine allocates itself: a constant {basis}."


def _idle(service: Service) -> str:
    share = service.memory.usable / service.memory.device
    if service.engine == "sglang":
        return (
            f"What SGLang reserves by its own rule and does not measure (activations, CUDA graphs, NCCL): it may use "
            f"{share:.1%} of what CUDA sees."
        )
    return f"What the engine does not touch: it may use {share:.1%} of what CUDA sees."


MEANINGS: Mapping[str, str | Callable[[Service], str]] = {
    "weights": _weights,
    "scales": _scales,
    "rotary cache": "Sines and cosines of every position the model was made for, kept by the engine whatever the "
    "context is: not part of the files.",
    "activations": _activations,
    "non-torch": _non_torch,
    "NCCL": _nccl,
    "CUDA graphs": "Recorded CUDA graphs, so much a layer: the engine sets them aside before it sizes the KV cache.",
    "KV cache": _kv_cache,
    "margin": _margin,
    "left alone": _idle,
}


def meaning_of(name: str, service: Service) -> str:
    """What a part is, and how its bytes were worked out, in one sentence."""
    meaning = MEANINGS[name]
    return meaning if isinstance(meaning, str) else meaning(service)


def terms_of(service: Service) -> tuple[Term, ...]:
    """The parts that are there, in the order of a picture; they add up to what CUDA sees of the GPU."""
    return tuple(
        Term(name=name, letter=LETTERS[name], bytes=size, meaning=meaning_of(name, service))
        for name, size in service.memory.terms.items()
        if size
    )
