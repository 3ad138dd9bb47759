"""The container runtime stage: Docker, Compose, NVIDIA's toolkit, CDI."""

from hermeion import operations
from hermeion.apply import Target
from hermeion.scripts.container_runtime import runtime_script


def apply(target: Target) -> None:
    """Bring Docker to where it hands out GPUs."""
    wanted, driver_changes = target.wanted, "driver" in target.pending

    def script() -> str:
        # Decided anew: the driver stage may just have brought the repository, the GPUs' UUIDs, or another driver.
        plan = target.decide_runtime(driver_changes=driver_changes)
        return runtime_script(wanted.spec, target.probe, plan, ca=wanted.ca, keys=wanted.keys)

    operations.job(
        name="Runtime: Docker, Compose, container toolkit, CDI", job="runtime", label="runtime", script=script
    )
