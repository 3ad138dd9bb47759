"""What terminal, page and JSON show of a plan: hosts, services and GPUs, each with everything that may be asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hermeion.fixes import Fix
from hermeion.forecasts import Estimate
from hermeion.gpu_names import describe_models
from hermeion.memory_terms import Term
from hermeion.plans import DriverPlan, Rejection, Service
from hermeion.records import Record

Use = Literal["used", "free", "taken", "unusable"]
State = Literal["nothing to do", "to do", "planned", "refused", "not planned"]


def requests(count: int) -> str:
    """``1 request``, ``2 requests``."""
    return f"{count} request" + ("" if count == 1 else "s")


class GpuView(Record):
    """A GPU of a host.

    Attributes:
        use: ``used`` by a service of the plan, ``free``, ``taken`` in part by somebody else, or ``unusable``.
        service: The service that uses it.
        text: All of it in a few words.
    """

    pci_address: str
    uuid: str | None
    model: str
    memory: int | None
    free: int | None
    use: Use
    service: str | None = None
    text: str


class ServiceView(Record):
    """A service with everything that a person may ask about it.

    Attributes:
        option: What was taken, in the words of the options that were not.
        terms: Memory of one of its GPUs, the fullest of them; the parts add up to ``device_bytes``.
        promised: Tokens of KV cache that the plan promises; ``fit``: that fit after the margin; ``expected``: that the
            engine is expected to print.
        full_requests: Requests of the whole context that fit into the cache at once.
        estimates: ``pull``, ``start`` and ``decode``, each with its basis; one is missing where it would mean nothing.
        rejections: Options that were tried and not taken.
        wanted: What the inventory says of the service, without what it leaves at its default.
        stays: Whether it is the release that runs, which was left alone.
    """

    name: str
    option: str
    service: Service
    terms: tuple[Term, ...]
    device_bytes: int
    promised: int
    fit: int
    expected: int
    full_requests: int
    estimates: dict[str, Estimate]
    remarks: tuple[str, ...]
    rejections: tuple[Rejection, ...] = ()
    wanted: dict[str, Any] = Field(default={})
    stays: bool = False

    @property
    def gpus_text(self) -> str:
        """``2 × NVIDIA L40S``."""
        return describe_models([gpu.model for gpu in self.service.gpus])


class HostView(Record):
    """A host of the inventory.

    Attributes:
        message: Why it is refused or not planned.
        pending: Stages with something to do and their reasons; ``None``: not known.
        rejections: Options that were tried for the service for which the host is refused.
        fix: With what it would fit.
        wanted: What the inventory says of it, without its services.
        asked: What the inventory says of each service, by name; ``None``: not known.
    """

    name: str
    state: State
    message: str = ""
    pending: dict[str, tuple[str, ...]] | None = None
    driver: DriverPlan | None = None
    services: tuple[ServiceView, ...] = ()
    gpus: tuple[GpuView, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    fix: Fix | None = None
    wanted: dict[str, Any] = Field(default={})
    asked: dict[str, dict[str, Any]] | None = None


class Fleet(Record):
    """Every host that was asked about, in the inventory's order, those that did not answer last.

    Attributes:
        offline: Whether it was planned from saved hosts.
    """

    hosts: tuple[HostView, ...]
    offline: bool = False
