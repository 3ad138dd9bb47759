"""``hermeion budget`` for SGLang."""

from __future__ import annotations

from hermeion.budgets.options import (
    BudgetOptions,
    BudgetReport,
    check_version,
    read_kv_precision,
    read_parallel,
    read_precision,
    weights_factor,
)
from hermeion.engines.sglang import VERSIONS
from hermeion.gpu_names import device_of
from hermeion.memory import sglang
from hermeion.model_config import ModelConfig
from hermeion.units import MIB


def make_sglang_budget(config: ModelConfig, options: BudgetOptions) -> BudgetReport:
    """One kind of GPU. ``--gpu-memory-utilization`` stands for ``--mem-fraction-static``.

    Raises:
        InventoryError: An option is impossible; the message names it and what works.
        ModelError: The size of the files and the configuration contradict each other.
    """
    remarks = check_version(options, VERSIONS)
    shape = config.shape
    device = device_of(options.gpu_total_mib * MIB)
    total = device.model.memory if device.model else options.gpu_total_mib * MIB
    tp, pp = read_parallel(shape, options)
    loaded, stored = read_precision(config, options)
    factor = weights_factor(shape, stored, 4 if config.dtype == "float32" else 2, options.weights_bytes)
    settings = sglang.default_settings(total, tp, pp, read_kv_precision(options.kv_cache_dtype, 2))
    settings = settings._replace(
        chunked_prefill=options.max_num_batched_tokens or settings.chunked_prefill,
        max_decode_batch=options.max_num_seqs or settings.max_decode_batch,
    )
    share = options.gpu_memory_utilization or sglang.static_fraction(shape, settings)
    usable = int(sglang.free_before_loading(device.cuda, settings) * share)
    ranks = tuple(
        budget.model_copy(
            update={
                "usable": usable,
                "weights": round(budget.weights * factor),
                "scales": round(budget.scales * factor),
            }
        )
        for stage in range(pp)
        for budget in [sglang.sglang_budget(shape, loaded, device.cuda, settings, stage=stage)]
    )
    tokens = min(rank.kv_tokens_expected for rank in ranks)
    context = options.max_model_len or shape.max_context
    given = {
        "max_model_len": context,
        "gpu_memory_utilization": share,
        "max_num_seqs": settings.max_decode_batch,
        "max_num_batched_tokens": settings.chunked_prefill,
        "tp": tp,
        "pp": pp,
        "engine_version": VERSIONS[-1],
    }
    return BudgetReport(
        engine="sglang",
        engine_version=options.engine_version or VERSIONS[-1],
        device=device,
        precision=loaded.name,
        weights_factor=factor,
        ranks=ranks,
        context=context,
        sequences=settings.max_decode_batch,
        batched_tokens=settings.chunked_prefill,
        utilisation=share,
        tensor_parallel=tp,
        pipeline_parallel=pp,
        kv_precision=settings.kv_precision,
        kv_request_bytes=context * max(rank.kv_per_token for rank in ranks),
        kv_cache_bytes=ranks[0].kv_expected,
        kv_cache_tokens=tokens,
        longest_context=min(tokens, shape.max_context),
        defaults={key: value for key, value in given.items() if getattr(options, key) is None},
        remarks=remarks,
    )
