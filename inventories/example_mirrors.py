"""Two hosts that do not reach the internet: everything comes from the site's own mirrors, the driver by hand.

`hermes_mirrors` names files on the machine where pyinfra runs: the certificates that sign the mirrors, and the key of
the apt mirror. Keys that both hosts share stand in one dictionary; a host's own keys hide them one by one.
"""

from pathlib import Path as _Path

_here = _Path(__file__).parent / "files"

_shared = {
    "ssh_user": "root",
    "hermes_services": [{"name": "hermes", "model": "hermes-4-70b", "variant": "fp8", "context": 65536}],
    "hermes_driver": {"install": False, "reboot": False},
    "hermes_mirrors": {
        "registry": "registry.site.example:5000",
        "hub": "https://hub.site.example",
        "index": "https://pypi.site.example/simple",
        "apt": {
            "nvidia": {
                "url": "https://apt.site.example/nvidia/",
                "key": str(_here / "example-apt-key.asc"),
            },
        },
        "ca": str(_here / "example-ca.pem"),
    },
}

gpu_hosts = [
    ("gpu-3.site.example", _shared),
    ("gpu-4.site.example", {**_shared, "hermes_cache": "/mnt/nfs/models"}),
]
