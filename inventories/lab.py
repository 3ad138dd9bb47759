"""The lab named by HERMEION_LAB (default: lab), as ``hermeion lab up`` raised it.

pyinfra turns every public list or tuple of this file into a group of hosts, so all other names begin with ``_``.
"""

import json as _json
import os as _os
from pathlib import Path as _Path

_name = _os.environ.get("HERMEION_LAB", "lab")
_state = _Path(_os.environ.get("XDG_STATE_HOME") or _Path.home() / ".local" / "state")
try:
    _lab = _json.loads((_state / "hermeion" / "lab" / _name / "lab.json").read_text(encoding="utf-8"))
except FileNotFoundError:
    raise SystemExit(f"no lab named {_name!r} is up: run hermeion lab up --name {_name}") from None

_store = _lab.get("s3") or {}
_mirrors = _lab["mirrors"] | ({"s3": {key: _store[key] for key in ("endpoint", "region")}} if _store else {})
_services = [
    {
        "name": "hermes",
        "model": _model["name"],
        "engine": "vllm",
        "engine_version": "0.32.0",
        "image": _image,
        "port": 8000,
        "sequences": 64,
    }
    for _model in _lab["models"][:1]
    for _image in [_lab["images"].get("vllm")]
    if _image
]

lab = [
    (
        _host["name"],
        {
            "ssh_hostname": _host["address"],
            "ssh_port": _host["port"],
            "ssh_user": _lab["user"],
            "ssh_key": _lab["key"],
            "ssh_known_hosts_file": _lab["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "hermes_services": _services,
            "hermes_cache": "/srv/models",
            "hermes_mirrors": _mirrors,
            "hermes_catalog": _lab["models"],
        },
    )
    for _host in _lab["hosts"]
]
