"""``hermeion budget`` for llama.cpp and Ollama, which share their memory."""

from __future__ import annotations

from hermeion.budgets.options import BudgetOptions, BudgetReport, check_version, read_kv_precision
from hermeion.engines import llamacpp as engine
from hermeion.engines import ollama
from hermeion.errors import InventoryError
from hermeion.gpu_names import device_of
from hermeion.memory import llamacpp
from hermeion.memory.kv_cache import longest_context
from hermeion.model_config import ModelConfig
from hermeion.plans import MemoryBudget
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Shape
from hermeion.units import MIB
from hermeion.weights import published_bytes

SEARCH_STEP = 256


def _nearest(shape: Shape, size: int) -> str:
    """The GGUF precision whose file would have about this size."""
    ggufs = [precision for precision in PRECISIONS.values() if precision.container == "gguf"]
    return min(ggufs, key=lambda precision: abs(published_bytes(shape, precision) - size)).name


def _precision(shape: Shape, options: BudgetOptions) -> tuple[str, int]:
    """Precision and size of the GGUF file, in bytes; one tells the other."""
    asked = (options.quantization or "").lower()
    ggufs = [name for name, precision in PRECISIONS.items() if precision.container == "gguf"]
    if asked and asked not in ggufs:
        raise InventoryError(f"--quantization: {asked!r} is no GGUF precision. Known: {', '.join(ggufs)}.")
    if options.weights_bytes:
        return asked or _nearest(shape, options.weights_bytes), options.weights_bytes
    if not asked:
        raise InventoryError(
            f"--weights-bytes: {options.engine} reads GGUF files: give the size of the file, or its precision with "
            "--quantization, such as q4_k_m."
        )
    return asked, published_bytes(shape, PRECISIONS[asked])


def make_llamacpp_budget(config: ModelConfig, options: BudgetOptions) -> BudgetReport:
    """One kind of GPU, the layers in equal parts over all of them.

    Raises:
        InventoryError: An option is impossible; the message names it and what works.
    """
    versions = engine.VERSIONS if options.engine == "llamacpp" else ollama.VERSIONS
    remarks = check_version(options, versions)
    shape = config.shape
    device = device_of(options.gpu_total_mib * MIB)
    precision, size = _precision(shape, options)
    if options.tp not in {None, 1}:
        raise InventoryError(f"--tp: {options.engine} splits layers, not matrices. Write --gpus {options.tp}.")
    gpus = options.gpus or options.pp or 1
    if gpus > shape.layers:
        raise InventoryError(f"--gpus: {shape.layers} layers cannot be split over {gpus} GPUs.")
    sequences = options.max_num_seqs or (engine.DEFAULT_SEQUENCES if options.engine == "llamacpp" else 1)
    context = options.max_model_len or shape.max_context
    kv_precision = read_kv_precision(options.kv_cache_dtype, 2)
    settings = llamacpp.Settings(context, sequences, kv_precision)
    cards = [llamacpp.Device(total=device.cuda, free=device.cuda)] * gpus

    def rank_at(tokens: int) -> MemoryBudget:
        return llamacpp.llamacpp_budget(shape, PRECISIONS[precision], size, cards, settings._replace(context=tokens))

    def holds(tokens: int) -> bool:
        return llamacpp.kv_bytes(shape, settings._replace(context=tokens), gpus) <= rank_at(tokens).kv_cache

    rank, longest = rank_at(context), longest_context(shape.max_context, holds, SEARCH_STEP)
    given = {"max_model_len": context, "max_num_seqs": sequences, "gpus": gpus, "engine_version": versions[-1]}
    return BudgetReport(
        engine=options.engine,
        engine_version=options.engine_version or versions[-1],
        device=device,
        precision=precision,
        weights_factor=size / published_bytes(shape, PRECISIONS[precision]),
        ranks=(rank,),
        context=context,
        sequences=sequences,
        batched_tokens=llamacpp.MICRO_BATCH,
        utilisation=1.0,
        tensor_parallel=1,
        pipeline_parallel=gpus,
        kv_precision=kv_precision,
        kv_request_bytes=llamacpp.kv_bytes(shape, settings, gpus),
        kv_cache_bytes=rank.kv_expected,
        kv_cache_tokens=rank.kv_tokens_expected,
        longest_context=longest,
        defaults={key: value for key, value in given.items() if getattr(options, key) is None},
        remarks=remarks,
    )
