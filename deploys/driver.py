"""The driver stage: install it, reboot if it must be, compare the GPUs with the plan."""

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation

from hermeion import operations
from hermeion.apply import Target
from hermeion.jobs import Work
from hermeion.scripts.driver import driver_script


@operation(is_idempotent=False)
def compare_gpus(target: Target) -> Generator[StringCommand, None, None]:
    """Guard between driver and service: stop if the driver contradicts the plan, with both sides shown."""
    yield StringCommand("nvidia-smi", "-L")
    if difference := target.refresh():
        yield operations.fail_here(difference)


def apply(target: Target) -> None:
    """Bring the driver up."""
    wanted, spec = target.wanted, target.wanted.spec
    if target.plan.driver.action in {"install", "upgrade", "repair"}:
        operations.job(
            name="Driver: repository and packages",
            job="driver",
            label="driver",
            work=lambda: Work(driver_script(spec, target.plan, target.probe, ca=wanted.ca, keys=wanted.keys)),
        )
    operations.reboot_unless(
        name="Driver: load it, by a reboot if it must be",
        judge=target.judge,
        serving=target.serving,
        timeout=spec.hermes_driver.reboot_timeout,
        begun=target.begun,
    )
    compare_gpus(name="Driver: compare the GPUs with the plan", target=target)
