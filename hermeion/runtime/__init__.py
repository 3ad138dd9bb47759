"""Docker, Compose, NVIDIA's container toolkit and CDI, as pure decisions."""

from hermeion.runtime.certificates import CA_PATH, registry_ca_path
from hermeion.runtime.daemon import merged_daemon_json
from hermeion.runtime.decision import decide_runtime
from hermeion.runtime.disruption import check_hooks
from hermeion.runtime.engine import check_docker, gpu_access
from hermeion.runtime.toolkit import TOOLKIT

__all__ = [
    "CA_PATH",
    "TOOLKIT",
    "check_docker",
    "check_hooks",
    "decide_runtime",
    "gpu_access",
    "merged_daemon_json",
    "registry_ca_path",
]
