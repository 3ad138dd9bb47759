"""The container runtime stage: Docker, Compose, NVIDIA's toolkit, CDI."""

from hermeion import operations
from hermeion.apply import Target
from hermeion.jobs import Work
from hermeion.scripts.container_runtime import runtime_script


def begin(target: Target) -> None:
    """Install Docker alone, before there is a driver: images can come while that is built."""
    wanted = target.wanted

    def work() -> Work:
        return Work(runtime_script(wanted.spec, target.probe, target.docker_alone(), ca=wanted.ca, keys=wanted.keys))

    operations.job(name="Runtime: Docker and Compose", job="runtime", label="Docker", work=work)


def apply(target: Target) -> None:
    """Bring Docker to where it hands out GPUs."""
    wanted, driver_changes = target.wanted, "driver" in target.pending

    def work() -> Work:
        # Decided anew: the driver stage may just have brought the repository, the GPUs' UUIDs, or another driver.
        plan = target.decide_runtime(driver_changes=driver_changes)
        return Work(runtime_script(wanted.spec, target.probe, plan, ca=wanted.ca, keys=wanted.keys))

    operations.job(name="Runtime: Docker, Compose, container toolkit, CDI", job="runtime", label="runtime", work=work)
