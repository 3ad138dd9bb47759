"""What images ask of the driver."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.drivers import Need, check_image_cuda, needs_of
from hermeion.drivers.needs import requirement_holds, tag_cuda
from hermeion.drivers.tables import branches, breaks_build, gpu_minima, image_cuda, native_driver, reviewed
from hermeion.drivers.versions import covers, floor_of, parse_version, show, upstream
from hermeion.errors import PlacementError
from hermeion.gpus import gpu_models
from hermeion.plans import DriverPlan, PlannedGpu, Service
from tests.unit.builders import A100_80, RTX_4090, RTX_5090, final_service, image_of
from tests.unit.driver_cases import decide


def service(repository: str, tag: str, *, engine: str = "vllm", gpu: str = "NVIDIA A100 80GB") -> Service:
    """A planned service with this image on this GPU."""
    planned = final_service()
    image = image_of(planned).model_copy(update={"repository": repository, "tag": tag})
    gpus = (PlannedGpu(pci_address="0000:01:00.0", uuid=None, model=gpu, memory=1),)
    return planned.model_copy(update={"image": image, "engine": engine, "gpus": gpus})


@pytest.mark.parametrize(
    ("planned", "min_driver", "cuda", "minima", "reason"),
    [
        (service("vllm/vllm-openai", "v0.33.0"), 1, (13, 0), ((580,),), "needs CUDA 13.0 (driver 580 or newer)"),
        (service("vllm/vllm-openai", "v0.12.0"), 1, (12, 9), ((525,),), "needs CUDA 12.9 (driver 525 or newer)"),
        (
            service("vllm/vllm-openai", "v0.12.0", gpu="NVIDIA GeForce RTX 4090"),
            1,
            (12, 9),
            ((575, 57, 8),),
            "needs CUDA 12.9 (driver 575.57.08 or newer with NVIDIA GeForce RTX 4090)",
        ),
        (
            service("lmsysorg/sglang", "v0.5.19-cu129", gpu="NVIDIA B200"),
            1,
            (12, 9),
            ((575, 57, 8),),
            "needs CUDA 12.9 (driver 575.57.08 or newer with NVIDIA B200)",
        ),
        (service("lmsysorg/sglang", "v0.5.23"), 1, (13, 0), ((580,),), "needs CUDA 13.0 (driver 580 or newer)"),
        (service("me/mine", "1.0-cuda12.9"), 580, (12, 9), ((525,),), "needs CUDA 12.9 (driver 525 or newer)"),
        (service("me/mine", "1.0"), 580, None, ((580,),), "needs driver 580 or newer"),
        (service("vllm/vllm-openai", "v0.15.0"), 580, None, ((580,),), "needs driver 580 or newer"),
        (service("ollama/ollama", "0.33.3", engine="ollama"), 550, None, ((550,),), "needs driver 550 or newer"),
        (
            service("ollama/ollama", "0.33.3", engine="ollama", gpu="Tesla P40"),
            550,
            None,
            ((570,),),
            "needs driver 570 or newer with Tesla P40",
        ),
    ],
)
def test_needs(planned: Service, min_driver: int, cuda: tuple[int, int] | None, minima: Any, reason: str) -> None:
    """An image's tag says its CUDA, else the table, else its engine says which driver it needs."""
    found = needs_of([planned], lambda _: min_driver)[0]

    assert (cuda, minima, reason) == (found.cuda, found.minima, found.reason)
    assert f"{image_of(planned).repository}:{image_of(planned).tag}" == found.image


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("v0.20.0-cu129", (12, 9)),
        ("v0.20.0-cu130-ubuntu24.04", (13, 0)),
        ("server-cuda12.9-b1", (12, 9)),
        ("x-cuda12.9", (12, 9)),
        ("server-cuda-b11669", None),
        ("v0.33.0", None),
    ],
)
def test_tags(tag: str, expected: tuple[int, int] | None) -> None:
    """Only what stands in a tag as a version of CUDA is taken for one."""
    assert expected == tag_cuda(tag)


THERE = DriverPlan(action="leave alone", reason="", version="550.163.01")
PLANNED = DriverPlan(action="install", reason="", branch=580)


