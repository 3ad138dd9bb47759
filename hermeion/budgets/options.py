"""What ``hermeion budget`` is asked, and how its options are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from hermeion.errors import InventoryError, ModelError
from hermeion.gpu_names import Device
from hermeion.memory.kv_cache import KvPrecision
from hermeion.model_config import ModelConfig
from hermeion.plans import MemoryBudget
from hermeion.precisions import PRECISIONS, Precision
from hermeion.records import Record
from hermeion.shapes import Shape
from hermeion.units import format_bytes
from hermeion.weights import published_bytes

EngineName = Literal["vllm", "sglang", "llamacpp", "ollama"]

KV_DTYPES: Mapping[str, KvPrecision] = {
    "bfloat16": "bf16",
    "bf16": "bf16",
    "fp16": "bf16",
    "float16": "bf16",
    "float32": "fp32",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "f16": "bf16",
    "q8_0": "q8_0",
    "q4_0": "q4_0",
}

IN_FLIGHT = {"fp8": "fp8", "none": None}
"""Quantisation while loading, of a checkpoint that is not quantised itself."""

METHODS = {
    "compressed-tensors": ("fp8", "int8", "gptq", "nvfp4"),
    "modelopt": ("fp8",),
    "modelopt_fp4": ("nvfp4",),
    "fbgemm_fp8": ("fp8",),
    "awq": ("awq",),
    "awq_marlin": ("awq",),
    "gptq": ("gptq", "gptq-8bit"),
    "gptq_marlin": ("gptq", "gptq-8bit"),
    "mxfp4": ("mxfp4",),
}
"""Precisions that a method of vLLM's may stand for, when ``config.json`` does not say."""

CONTRADICTION = 2.0
"""Files this many times larger or smaller than the shape says are another model's."""


class BudgetOptions(Record):
    """What ``hermeion budget`` was asked. ``None``: the engine version's own default for the card."""

    gpu_total_mib: int = Field(gt=0, le=10_000_000)
    gpus: int | None = Field(default=None, ge=1, le=1024)
    tp: int | None = Field(default=None, ge=1, le=1024)
    pp: int | None = Field(default=None, ge=1, le=1024)
    engine: EngineName = "vllm"
    engine_version: str | None = None
    weights_bytes: int | None = Field(default=None, gt=0)
    max_model_len: int | None = Field(default=None, ge=1, le=100_000_000)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    max_num_seqs: int | None = Field(default=None, ge=1, le=65536)
    max_num_batched_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    kv_cache_dtype: str = "auto"
    quantization: str | None = None
    dtype: str = "auto"
    enforce_eager: bool = False


