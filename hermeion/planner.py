"""From what is wanted and what is there to a plan. Pure: no clock, environment, network or random."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from hermeion.drivers import decide_driver
from hermeion.engines import vllm
from hermeion.errors import InventoryError, PlacementError
from hermeion.hosts import Gpu, reconcile
from hermeion.images import parse_image
from hermeion.inventory import HostSpec, ServiceSpec
from hermeion.placement import Candidate, place
from hermeion.plans import Image, Plan, PlannedGpu, Rejection, Service
from hermeion.probe import Probe
from hermeion.variants import Catalog, Variant, merge_catalog

OUR_OPTIONS = frozenset(
    {
        "api-key",
        "config",
        "gpu-memory-utilization",
        "host",
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
    """The variants that a service may use.

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
        return variants
    chosen = tuple(v for v in variants if spec.variant in {v.name, v.precision})
    if not chosen:
        raise InventoryError(
            f"{host}: hermes_services/{spec.name}/variant: {spec.model} has no variant {spec.variant!r}. "
            f"Known: {', '.join(v.name for v in variants)}."
        )
    return chosen


def check_inventory(host: str, spec: HostSpec) -> None:
    """What can be judged without having seen the host.

    Raises:
        InventoryError: A model, variant, version or option does not exist.
    """
    catalog = merge_catalog(spec.hermes_catalog)
    for service in spec.hermes_services:
        find_variants(host, service, catalog)
        path = f"{host}: hermes_services/{service.name}"
        version = service.engine_version
        if version and version not in vllm.VERSIONS:
            raise InventoryError(
                f"{path}/engine_version: vLLM {version} is not one of those that were checked: "
                f"{', '.join(vllm.VERSIONS)}."
            )
        ours = sorted(OUR_OPTIONS & {option.lstrip("-").replace("_", "-") for option in service.extra_args})
        if ours:
            raise InventoryError(f"{path}/extra_args: {ours[0]!r} is not for extra_args to set.")


def _current(probe: Probe, name: str) -> Service | None:
    if name not in probe.releases:
        return None
    try:
        return Service.model_validate(probe.releases[name][1])
    except ValidationError:
        return None  # written by another version of Hermeion: planned anew


def wanted_hash(spec: ServiceSpec, host: HostSpec) -> str:
    """Hash of everything in the inventory that decides about a service, 12 hexadecimal digits."""
    own = [entry.to_json() for entry in host.hermes_catalog if entry.name == spec.model]
    wanted = [spec.to_json(), own, host.hermes_cache, host.hermes_mirrors.registry]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]


def _still_wanted(current: Service, spec: ServiceSpec, host: HostSpec, free: Sequence[Gpu]) -> bool:
    """Whether the release that runs is what is wanted, and its GPUs are here: then it stays, whatever else moved."""
    here = {(gpu.pci_address, gpu.uuid) for gpu in free}
    return current.wanted == wanted_hash(spec, host) and {(gpu.pci_address, gpu.uuid) for gpu in current.gpus} <= here


def _image(spec: ServiceSpec, host: HostSpec, version: str, current: Service | None) -> Image:
    image = parse_image(spec.image or vllm.IMAGE.format(version=version), host.hermes_mirrors.registry)
    if current and not image.digest and not host.hermes_refresh:
        known = current.image
        if (known.name, known.tag) == (image.name, image.tag):
            return known
    return image


def _service(spec: ServiceSpec, host: HostSpec, name: str, chosen: Candidate, current: Service | None) -> Service:
    variant = chosen.variant
    revision = variant.revision
    if not revision and current and current.repo == variant.repo and not host.hermes_refresh:
        revision = current.revision
    version = spec.engine_version or vllm.VERSIONS[-1]
    seconds = vllm.start_seconds(variant.bytes)
    served_names = tuple(dict.fromkeys((spec.name, variant.repo)))
    return Service(
        name=spec.name,
        host=name,
        wanted=wanted_hash(spec, host),
        model=spec.model,
        variant=variant.name,
        repo=variant.repo,
        revision=revision,
        precision=variant.precision,
        weights_bytes=variant.bytes,
        engine=vllm.NAME,
        engine_version=version,
        image=_image(spec, host, version, current),
        gpus=tuple(
            PlannedGpu(pci_address=g.pci_address, uuid=g.uuid, model=g.model, memory=g.memory) for g in chosen.gpus
        ),
        context=chosen.context,
        sequences=chosen.sequences,
        kv_tokens=min(chosen.context * chosen.sequences, chosen.memory.kv_tokens),
        memory=chosen.memory,
        port=spec.port,
        served_names=served_names,
        thinking=spec.thinking,
        cache=host.hermes_cache,
        config=vllm.config(
            spec,
            variant,
            revision=revision,
            gpus=chosen.gpus,
            context=chosen.context,
            sequences=chosen.sequences,
            served_names=served_names,
        ),
        environment=vllm.environment(seconds),
        start_seconds=seconds,
    )


def make_plan(name: str, spec: HostSpec, probe: Probe) -> Plan:
    """Decide everything about one host.

    Raises:
        PlacementError: Something wanted fits nowhere, or the host is in a state that must not be changed.
        InventoryError: A wanted model or variant does not exist.
    """
    catalog: Mapping[str, tuple[Variant, ...]] = merge_catalog(spec.hermes_catalog)
    if not probe.is_root:
        raise PlacementError(f"{name}: needs root. Log in as root, or set _sudo = True in the inventory.")
    if "systemctl" not in probe.tools:
        raise PlacementError(f"{name}: systemd is not running here; services are systemd units.")
    if probe.broken_packages:
        first = probe.broken_packages[0]
        raise PlacementError(
            f"{name}: dpkg left {', '.join(probe.broken_packages)} half-configured, and every apt call fails "
            f"until that is repaired: apt-get purge {first}, or dpkg --configure -a; then run again."
        )
    host = reconcile(name, probe)
    if not host.gpus:
        raise PlacementError(
            f"{name}: no NVIDIA GPU on the PCI bus. Take the host out of the inventory, or look whether the "
            "card is seated and not passed through to a guest (lspci -nn -d 10de:)."
        )
    driver = decide_driver(spec.hermes_driver, host, probe, vllm.MIN_DRIVER)
    free = list(host.gpus)
    services: list[Service] = []
    rejections: list[Rejection] = []
    for wanted in spec.hermes_services:
        current = _current(probe, wanted.name)
        if current and not spec.hermes_refresh and _still_wanted(current, wanted, spec, free):
            services.append(current)
        else:
            later = spec.hermes_services[len(services) + 1 :]
            chosen, refused = place(wanted, host, free, find_variants(name, wanted, catalog), current, later)
            rejections += refused
            services.append(_service(wanted, spec, name, chosen, current))
        taken = {gpu.pci_address for gpu in services[-1].gpus}
        free = [gpu for gpu in free if gpu.pci_address not in taken]
    return Plan(host=name, driver=driver, services=tuple(services), rejections=tuple(rejections))
