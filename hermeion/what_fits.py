"""What runs on a set of GPUs that nobody has to own yet: the planner, asked without a host."""

from __future__ import annotations

from hermeion.engines import ENGINES
from hermeion.engines.protocol import Engine
from hermeion.forecasts import decode_ceiling
from hermeion.gpu_names import parse_gpu_set
from hermeion.gpus import GpuModel
from hermeion.hosts import Host, gpus_of
from hermeion.inventory import ServiceSpec
from hermeion.records import Record
from hermeion.search import Search
from hermeion.variants import Catalog, Variant


class Fit(Record):
    """One variant on a set of GPUs.

    Attributes:
        engine: Engine that would serve it.
        gpus: GPUs it takes, or 0 when it does not fit.
        context: Tokens of context, or 0.
        sequences: Requests at the same time, or 0: vLLM shares its cache among them, llama.cpp divides it.
        kv_tokens: Tokens that the KV cache is promised to hold, the margin kept, or 0.
        kv_tokens_expected: Tokens that the engine is expected to print, or 0.
        fp8_context: Tokens of context with an FP8 KV cache, or 0: the GPUs or the engine have none.
        tokens_per_second: Ceiling of one request's decoding: every weight is read once a token. An estimate.
        native: Whether the GPUs compute in its precision, and do not only store it.
        reason: Why it does not fit, or ``""``.
        needed: Bytes on each GPU that it needs for the least of contexts, where memory is the reason.
        available: Bytes on each GPU that there are.
    """

    model: str
    variant: str
    precision: str
    engine: str
    bytes: int
    gpus: int = 0
    tensor_parallel: int = 0
    pipeline_parallel: int = 0
    context: int = 0
    sequences: int = 0
    kv_tokens: int = 0
    kv_tokens_expected: int = 0
    fp8_context: int = 0
    tokens_per_second: int = 0
    native: bool = True
    reason: str = ""
    needed: int | None = None
    available: int | None = None


def _host(model: GpuModel, count: int) -> Host:
    return Host(name=f"{count} × {model.name}", gpus=gpus_of(model, count), nvswitch=False)


def engine_for(variant: Variant) -> Engine:
    """The engine that the table shows a variant with: vLLM, and llama.cpp for GGUF."""
    return ENGINES["llamacpp" if variant.format.container == "gguf" else "vllm"]


def _spec(variant: Variant, engine: Engine, context: int | None, **changes: object) -> ServiceSpec:
    wanted = {"name": "fits", "model": variant.model, "engine": engine.NAME, "context": context or "max"}
    return ServiceSpec.model_validate(wanted | changes)


def _fp8_context(variant: Variant, host: Host, engine: Engine, context: int | None) -> int:
    if "fp8" not in engine.kv_precisions(host.gpus):
        return 0
    spec = _spec(variant, engine, context, kv_precision="fp8")
    found = Search(spec, host, host.gpus).best([(engine, variant)])
    return found.context if found else 0


def _fit(variant: Variant, model: GpuModel, count: int, context: int | None) -> Fit:
    engine = engine_for(variant)
    host = _host(model, count)
    known = {
        "model": variant.model,
        "variant": variant.name,
        "precision": variant.precision,
        "engine": engine.NAME,
        "bytes": variant.bytes,
        "native": engine.is_native(variant, host.gpus),
    }
    search = Search(_spec(variant, engine, context), host, host.gpus)
    chosen = search.best([(engine, variant)])
    if chosen is None:
        tried = list(search.rejections.values())
        # The option that came closest; what was not a matter of bytes is the same for all of them.
        closest = min(tried, key=lambda r: (r.needed or 0) - (r.available or 0))
        return Fit(**known, reason=closest.reason, needed=closest.needed, available=closest.available)
    ceiling = decode_ceiling(
        chosen.memory, variant.shape, model.bandwidth, chosen.layout.pipeline_parallel, variant.bytes
    )
    tokens = chosen.memory.kv_tokens
    return Fit(
        **known,
        gpus=len(chosen.gpus),
        tensor_parallel=chosen.layout.tensor_parallel,
        pipeline_parallel=chosen.layout.pipeline_parallel,
        context=chosen.context,
        sequences=chosen.sequences,
        kv_tokens=tokens,
        kv_tokens_expected=chosen.memory.kv_tokens_expected,
        fp8_context=_fp8_context(variant, host, engine, context),
        tokens_per_second=int(ceiling.value) if ceiling else 0,
    )


def what_fits(catalog: Catalog, gpu_set: str, context: int | None = None) -> tuple[GpuModel, int, tuple[Fit, ...]]:
    """Every variant of the catalogue on a set of GPUs, with as few of them as serve the context.

    Args:
        context: Wanted tokens of context, or ``None``: as much as fits.

    Raises:
        InventoryError: ``gpu_set`` is not a set of known GPUs.
    """
    model, count = parse_gpu_set(gpu_set)
    return model, count, tuple(_fit(v, model, count, context) for variants in catalog.values() for v in variants)
