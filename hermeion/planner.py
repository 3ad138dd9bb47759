"""From what is wanted and what is there to a plan. Pure: no clock, environment, network or random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pydantic import ValidationError

from hermeion.candidates import Candidate
from hermeion.demands import find_variants, wanted_hash
from hermeion.drivers import decide_driver, needs_of
from hermeion.drivers.case import Case
from hermeion.drivers.platforms import check_platform
from hermeion.engines import ENGINES
from hermeion.engines.places import find_places
from hermeion.engines.protocol import Engine, Setup
from hermeion.errors import PlacementError
from hermeion.gpu_names import find_gpu_set
from hermeion.hosts import Gpu, Host, reconcile
from hermeion.images import parse_image
from hermeion.inventory import HostSpec, ServiceSpec
from hermeion.packages import plan_package
from hermeion.placement import place
from hermeion.plans import DriverPlan, Image, Plan, PlannedGpu, Rejection, Service
from hermeion.probe import Probe
from hermeion.runtime import gpu_access
from hermeion.variants import ModelFacts, Variant, merge_catalog


def _check_declared(spec: HostSpec, host: Host) -> None:
    """The GPUs that the inventory declares are those that are found, or a refusal that shows both sides."""
    if not spec.hermes_gpus:
        return
    models, count = find_gpu_set(spec.hermes_gpus)
    names = {model.name for model in models}
    everything = [gpu.model for gpu in host.gpus] + [gpu.model for gpu in host.unusable]
    there = sum(1 for model in everything if model in names)
    if there == count == len(everything):
        return
    found = ", ".join(f"{everything.count(model)} × {model}" for model in sorted(set(everything))) or "none"
    raise PlacementError(
        f"{host.name}: hermes_gpus declares {spec.hermes_gpus}, found are {found}. Look for a card that is missing "
        "(lspci -nn -d 10de:), or correct hermes_gpus."
    )


def _current(probe: Probe, name: str) -> Service | None:
    if name not in probe.releases:
        return None
    try:
        return Service.model_validate(probe.releases[name][1])
    except ValidationError:
        return None  # written by another version of Hermeion: planned anew


def _still_wanted(
    current: Service, spec: ServiceSpec, host: HostSpec, free: Sequence[Gpu], locks: Mapping[str, str]
) -> bool:
    """Whether the release that runs is what is wanted, and its GPUs are here: then it stays, whatever else moved."""
    # While a driver does not answer (an upgrade that waits for a reboot), nobody tells the UUIDs of the same GPUs.
    here = {gpu.pci_address: gpu.uuid for gpu in free}
    return current.wanted == wanted_hash(spec, host, locks.get(spec.name)) and all(
        gpu.pci_address in here and here[gpu.pci_address] in {gpu.uuid, None} for gpu in current.gpus
    )


def unread_models(
    host: str, spec: HostSpec, probe: Probe, locks: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, ...]:
    """Own models whose files must be read before a plan can be made: nobody knows their shape, and they do not run yet.

    Args:
        locks: Texts of the files that the services' ``requirements`` name, by service.

    Raises:
        PlacementError: The driver sees other GPUs than the PCI bus.
    """
    free = reconcile(host, probe).gpus
    wanted = {
        service.model
        for service in spec.hermes_services
        for current in [_current(probe, service.name)]
        if spec.hermes_refresh or not current or not _still_wanted(current, service, spec, free, locks)
    }
    return tuple(entry.name for entry in spec.hermes_catalog if entry.name in wanted and not entry.is_complete)


def _kept(spec: HostSpec, host: Host, probe: Probe, locks: Mapping[str, str]) -> dict[str, Service]:
    """Releases that run, are still wanted, and keep their GPUs: a service that is new does not move them."""
    free = list(host.gpus)
    kept: dict[str, Service] = {}
    for wanted in spec.hermes_services if not spec.hermes_refresh else ():
        current = _current(probe, wanted.name)
        if current and _still_wanted(current, wanted, spec, free, locks):
            kept[wanted.name] = current
            taken = {gpu.pci_address for gpu in current.gpus}
            free = [gpu for gpu in free if gpu.pci_address not in taken]
    return kept


def _image(engine: Engine, spec: ServiceSpec, host: HostSpec, version: str, current: Service | None) -> Image:
    image = parse_image(spec.image or engine.IMAGE.format(version=version), host.hermes_mirrors.registry)
    if current and current.image and not image.digest and not host.hermes_refresh:
        known = current.image
        if (known.name, known.tag) == (image.name, image.tag):
            return known
    return image


def _revision(variant: Variant, host: HostSpec, current: Service | None) -> str | None:
    if variant.revision or not current or current.repo != variant.repo or host.hermes_refresh:
        return variant.revision
    return current.revision


def _service(
    spec: ServiceSpec,
    host: HostSpec,
    probe: Probe,
    name: str,
    chosen: Candidate,
    current: Service | None,
    lock: str | None,
) -> Service:
    variant, engine = chosen.variant, chosen.engine
    revision = _revision(variant, host, current)
    own_name = variant.model if variant.path else variant.repo
    setup = Setup(
        spec=spec,
        variant=variant,
        version=chosen.version,
        revision=revision,
        gpus=chosen.gpus,
        layout=chosen.layout,
        load=chosen.load,
        served_names=tuple(dict.fromkeys((spec.name, own_name, *spec.served_names))),
        places=find_places(
            spec.name,
            spec.runtime,
            weights=host.hermes_cache,
            path=variant.path,
            port=spec.port,
            container_port=engine.PORT,
        ),
        start_seconds=engine.start_seconds(variant.bytes),
    )
    native = spec.runtime == "systemd"
    service = Service(
        name=spec.name,
        host=name,
        wanted=wanted_hash(spec, host, lock),
        model=spec.model,
        variant=variant.name,
        repo=variant.repo,
        path=variant.path,
        files=variant.files,
        revision=revision,
        precision=variant.precision,
        weights_bytes=variant.bytes,
        engine=engine.NAME,
        engine_version=chosen.version,
        runtime=spec.runtime,
        image=None if native else _image(engine, spec, host, chosen.version, current),
        package=plan_package(name, spec, engine, chosen.version, probe, lock) if native else None,
        gpus=tuple(
            PlannedGpu(pci_address=g.pci_address, uuid=g.uuid, model=g.model, memory=g.memory) for g in chosen.gpus
        ),
        tensor_parallel=chosen.layout.tensor_parallel,
        pipeline_parallel=chosen.layout.pipeline_parallel,
        context=chosen.context,
        sequences=chosen.sequences,
        kv_precision=chosen.load.kv_precision,
        kv_tokens=min(chosen.context * chosen.sequences, chosen.memory.kv_tokens),
        kv_needed=engine.kv_needed(variant, chosen.gpus, chosen.layout, chosen.load),
        memory=chosen.memory,
        port=spec.port,
        served_names=tuple(setup.served_names),
        thinking=spec.thinking,
        cache=host.hermes_cache,
        remarks=chosen.remarks,
        gpu_access=gpu_access(probe),
        config=engine.config(setup),
        environment=engine.environment(setup),
        start_seconds=setup.start_seconds,
    )
    # What is known now is in the options now: sources are asked only where something is missing.
    return service.model_copy(update={"config": engine.pinned(service)}) if revision else service


def _no_gpu(host: Host) -> str:
    if host.unusable:
        reasons = "\n".join(f"  - {gpu.pci_address} ({gpu.model}): {gpu.reason}." for gpu in host.unusable)
        return f"{host.name}: no GPU of this host can be used.\n{reasons}"
    return (
        f"{host.name}: no NVIDIA GPU on the PCI bus. Take the host out of the inventory, or look whether the "
        "card is seated and not passed through to a guest (lspci -nn -d 10de:)."
    )


def check_host(name: str, probe: Probe) -> None:
    """Whether the host is in a state in which anything can be changed.

    Raises:
        PlacementError: It is not; the message says what to do.
    """
    if not probe.is_root:
        raise PlacementError(f"{name}: needs root. Log in as root, or set _sudo = True in the inventory.")
    if "systemctl" not in probe.tools:
        raise PlacementError(f"{name}: systemd is not running here; services are systemd units.")


def _driver(name: str, spec: HostSpec, host: Host, probe: Probe, services: Sequence[Service]) -> DriverPlan:
    if not services and "hermes_driver" not in spec.model_fields_set:
        return DriverPlan(action="leave alone", reason=f"no service is wanted on {name}, and no driver")
    return decide_driver(spec, host, probe, needs_of(services, lambda service: ENGINES[service.engine].MIN_DRIVER))


def make_plan(
    name: str,
    spec: HostSpec,
    probe: Probe,
    facts: Mapping[str, ModelFacts] | None = None,
    locks: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Decide everything about one host.

    Args:
        facts: What the files of own models say, for those of :func:`unread_models`.
        locks: Texts of the files that the services' ``requirements`` name, by service.

    Raises:
        PlacementError: Something wanted fits nowhere, or the host is in a state that must not be changed.
        InventoryError: A wanted model or variant does not exist.
    """
    catalog = merge_catalog(spec.hermes_catalog, facts)
    check_host(name, probe)
    host = reconcile(name, probe)
    _check_declared(spec, host)
    if not host.gpus:
        check_platform(Case(name=name, spec=spec, probe=probe, needs=()))
        raise PlacementError(_no_gpu(host))
    kept = _kept(spec, host, probe, locks)
    held = {gpu.pci_address for service in kept.values() for gpu in service.gpus}
    free = [gpu for gpu in host.gpus if gpu.pci_address not in held]
    services: list[Service] = []
    rejections: list[Rejection] = []
    for index, wanted in enumerate(spec.hermes_services):
        current = _current(probe, wanted.name)
        if wanted.name in kept:
            services.append(kept[wanted.name])
        else:
            later = [other for other in spec.hermes_services[index + 1 :] if other.name not in kept]
            variants = find_variants(name, wanted, catalog)
            if not variants:
                raise PlacementError(
                    f"{name}: {wanted.name}: the files of {wanted.model} have not been read, so nobody knows how large "
                    "it is. Plan with a connection to the host, or give shape, bytes and precision in hermes_catalog."
                )
            chosen, refused = place(wanted, host, free, variants, current, later, catalog[wanted.model])
            rejections += refused
            services.append(_service(wanted, spec, probe, name, chosen, current, locks.get(wanted.name)))
        taken = {gpu.pci_address for gpu in services[-1].gpus}
        free = [gpu for gpu in free if gpu.pci_address not in taken]
    return Plan(
        host=name,
        driver=_driver(name, spec, host, probe, services),
        services=tuple(services),
        rejections=tuple(rejections),
    )
