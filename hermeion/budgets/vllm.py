"""``hermeion budget`` for vLLM."""

from __future__ import annotations

from hermeion.budgets.options import (
    BudgetOptions,
    BudgetReport,
    read_element,
    read_kv_precision,
    read_parallel,
    read_precision,
    weights_factor,
)
from hermeion.engines.vllm import VERSIONS
from hermeion.errors import InventoryError
from hermeion.gpu_names import device_of
from hermeion.memory import vllm
from hermeion.memory.kv_cache import kv_per_request, longest_context
from hermeion.model_config import ModelConfig
from hermeion.plans import KV_BLOCK
from hermeion.shapes import Shape
from hermeion.units import MIB


def _longest(shape: Shape, settings: vllm.Settings, cache: int, tokens: int) -> int:
    """The longest context of one request, in tokens: more than the cache's tokens with sliding-window layers."""
    if not shape.sliding_layers or settings.pipeline_parallel > 1:
        return min(tokens, shape.max_context)

    def holds(context: int) -> bool:
        request = kv_per_request(
            shape, context, settings.kv_precision, settings.tensor_parallel, settings.batched_tokens
        )
        return request <= cache

    return longest_context(shape.max_context, holds)


def make_vllm_budget(config: ModelConfig, options: BudgetOptions) -> BudgetReport:
    """One kind of GPU.

    Raises:
        InventoryError: An option is impossible; the message names it and what works.
        ModelError: The size of the files and the configuration contradict each other.
    """
    shape = config.shape
    device = device_of(options.gpu_total_mib * MIB)
    is_a100 = device.model is not None and "A100" in device.model.name
    version = vllm.parse_version(options.engine_version or VERSIONS[-1])
    if not version:
        raise InventoryError(f"--engine-version: {options.engine_version!r} is no version. Write it as 0.33.0.")
    tp, pp = read_parallel(shape, options)
    loaded, stored = read_precision(config, options)
    element = read_element(config, options.dtype)
    stored_element = 4 if config.dtype == "float32" else 2
    factor = weights_factor(shape, stored, stored_element, options.weights_bytes)
    batched = options.max_num_batched_tokens or vllm.default_batched_tokens(device.cuda, is_a100=is_a100)
    # An unset number of requests is never more than a step's tokens (arg_utils.py).
    sequences = options.max_num_seqs or min(vllm.default_sequences(device.cuda, is_a100=is_a100), batched)
    context = options.max_model_len or shape.max_context
    settings = vllm.Settings(
        version=version,
        utilisation=options.gpu_memory_utilization or vllm.default_utilisation(version),
        sequences=sequences,
        batched_tokens=batched,
        tensor_parallel=tp,
        pipeline_parallel=pp,
        kv_precision=read_kv_precision(options.kv_cache_dtype, element),
        eager=options.enforce_eager,
        element=element,
    )
    ranks = tuple(
        vllm.vllm_budget(shape, loaded, device.cuda, settings, factor=factor, stage=stage) for stage in range(pp)
    )
    tokens = min(rank.kv_tokens_expected for rank in ranks)
    given = {
        "max_model_len": context,
        "gpu_memory_utilization": settings.utilisation,
        "max_num_seqs": sequences,
        "max_num_batched_tokens": batched,
        "tp": tp,
        "pp": pp,
        "engine_version": options.engine_version or VERSIONS[-1],
    }
    return BudgetReport(
        engine="vllm",
        engine_version=options.engine_version or VERSIONS[-1],
        device=device,
        precision=loaded.name,
        weights_factor=factor,
        ranks=ranks,
        context=context,
        sequences=sequences,
        batched_tokens=batched,
        utilisation=settings.utilisation,
        tensor_parallel=tp,
        pipeline_parallel=pp,
        kv_precision=settings.kv_precision,
        kv_request_bytes=kv_per_request(shape, context, settings.kv_precision, tp, batched),
        kv_cache_bytes=ranks[0].kv_expected,
        kv_cache_tokens=tokens,
        longest_context=_longest(shape, settings, ranks[0].kv_expected, tokens) // KV_BLOCK * KV_BLOCK,
        defaults={key: value for key, value in given.items() if getattr(options, key) is None},
    )
