"""What to do about a host's NVIDIA driver, as a pure decision with its reason."""

from hermeion.drivers.decision import decide_driver
from hermeion.drivers.needs import Need, check_image_cuda, needs_of

__all__ = ["Need", "check_image_cuda", "decide_driver", "needs_of"]
