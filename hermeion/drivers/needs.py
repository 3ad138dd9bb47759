"""What the planned services ask of the driver."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hermeion.drivers.tables import branches, image_cuda, native_driver
from hermeion.drivers.versions import Version, covers, parse_version, show
from hermeion.errors import PlacementError
from hermeion.gpus import gpu_models
from hermeion.plans import DriverPlan, Service
from hermeion.records import Record

MINOR_COMPATIBILITY = {11: 450, 12: 525, 13: 580}
"""Oldest branch on which a program of any toolkit of a CUDA major release runs
(docs.nvidia.com/deploy/cuda-compatibility, "minor version compatibility")."""


class Need(Record):
    """What one planned service asks of the driver.

    Attributes:
        image: Name and tag.
        cuda: CUDA that the image is built on, or ``None``: not known.
        branch: Oldest driver branch that it runs on.
        native: The exact version below which it does not run on the service's GPUs, or ``None``: the branch decides.
        reason: Why, for a sentence that begins with the image: ``needs CUDA 13.0 (driver 580 or newer)``.
    """

    service: str
    image: str
    cuda: tuple[int, int] | None
    branch: int
    native: Version | None = None
    reason: str

    @property
    def minima(self) -> tuple[Version, ...]:
        """First driver version that does, in the form of :func:`hermeion.drivers.versions.covers`."""
        return (self.native or (self.branch,),)


def tag_cuda(tag: str) -> tuple[int, int] | None:
    """CUDA that a tag names: 12.9 in ``v0.20.0-cu129`` and ``12.9`` in ``…-cuda12.9``."""
    if match := re.search(r"-cuda(\d+)\.(\d+)", tag):
        return int(match[1]), int(match[2])
    if match := re.search(r"-cu(\d\d)(\d)(?!\d)", tag):
        return int(match[1]), int(match[2])
    return None


def _wants_native(gpus: Sequence[str]) -> str | None:
    """The GPU for which a driver older than the toolkit does not do, or ``None``: compatibility libraries and code for
    other GPUs help neither GeForce nor Blackwell.
    """
    blackwell = {model.name for model in gpu_models().values() if model.architecture == "blackwell"}
    return next((name for name in gpus if "GeForce" in name or name in blackwell), None)


def _need(service: str, image: str, cuda: tuple[int, int], gpus: Sequence[str]) -> Need:
    branch = MINOR_COMPATIBILITY.get(cuda[0], max(branches()) + 1)
    picky = _wants_native(gpus)
    native = native_driver(cuda) if cuda[0] < 13 and picky else None
    words = f"needs CUDA {cuda[0]}.{cuda[1]}"
    if native:
        return Need(
            service=service,
            image=image,
            cuda=cuda,
            branch=native[0],
            native=native,
            reason=f"{words} (driver {show(native)} or newer with {picky})",
        )
    reason = f"{words} (driver {branch} or newer)"
    return Need(service=service, image=image, cuda=cuda, branch=branch, reason=reason)


def needs_of(services: Sequence[Service], min_driver: Callable[[Service], int]) -> tuple[Need, ...]:
    """What each planned service asks of the driver, by its image's tag, else by the table, else by its engine.

    Args:
        min_driver: Oldest driver branch that the service's engine runs on, where nothing is known of its image.
    """
    needs = []
    for service in services:
        image = service.runs_from
        cuda = None
        if service.image:
            cuda = tag_cuda(service.image.tag) or image_cuda(service.image.repository, service.image.tag)
        if cuda:
            needs.append(_need(service.name, image, cuda, [gpu.model for gpu in service.gpus]))
            continue
        branch = min_driver(service)
        old = _before_volta(service) if service.engine == "ollama" else None
        if old:
            # docs/gpu.mdx of Ollama: compute capability 5.0 to 6.2 needs 570.
            branch = max(branch, 570)
        reason = f"needs driver {branch} or newer{f' with {old}' if old else ''}"
        needs.append(Need(service=service.name, image=image, cuda=None, branch=branch, reason=reason))
    return tuple(needs)


def _before_volta(service: Service) -> str | None:
    old = {model.name for model in gpu_models().values() if model.compute_capability < (7, 0)}
    return next((gpu.model for gpu in service.gpus if gpu.model in old), None)


def _version_of(driver: DriverPlan) -> Version | None:
    if driver.version:
        return parse_version(driver.version)
    branch = branches().get(driver.branch or 0)
    return parse_version(branch.latest) if branch else None


def _cuda_of(version: Version) -> tuple[int, int]:
    """Highest CUDA of a driver; of a branch that is not in the table, that of the next older one."""
    known = [branch.cuda for number, branch in sorted(branches().items()) if number <= version[0]]
    return known[-1] if known else (0, 0)


def _holds(condition: str, facts: Mapping[str, Version]) -> bool:
    match = re.fullmatch(r"(\w+)(>=|<=|!=|>|<|=)([\w.]+)", condition)
    if not match:
        return False
    name, operator, value = match.groups()
    if name not in facts:
        return name == "brand" and "brand" not in facts and value != "geforce"
    have, want = facts[name], parse_version(value)
    return {
        ">=": have >= want,
        "<=": have <= want,
        ">": have > want,
        "<": have < want,
        "=": have == want,
        "!=": have != want,
    }[operator]


def requirement_holds(require: str, *, cuda: tuple[int, int], driver: Version, geforce: bool) -> bool:
    """Whether ``NVIDIA_REQUIRE_CUDA`` is satisfied: alternatives stand apart by spaces, their conditions by commas.

    The brand of a card that is no GeForce is taken to be among the listed ones.
    """
    facts: dict[str, Version] = {"cuda": cuda, "driver": driver}
    if geforce:
        require = " ".join(part for part in require.split() if "brand=" not in part or "brand=geforce" in part)
        require = require.replace("brand=geforce,", "")
    return any(all(_holds(part, facts) for part in choice.split(",")) for choice in require.split())


def check_image_cuda(
    host: str, service: Service, cuda: str | None, require: str | None, driver: DriverPlan
) -> tuple[str, ...]:
    """Judge what an image says of itself before it is pulled: no container runtime refuses it any more.

    Args:
        cuda: ``CUDA_VERSION`` of the image's environment, ``13.0.2``; ``None``: it does not say.
        require: ``NVIDIA_REQUIRE_CUDA`` of the image's environment, or ``None``.

    Returns:
        Remarks, a sentence each.

    Raises:
        PlacementError: The driver that is there, or will be, is too old for the image.
    """
    version = _version_of(driver)
    if version is None:
        return ()
    image, words = service.runs_from, show(version)
    numbers = parse_version(cuda) if cuda else ()
    have = _cuda_of(version)
    gpus = [gpu.model for gpu in service.gpus]
    if len(numbers) >= 2:
        need = _need(service.name, image, (numbers[0], numbers[1]), gpus)
        if not covers(need.minima, version):
            there = f"driver {words} is there" if driver.version else f"driver {words} would be installed"
            raise PlacementError(
                f"{host}: {service.name}: the image {image} says CUDA_VERSION={cuda}: it {need.reason}, and {there}. "
                "Choose an older image (image, or engine_version), or a newer driver (hermes_driver/branch, "
                "hermes_driver/upgrade)."
            )
        if (numbers[0], numbers[1]) > have:
            return (older_than_image(words, have, image, (numbers[0], numbers[1])),)
    geforce = any("GeForce" in name for name in gpus)
    if require and not requirement_holds(require, cuda=have, driver=version, geforce=geforce):
        return (
            f"the image {image} asks for {require.split()[0]} (NVIDIA_REQUIRE_CUDA), and driver {words} has CUDA "
            f"{have[0]}.{have[1]}: nothing checks it, and it may fail when it starts",
        )
    return ()


def older_than_image(driver: str, have: tuple[int, int], image: str, cuda: tuple[int, int]) -> str:
    """A remark: the image's CUDA is newer than the driver's, and runs by minor version compatibility."""
    return (
        f"driver {driver} is made for CUDA {have[0]}.{have[1]} and {image} for {cuda[0]}.{cuda[1]}: it runs by "
        "CUDA's minor version compatibility, without kernels that would have to be compiled for the GPU"
    )


def remarks_of(needs: Sequence[Need], version: Version) -> tuple[str, ...]:
    """A remark for each image whose CUDA is newer than the driver's, each image once."""
    have = _cuda_of(version)
    return tuple(
        dict.fromkeys(
            older_than_image(show(version), have, need.image, need.cuda)
            for need in needs
            if need.cuda and need.cuda > have
        )
    )