class BudgetReport(Record):
    """The answer.

    Attributes:
        ranks: Memory of one GPU of each pipeline stage.
        kv_cache_bytes: KV cache on a GPU of the first stage, as the engine is expected to print it: without a margin.
        kv_cache_tokens: Tokens that all stages can hold.
        defaults: Options that were not given, with the value taken.
        remarks: What a person should know about the figures, a sentence each.
    """

    engine: str
    engine_version: str
    device: Device
    precision: str
    weights_factor: float
    ranks: tuple[MemoryBudget, ...]
    context: int
    sequences: int
    batched_tokens: int
    utilisation: float
    tensor_parallel: int
    pipeline_parallel: int
    kv_precision: str
    kv_request_bytes: int
    kv_cache_bytes: int
    kv_cache_tokens: int
    longest_context: int
    defaults: dict[str, str | int | float | bool]
    remarks: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the engine is expected to start with this context."""
        return self.kv_cache_bytes > 0 and self.longest_context >= self.context


def read_precision(config: ModelConfig, options: BudgetOptions) -> tuple[Precision, Precision]:
    """The precision in which weights are loaded, and that of their files."""
    stored = PRECISIONS[config.precision]
    asked = (options.quantization or "none").lower()
    if asked in {"none", "auto"} or config.quant_method:
        return stored, stored
    if asked in IN_FLIGHT:
        return PRECISIONS[str(IN_FLIGHT[asked])], stored
    if asked in METHODS:
        # config.json does not say: the precision whose files would have the size that was given, else the first.
        choices = [PRECISIONS[name] for name in METHODS[asked]]
        if options.weights_bytes is None:
            return choices[0], choices[0]
        size = options.weights_bytes
        best = min(choices, key=lambda choice: abs(published_bytes(config.shape, choice) - size))
        return best, best
    if asked in PRECISIONS:
        return PRECISIONS[asked], PRECISIONS[asked]
    known = ", ".join(sorted({*IN_FLIGHT, *METHODS, *PRECISIONS}))
    raise InventoryError(f"--quantization: {asked!r} is not known. Known: {known}.")


def read_element(config: ModelConfig, dtype: str) -> int:
    """Bytes of an unquantised weight as it is loaded."""
    names = {"float": "float32", "half": "float16", "auto": config.dtype}
    name = names.get(dtype, dtype)
    if name not in {"bfloat16", "float16", "float32"}:
        raise InventoryError(f"--dtype: {dtype!r} is not known. Known: auto, bfloat16, float16, float32.")
    if dtype == "auto" and name == "float32":
        return 2  # vLLM loads a float32 checkpoint in 16 bits unless told otherwise
    return 4 if name == "float32" else 2


def read_parallel(shape: Shape, options: BudgetOptions) -> tuple[int, int]:
    """Tensor-parallel and pipeline-parallel size; what is not given follows from the number of GPUs."""
    pp = options.pp or 1
    tp = options.tp or max(1, (options.gpus or pp) // pp)
    sizes = shape.tensor_parallel_sizes()
    if tp not in sizes:
        raise InventoryError(
            f"--tp: {shape.heads} attention heads and {shape.kv_heads} KV heads cannot be split over {tp} GPUs. "
            f"Sizes that work: {', '.join(map(str, sizes))}."
        )
    if pp > shape.layers:
        raise InventoryError(f"--pp: {shape.layers} layers cannot be a pipeline of {pp} stages.")
    if options.gpus is not None and options.gpus < tp * pp:
        raise InventoryError(f"--gpus: --tp {tp} × --pp {pp} need {tp * pp} GPUs, and there are {options.gpus}.")
    return tp, pp


def check_version(options: BudgetOptions, known: tuple[str, ...]) -> tuple[str, ...]:
    """See that the version that was asked for is known; the figures are those of the newest.

    Returns:
        A remark where it is an older one.

    Raises:
        InventoryError: It is not known.
    """
    version = (options.engine_version or known[-1]).removeprefix("v")
    if version not in known:
        span = known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"
        raise InventoryError(
            f"--engine-version: {options.engine} {options.engine_version} was not read. Known: {span}."
        )
    if version == known[-1]:
        return ()
    return (f"the arithmetic is that of {options.engine} {known[-1]}; that of {version} was not read",)


def weights_factor(shape: Shape, stored: Precision, element: int, size: int | None) -> float:
    """Real size of the files over the one that follows from the shape.

    Raises:
        ModelError: They contradict each other; both sides are shown.
    """
    if size is None:
        return 1.0
    computed = published_bytes(shape, stored, element)
    if not computed / CONTRADICTION <= size <= computed * CONTRADICTION:
        raise ModelError(
            f"the weights have {format_bytes(size)} and config.json describes {format_bytes(computed)} in "
            f"{stored.name}: they are not of one model. Check both, and --quantization."
        )
    return size / computed


def read_kv_precision(dtype: str, element: int) -> KvPrecision:
    """Precision of the KV cache; ``auto`` is that of the model."""
    if dtype == "auto":
        return "fp32" if element == 4 else "bf16"
    if dtype not in KV_DTYPES:
        raise InventoryError(f"--kv-cache-dtype: {dtype!r} is not known. Known: auto, {', '.join(sorted(KV_DTYPES))}.")
    return KV_DTYPES[dtype]
