"""What an inventory demands, judged before any host is seen: models, variants, versions, options, GPUs by name."""

from __future__ import annotations

import hashlib
import json

from hermeion.engines import ENGINES
from hermeion.engines.protocol import Engine
from hermeion.errors import InventoryError
from hermeion.gpu_names import find_gpu_set
from hermeion.inventory import HostSpec, ServiceSpec
from hermeion.variants import Catalog, Variant, merge_catalog

OUR_OPTIONS = frozenset(
    {
        "api-key",
        "config",
        "gpu-memory-utilization",
        "host",
        "kv-cache-dtype",
        "kv-cache-memory-bytes",
        "max-model-len",
        "max-num-batched-tokens",
        "max-num-seqs",
        "model",
        "pipeline-parallel-size",
        "port",
        "revision",
        "served-model-name",
        "tensor-parallel-size",
        "trust-remote-code",
    }
)
"""Options that ``extra_args`` may not set: what the plan decides (context, sequences, GPUs …), and remote code."""


def find_variants(host: str, spec: ServiceSpec, catalog: Catalog) -> tuple[Variant, ...]:
    """The variants that a service may use. None for an own model whose files have not been read yet.

    Raises:
        InventoryError: The model or variant is in no catalogue; the known names are listed.
    """
    if spec.model not in catalog:
        raise InventoryError(
            f"{host}: hermes_services/{spec.name}/model: {spec.model!r} is in no catalogue. "
            f"Known: {', '.join(sorted(catalog))}. Own models go into hermes_catalog."
        )
    variants = catalog[spec.model]
    if spec.variant == "auto":
        return tuple(v for v in variants if not v.only_by_name)
    if not variants:
        return variants
    chosen = tuple(v for v in variants if spec.variant in {v.name, v.precision})
    if not chosen:
        raise InventoryError(
            f"{host}: hermes_services/{spec.name}/variant: {spec.model} has no variant {spec.variant!r}. "
            f"Known: {', '.join(v.name for v in variants)}."
        )
    return chosen


def _engine(spec: ServiceSpec) -> Engine:
    return ENGINES["vllm" if spec.engine == "auto" else spec.engine]


def _check_service(path: str, service: ServiceSpec) -> None:
    engine, version = _engine(service), service.engine_version
    if version and version not in engine.VERSIONS:
        raise InventoryError(
            f"{path}/engine_version: {engine.LABEL} {version} is not one of those that were checked: "
            f"{', '.join(engine.VERSIONS)}."
        )
    ours = sorted(OUR_OPTIONS & {option.lstrip("-").replace("_", "-") for option in service.extra_args})
    if ours:
        raise InventoryError(f"{path}/extra_args: {ours[0]!r} is not for extra_args to set.")
    if service.min_context and service.context != "max" and service.min_context > service.context:
        raise InventoryError(
            f"{path}/min_context: {service.min_context} tokens are more than the wanted context of {service.context}."
        )


def check_inventory(host: str, spec: HostSpec) -> None:
    """What can be judged without having seen the host.

    Raises:
        InventoryError: A model, variant, version, option or GPU model does not exist, or two keys contradict.
    """
    catalog = merge_catalog(spec.hermes_catalog)
    if spec.hermes_gpus:
        try:
            find_gpu_set(spec.hermes_gpus)
        except InventoryError as error:
            raise InventoryError(f"{host}: hermes_gpus: {error}") from error
    for service in spec.hermes_services:
        find_variants(host, service, catalog)
        _check_service(f"{host}: hermes_services/{service.name}", service)


def wanted_hash(spec: ServiceSpec, host: HostSpec) -> str:
    """Hash of everything in the inventory that decides about a service, 12 hexadecimal digits."""
    own = [entry.to_json() for entry in host.hermes_catalog if entry.name == spec.model]
    wanted = [spec.to_json(), own, host.hermes_cache, host.hermes_mirrors.registry]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
