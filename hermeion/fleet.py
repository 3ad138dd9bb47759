"""From a run's report to what terminal, page and JSON show of it: one set of values for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hermeion.engines import ENGINES
from hermeion.errors import HermeionError
from hermeion.forecasts import GIGABIT, Estimate, decode_ceiling, pull_time, start_time
from hermeion.gpu_names import describe_models
from hermeion.gpus import gpu_models
from hermeion.hosts import Gpu
from hermeion.inventory import HostSpec
from hermeion.memory_terms import divides_cache, terms_of
from hermeion.plans import Service
from hermeion.reports import HostReport
from hermeion.units import format_bytes
from hermeion.variants import merge_catalog
from hermeion.views import Fleet, GpuView, HostView, ServiceView, State, Use, requests


def _bandwidth(service: Service, found: Mapping[str, Gpu]) -> int:
    """Memory bandwidth of one of its GPUs in bytes per second; 0: not known."""
    seen = [found[gpu.pci_address].bandwidth for gpu in service.gpus if gpu.pci_address in found]
    if any(seen):
        return min(bandwidth for bandwidth in seen if bandwidth)
    return next((model.bandwidth for model in gpu_models().values() if model.name == service.gpus[0].model), 0)


def _estimates(service: Service, report: HostReport, bits_per_second: float) -> dict[str, Estimate]:
    estimates: dict[str, Estimate] = {}
    if service.path is None and (report.pending is None or "cache" in report.pending):
        estimates["pull"] = pull_time(service.weights_bytes, bits_per_second)
    estimates["start"] = start_time(service.weights_bytes)
    own = HostSpec.model_validate({"hermes_catalog": report.wanted.get("hermes_catalog", ())}).hermes_catalog
    variants = merge_catalog(own, report.models).get(service.model, ())
    shape = next((variant.shape for variant in variants if variant.name == service.variant), None)
    found = {gpu.pci_address: gpu for gpu in report.found.gpus} if report.found else {}
    bandwidth = _bandwidth(service, found)
    if shape:
        ceiling = decode_ceiling(service.memory, shape, bandwidth, service.pipeline_parallel, service.weights_bytes)
        estimates |= {"decode": ceiling} if ceiling else {}
    return estimates


def _option(service: Service) -> str:
    """The choice in the words of the options that were not taken."""
    engine = ENGINES.get(service.engine)
    with_engine = "" if service.engine == "vllm" else f" with {engine.LABEL if engine else service.engine}"
    kv = "" if service.kv_precision == "bf16" else f", {service.kv_precision.upper()} KV cache"
    return (
        f"{service.variant} on {describe_models([gpu.model for gpu in service.gpus])}{with_engine}{kv}, "
        f"{service.context} tokens × {requests(service.sequences)}"
    )


def _service_view(service: Service, report: HostReport, bits_per_second: float) -> ServiceView:
    memory = service.memory
    rejections = report.plan.rejections if report.plan else ()
    return ServiceView(
        name=service.name,
        option=_option(service),
        service=service,
        terms=terms_of(service),
        device_bytes=memory.device,
        promised=service.kv_tokens,
        fit=memory.kv_tokens,
        expected=service.kv_tokens if divides_cache(service) else memory.kv_tokens_expected,
        full_requests=memory.kv_tokens // service.context,
        estimates=_estimates(service, report, bits_per_second),
        remarks=service.remarks,
        rejections=tuple(rejection for rejection in rejections if rejection.service == service.name),
        wanted=_asked(report.wanted).get(service.name, {}),
        stays=report.running.get(service.name) == service.release_id,
    )


def _asked(wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in wanted.get("hermes_services", ())}


def _gpu_view(gpu: Gpu, users: Mapping[str, str]) -> GpuView:
    use: Use = "free"
    text = f"free, {format_bytes(gpu.memory)}"
    user = users.get(gpu.pci_address)
    if user:
        use, text = "used", f"used by {user}, {format_bytes(gpu.memory)}"
    elif gpu.free < gpu.memory:
        use = "taken"
        text = f"others hold {format_bytes(gpu.memory - gpu.free)} of {format_bytes(gpu.memory)}"
    return GpuView(
        pci_address=gpu.pci_address,
        uuid=gpu.uuid,
        model=gpu.model,
        memory=gpu.memory,
        free=gpu.free,
        use=use,
        service=user,
        text=text,
    )


def _gpu_views(report: HostReport) -> tuple[GpuView, ...]:
    if report.found is None:
        return ()
    services = report.plan.services if report.plan else ()
    users = {gpu.pci_address: service.name for service in services for gpu in service.gpus}
    views = [_gpu_view(gpu, users) for gpu in report.found.gpus]
    views += [
        GpuView(
            pci_address=gpu.pci_address,
            uuid=None,
            model=gpu.model,
            memory=None,
            free=None,
            use="unusable",
            text=f"cannot be used: {gpu.reason}",
        )
        for gpu in report.found.unusable
    ]
    return tuple(sorted(views, key=lambda view: view.pci_address))


def host_view(name: str, report: HostReport, bits_per_second: float = GIGABIT) -> HostView:
    """One host, planned or refused."""
    state: State = "planned"
    if report.plan is None:
        state = "refused"
    elif report.pending is not None:
        state = "to do" if report.pending else "nothing to do"
    services = report.plan.services if report.plan else ()
    return HostView(
        name=name,
        state=state,
        message=(report.refused or "").removeprefix(f"{name}: "),
        pending=report.pending,
        driver=report.plan.driver if report.plan else None,
        services=tuple(_service_view(service, report, bits_per_second) for service in services),
        gpus=_gpu_views(report),
        rejections=report.rejections,
        fix=report.fix,
        wanted={key: value for key, value in report.wanted.items() if key != "hermes_services"},
        asked=_asked(report.wanted) if report.wanted or report.plan else None,
    )


def make_fleet(report: Mapping[str, Any], bits_per_second: float = GIGABIT, *, offline: bool = False) -> Fleet:
    """Everything that a run's report says.

    Args:
        report: ``hosts`` and ``failed``, as a run leaves it; ``unplanned``: what is wanted of hosts without a plan.
        bits_per_second: Of the link over which weights are pulled.
    """
    hosts = [
        host_view(name, HostReport.model_validate(host), bits_per_second) for name, host in report["hosts"].items()
    ]
    wanted: Mapping[str, Any] = report.get("unplanned", {})
    hosts += [
        HostView(
            name=name,
            state="not planned",
            message=note.removeprefix(f"{name}: ").removeprefix("not planned: "),
            asked=_asked(wanted[name]) if name in wanted else None,
        )
        for name, note in report["failed"].items()
        if name not in report["hosts"]
    ]
    return Fleet(hosts=tuple(hosts), offline=offline)


def report_json(report: Mapping[str, Any], fleet: Fleet) -> dict[str, Any]:
    """The report with what was worked out from it: ``gpus`` and ``services`` of each host."""
    views = {host.name: host for host in fleet.hosts}
    hosts = {
        name: {
            **host,
            "gpus": [gpu.to_json() for gpu in views[name].gpus],
            "services": [
                service.model_dump(mode="json", exclude={"service", "rejections", "wanted"})
                for service in views[name].services
            ],
        }
        for name, host in report["hosts"].items()
    }
    return {**report, "hosts": hosts}


def find_service(fleet: Fleet, name: str, inventory: str) -> tuple[HostView, ...]:
    """The hosts that are to serve it, and those of which nobody knows.

    Raises:
        HermeionError: No host is; the services there are listed.
    """
    hosts = tuple(host for host in fleet.hosts if host.asked is None or name in host.asked)
    known = sorted({service for host in fleet.hosts for service in host.asked or ()})
    if name not in known and (known or not hosts):
        raise HermeionError(f"{inventory}: no host has a service {name!r}. There are: {', '.join(known) or 'none'}.")
    return hosts