@pytest.mark.parametrize(
    ("gpu", "cuda", "require", "driver", "remarks"),
    [
        ("NVIDIA A100 80GB", "13.0.2", None, PLANNED, ()),
        ("NVIDIA A100 80GB", None, None, THERE, ()),
        ("NVIDIA A100 80GB", "12.4.1", "cuda>=12.4", THERE, ()),
        (
            "NVIDIA A100 80GB",
            "12.9.1",
            "cuda>=12.9",
            THERE,
            (
                "driver 550.163.01 is made for CUDA 12.4 and vllm/vllm-openai:v1 for 12.9: it runs by CUDA's minor "
                "version compatibility, without kernels that would have to be compiled for the GPU",
            ),
        ),
        (
            "NVIDIA A100 80GB",
            None,
            "cuda>=12.9 brand=tesla,driver>=535,driver<536",
            THERE,
            (
                "the image vllm/vllm-openai:v1 asks for cuda>=12.9 (NVIDIA_REQUIRE_CUDA), and driver 550.163.01 has "
                "CUDA "
                "12.4: nothing checks it, and it may fail when it starts",
            ),
        ),
        ("NVIDIA A100 80GB", None, "cuda>=12.9 brand=tesla,driver>=550,driver<551", THERE, ()),
    ],
)
def test_image_says_what_it_needs(
    gpu: str, cuda: str | None, require: str | None, driver: DriverPlan, remarks: tuple[str, ...]
) -> None:
    """What an image's configuration says is judged before anything is pulled."""
    assert remarks == check_image_cuda("gpu-1", service("vllm/vllm-openai", "v1", gpu=gpu), cuda, require, driver)


@pytest.mark.parametrize(
    ("gpu", "cuda", "driver", "message"),
    [
        (
            "NVIDIA A100 80GB",
            "13.0.2",
            THERE,
            "the image vllm/vllm-openai:v1 says CUDA_VERSION=13.0.2: it needs CUDA 13.0 (driver 580 or newer), "
            "and driver "
            "550.163.01 is there.",
        ),
        (
            "NVIDIA GeForce RTX 4090",
            "12.9.1",
            THERE,
            "the image vllm/vllm-openai:v1 says CUDA_VERSION=12.9.1: it needs CUDA 12.9 (driver 575.57.08 or "
            "newer with "
            "NVIDIA GeForce RTX 4090), and driver 550.163.01 is there.",
        ),
        (
            "NVIDIA A100 80GB",
            "14.0.0",
            PLANNED,
            "the image vllm/vllm-openai:v1 says CUDA_VERSION=14.0.0: it needs CUDA 14.0 (driver 611 or newer), "
            "and driver "
            "580.178.04 would be installed.",
        ),
    ],
)
def test_image_is_too_new(gpu: str, cuda: str, driver: DriverPlan, message: str) -> None:
    """An image that the driver cannot run is refused, with what would help."""
    with pytest.raises(PlacementError) as caught:
        check_image_cuda("gpu-1", service("vllm/vllm-openai", "v1", gpu=gpu), cuda, None, driver)

    assert (
        f"gpu-1: hermes: {message} Choose an older image (image, or engine_version), or a newer driver "
        "(hermes_driver/branch, hermes_driver/upgrade)."
    ) == str(caught.value)


@pytest.mark.parametrize(
    ("require", "driver", "geforce", "expected"),
    [
        ("cuda>=12.9", "575.57.08", False, False),
        ("cuda>=12.2", "535.1", False, True),
        ("cuda>=13.0 brand=tesla,driver>=535,driver<536", "535.309.01", False, True),
        ("cuda>=13.0 brand=tesla,driver>=535,driver<536", "535.309.01", True, False),
        ("cuda>=13.0 brand=tesla,driver>=535,driver<536", "550.163.01", False, False),
        ("nonsense", "580.1", False, False),
    ],
)
def test_requirement(require: str, driver: str, geforce: bool, expected: bool) -> None:
    """Spaces mean or, commas mean and; no alternative by branch is for a GeForce."""
    cuda = (12, 2) if driver.startswith("535") else (12, 4)
    assert expected == requirement_holds(require, cuda=cuda, driver=parse_version(driver), geforce=geforce)


