"""What an inventory demands, judged before any host is seen: models, variants, versions, options, GPUs by name."""

from __future__ import annotations

import hashlib
import json

from hermeion.engines.options import check_options
from hermeion.engines.protocol import Engine
from hermeion.errors import InventoryError
from hermeion.gpu_names import find_gpu_set
from hermeion.inventory import HostSpec, ServiceSpec
from hermeion.rounds import engine_meant
from hermeion.variants import Catalog, Variant, merge_catalog


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


def _check_runtime(path: str, service: ServiceSpec, engine: Engine) -> None:
    container, venv, archive = service.runtime == "compose", engine.NATIVE == "venv", engine.NATIVE == "archive"
    if service.image and not container:
        raise InventoryError(f"{path}/image: is for runtime 'compose'; this service runs natively.")
    if service.requirements and (container or not venv):
        reason = "runtime 'systemd'" if container else "vLLM and SGLang"
        raise InventoryError(f"{path}/requirements: is for {reason}.")
    if service.archive and (container or not archive):
        reason = "runtime 'systemd'" if container else "llama.cpp and Ollama"
        raise InventoryError(f"{path}/archive: is for {reason}.")


def _check_service(path: str, service: ServiceSpec, *, gguf: bool) -> None:
    engine = engine_meant(service, gguf=gguf)
    check_options(path, service, engine)
    _check_runtime(path, service, engine)
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
        variants = find_variants(host, service, catalog)
        files = {entry.name for entry in spec.hermes_catalog if entry.file}
        gguf = service.model in files or (
            bool(variants) and all(variant.format.container == "gguf" for variant in variants)
        )
        _check_service(f"{host}: hermes_services/{service.name}", service, gguf=gguf)


def wanted_hash(spec: ServiceSpec, host: HostSpec, lock: str | None = None) -> str:
    """Hash of everything in the inventory that decides about a service, 12 hexadecimal digits.

    Args:
        lock: Text of the file that the service's ``requirements`` names, or ``None``.
    """
    # A key that an entry does not have leaves the hash as it was before there was such a key.
    own = [
        {key: value for key, value in entry.to_json().items() if key != "source" or value}
        for entry in host.hermes_catalog
        if entry.name == spec.model
    ]
    # Where the file lies is nobody's business: what is in it decides.
    asked = {**spec.to_json(), "requirements": lock}
    wanted = [asked, own, host.hermes_cache, host.hermes_mirrors.registry]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
