"""The container runtime stage: Docker, Compose, NVIDIA's toolkit, CDI."""

from hermeion import operations
from hermeion.apply import Target
from hermeion.container_runtime import merged_daemon_json
from hermeion.scripts.container_runtime import runtime_script


def apply(target: Target) -> None:
    """Bring Docker to where it hands out GPUs by CDI."""
    wanted = target.wanted

    def script() -> str:
        # The probe, not the plan: the driver stage may just have brought the repository.
        daemon_json = merged_daemon_json(target.host.name, target.probe.daemon_json)
        return runtime_script(
            wanted.spec, target.probe, daemon_json=daemon_json, ca=wanted.ca, mirror_key=wanted.apt_key
        )

    operations.job(
        name="Runtime: Docker, Compose, container toolkit, CDI", job="runtime", label="runtime", script=script
    )
