"""Docker's configuration: what has to stand in ``daemon.json``, and what Docker needs to read it."""

from __future__ import annotations

import json
from typing import Any, Literal

from hermeion.errors import PlacementError
from hermeion.probe import Probe
from hermeion.records import Record

DAEMON_JSON = "/etc/docker/daemon.json"

CDI_BY_DEFAULT = (28, 2, 0)
"""From this Docker on CDI is on by itself: https://docs.docker.com/engine/release-notes/28/."""

CDI_FOLDERS = frozenset({"/var/run/cdi", "/run/cdi"})
"""Where the toolkit's own service writes its specification, by both names of the folder."""

NVIDIA_RUNTIME = {"path": "nvidia-container-runtime", "args": []}


class Daemon(Record):
    """What happens to Docker's configuration.

    Attributes:
        text: New text of ``daemon.json``; ``None``: it stays.
        restart: What Docker needs to read it.
        reason: Why, as a sentence; empty: nothing happens.
        remarks: What a person should know.
    """

    text: str | None = None
    restart: Literal["none", "reload", "restart"] = "none"
    reason: str = ""
    remarks: tuple[str, ...] = ()


def read_daemon_json(name: str, text: str | None) -> dict[str, Any]:
    """The configuration as an object, in the file's order; empty without a file.

    Raises:
        PlacementError: Docker would refuse the file, too.
    """

    def refused(evidence: str) -> PlacementError:
        return PlacementError(
            f"{name}: {DAEMON_JSON} cannot be used: {evidence}. Docker does not start with it either. Repair it or "
            "move it away, then run again."
        )

    try:
        config = json.loads(text) if text and text.strip() else {}
    except json.JSONDecodeError as error:
        raise refused(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    if not isinstance(config, dict):
        raise refused("it is not a JSON object")
    for key in ("features", "runtimes"):
        if not isinstance(config.get(key, {}), dict):
            raise refused(f"its {key} is {json.dumps(config[key])}, not an object")
    return config


def merged_daemon_json(name: str, text: str | None, access: Literal["cdi", "runtime"] = "cdi") -> str | None:
    """``daemon.json`` with CDI switched on, or with NVIDIA's runtime; ``None`` when it says so already.

    Other keys stay, in their order.

    Raises:
        PlacementError: Docker would refuse the file.
    """
    config = read_daemon_json(name, text)
    if access == "cdi":
        if config.get("features", {}).get("cdi") is True:
            return None
        config["features"] = {**config.get("features", {}), "cdi": True}
    else:
        if "nvidia" in config.get("runtimes", {}):
            return None
        config["runtimes"] = {**config.get("runtimes", {}), "nvidia": NVIDIA_RUNTIME}
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def decide_daemon(
    name: str, probe: Probe, access: Literal["cdi", "runtime"], version: tuple[int, int, int] | None
) -> Daemon:
    """What has to change so that Docker hands out GPUs.

    Args:
        version: Of the Docker that is there or will be; ``None``: the newest.

    Raises:
        PlacementError: Docker would refuse the file, or looks for specifications elsewhere only.
    """
    config = read_daemon_json(name, probe.daemon_json)
    answers = probe.docker is not None
    if access == "runtime":
        return _runtime(name, probe, config, answers=answers)
    folders = frozenset(probe.engine.cdi_folders)
    if folders and not folders & CDI_FOLDERS:
        raise PlacementError(
            f"{name}: Docker looks for CDI specifications in {', '.join(sorted(folders))} alone, and NVIDIA's toolkit "
            f'writes to /var/run/cdi. Add it to "cdi-spec-dirs" in {DAEMON_JSON}, restart Docker, then run again.'
        )
    said = config.get("features", {}).get("cdi")
    by_default = version is None or version >= CDI_BY_DEFAULT
    if answers and folders:
        if said is True or (by_default and said is None):
            return Daemon()
        # Docker refuses to start with what is both an option of its unit and in the file: the file stays.
        remark = f"CDI is on in the running Docker, although {DAEMON_JSON} does not say so."
        return Daemon(remarks=(remark,))
    if said is True or (by_default and said is None):
        if not answers:
            return Daemon()
        return Daemon(
            restart="restart", reason="CDI is off in the Docker that runs, which was started before it was on."
        )
    reason = (
        f"CDI is off in {DAEMON_JSON}."
        if by_default
        else f"CDI is off: Docker before 28.2 has it if {DAEMON_JSON} says so."
    )
    return Daemon(
        text=merged_daemon_json(name, probe.daemon_json), restart="restart" if answers else "none", reason=reason
    )


def _runtime(name: str, probe: Probe, config: dict[str, Any], *, answers: bool) -> Daemon:
    if "nvidia" in probe.engine.runtimes:
        return Daemon()
    if "nvidia" in config.get("runtimes", {}):
        reason = f"Docker has not read the runtime nvidia in {DAEMON_JSON} yet."
        return Daemon(restart="reload", reason=reason) if answers else Daemon()
    return Daemon(
        text=merged_daemon_json(name, probe.daemon_json, "runtime"),
        # Runtimes are among the keys that Docker reads again at SIGHUP; features are not.
        restart="reload" if answers else "none",
        reason=f"Docker before 25 needs NVIDIA's runtime in {DAEMON_JSON}.",
    )