def test_older_driver_is_remarked() -> None:
    """An image whose CUDA is newer than the driver's runs, and the plan says how."""
    need = Need(service="a", image="i:1", cuda=(12, 9), branch=525, reason="")

    found = decide(gpus=(A100_80,), driver="550.163.01", needs=[need])

    assert (
        "driver 550.163.01 is made for CUDA 12.4 and i:1 for 12.9: it runs by CUDA's minor version "
        "compatibility, without "
        "kernels that would have to be compiled for the GPU"
    ) == found.remarks[0]


@pytest.mark.parametrize(
    ("kernel", "version", "expected"),
    [
        ("6.12.94+deb13-amd64", "550.163.01", False),
        ("6.12.117+deb13-amd64", "550.163.01", True),
        ("6.12.117+deb13-amd64", "580.105.08", True),
        ("6.12.117+deb13-amd64", "580.126.09", False),
        ("6.12.117+deb13-amd64", "595.91.07", False),
        ("6.1.176", "535.288.01", False),
        ("6.1.187", "535.288.01", True),
        ("6.18.39", "580.95.05", False),
        ("7.0.0-14-generic", "580.95.05", True),
        ("6.8.0-51-generic", "580.95.05", False),
    ],
)
def test_kernels_that_break_the_build(kernel: str, version: str, expected: bool) -> None:
    """The open module's old sources do not compile where pci_resize_resource takes four arguments."""
    assert expected == breaks_build(kernel, version)


@pytest.mark.parametrize(
    ("device", "subsystem", "version", "expected"),
    [
        ("2bb5", "204e", "575.57.08", True),
        ("2bb5", "220b", "580.105.08", False),
        ("2bb5", "220b", "580.126.09", True),
        ("2329", "", "545.29.06", False),
        ("2329", "", "550.54.14", True),
        ("3182", "", "580.65.06", False),
        ("2c3a", "", "580.178.04", True),
        ("2335", "", "535.309.01", False),
    ],
)
def test_boards_know_their_first_driver(device: str, subsystem: str, version: str, expected: bool) -> None:
    """The first driver of a GPU is told by its id, and by the board's where that decides."""
    minima = gpu_minima(device, subsystem)

    assert minima is not None
    assert expected == covers(minima, parse_version(version))


def test_tables_agree() -> None:
    """Every row of first drivers is of a known GPU and not newer than the default branch; its branch is gpus.toml's."""
    for pci_id, model in gpu_models().items():
        minima = gpu_minima(*pci_id.split(":")) if ":" in pci_id else gpu_minima(pci_id, "")
        if minima:
            assert floor_of(minima, 580) is not None, pci_id
            assert parse_version("580.178.04") >= (floor_of(minima, 580) or ()), pci_id
            assert abs(minima[0][0] - model.min_driver) <= 10, (pci_id, minima, model.min_driver)


def test_branches() -> None:
    """The default branch lives on at the day of the review; every branch's latest release is its own."""
    assert not branches()[580].ended
    assert branches()[535].ended
    assert [] == [b.number for b in branches().values() if parse_version(b.latest)[0] != b.number]
    assert "2026-11-20" == reviewed()
    assert ((575, 57, 8), (560, 35, 5), None) == tuple(native_driver(cuda) for cuda in ((12, 9), (12, 6), (14, 0)))
    assert native_driver((12, 7)) == native_driver((12, 8))


def test_versions() -> None:
    """Versions compare by number and are written as NVIDIA writes them."""
    assert "580.95.05" == upstream("3:580.95.05-0ubuntu0.24.04.1") == show(parse_version("580.95.05-1"))
    assert parse_version("580.9") < parse_version("580.10")
    assert "550.163.01" == upstream("550.163.01-4~bpo13+1")
    assert image_cuda("vllm/vllm-openai", "latest") is None
    assert (12, 9) == image_cuda("vllm/vllm-openai", "v0.12.0")
    assert {RTX_4090, RTX_5090} <= set(gpu_models())
