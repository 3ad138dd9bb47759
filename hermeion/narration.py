"""What a person sees of a run: one line per step, bytes while something long runs, and who failed at the end.

Also the place where SSH connections are made quick: paramiko leaves Nagle's algorithm on, which stalls every
command by about 42 ms.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State, StateStage

from hermeion.jobs import JobLog
from hermeion.units import format_bytes, format_progress, format_seconds

NOTES: dict[str, str] = {}
"""One line by host for the end of the run: refusals and failures."""

PLANS: dict[str, dict[str, object]] = {}
"""What was planned, by host; written to the file that HERMEION_REPORT names, for ``hermeion plan``."""

SEEN: dict[str, dict[str, object]] = {}
"""What is known of a host before it is planned or refused."""

STAGE_SECONDS: dict[str, float] = {}


def _nodelay(host: Host) -> None:
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client else None
    sock = getattr(transport, "sock", None)
    if isinstance(sock, socket.socket):  # not for jump hosts, whose channel is no socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Narrator(BaseStateCallback):
    """Callbacks of a run."""

    started: dict[str, float] = {}  # noqa: RUF012  # one run a process, as pyinfra has it

    @staticmethod
    def host_connect(state: State, host: Host) -> None:  # noqa: ARG004
        """A host is connected, for the first time or after a reboot."""
        _nodelay(host)

    @staticmethod
    def operation_start(state: State, op_hash: str) -> None:  # noqa: ARG004
        """An operation begins on all hosts."""
        Narrator.started[op_hash] = time.monotonic()

    @staticmethod
    def operation_end(state: State, op_hash: str) -> None:
        """An operation has ended on all hosts."""
        name = next(iter(state.get_op_meta(op_hash).names), "")
        stage = name.partition(":")[0]
        seconds = time.monotonic() - Narrator.started.pop(op_hash)
        STAGE_SECONDS[stage] = STAGE_SECONDS.get(stage, 0.0) + seconds


def _finish(state: State) -> None:
    if state.current_stage == StateStage.Disconnect and STAGE_SECONDS:
        times = ", ".join(f"{stage} {format_seconds(seconds)}" for stage, seconds in STAGE_SECONDS.items())
        print(f"--> Time: {times}", file=sys.stderr)
    connected = set(state.activated_hosts)
    for host in state.inventory:
        name = host.name
        if host in state.failed_hosts and host not in connected and state.is_host_in_limit(host):
            NOTES.setdefault(name, f"{name}: could not connect")
        elif host in state.failed_hosts:
            NOTES.setdefault(name, f"{name}: failed, see above")
    if NOTES:
        print("--> Not served:", file=sys.stderr)
        for note in NOTES.values():
            print("    " + note.replace("\n", "\n    "), file=sys.stderr)
    if report := os.environ.get("HERMEION_REPORT"):
        hosts = {host.name: PLANS[host.name] for host in state.inventory if host.name in PLANS}
        data = {"hosts": hosts, "seconds": STAGE_SECONDS, "failed": NOTES}
        Path(report).write_text(json.dumps(data, indent=2))


def narrate(state: State, host: Host) -> None:
    """Install the callbacks, once a run, and quicken the connection that is there already."""
    if not any(isinstance(callback, Narrator) for callback in state.callback_handlers):
        state.add_callback_handler(Narrator())  # type: ignore[no-untyped-call]
        atexit.register(_finish, state)
    _nodelay(host)


def say(host: Host, text: str) -> None:
    """Print lines about a host, each with its name before it."""
    for line in text.splitlines():
        logger.info(f"{host.print_prefix}{line}")


class Progress:
    """Prints what a job does: bytes every ``interval`` seconds, notes when they change or after ``patience`` ones.

    The rate is that of the last ``window`` seconds: what was there before, or came faster once, says nothing about
    the time that is left.
    """

    def __init__(
        self, host: Host, label: str, interval: float = 2.0, patience: float = 10.0, window: float = 20.0
    ) -> None:
        self.host, self.label, self.interval, self.patience, self.window = host, label, interval, patience, window
        self.begun = self.last = time.monotonic()
        self.shown = ""
        self.seen: deque[tuple[float, int]] = deque()

    def _rate(self, now: float, done: int) -> float:
        """Bytes a second."""
        if self.seen and (done < self.seen[-1][1] or not self.seen[-1][1]):
            self.seen.clear()  # something was begun anew; or nothing had come, whatever was waited for
        self.seen.append((now, done))
        while len(self.seen) > 2 and self.seen[1][0] < now - self.window:
            self.seen.popleft()
        first, had = self.seen[0]
        return (done - had) / (now - first) if now > first else 0.0

    def show(self, log: JobLog) -> None:
        """Print the state of the job, if it is time."""
        now = time.monotonic()
        rate = self._rate(now, log.done)
        if now - self.last < self.interval and not log.status:
            return
        moving = 0 < log.done < log.total
        if moving and len(self.seen) < 2:
            return  # nobody knows yet how fast it is
        if moving and rate == 0 and log.note:  # what is waited for, or done, is the news
            moving, text = False, f"{log.note}; {format_bytes(log.done)} of {format_bytes(log.total)} have come"
        else:
            text = format_progress(log.done, log.total, rate) if moving else log.note
        if moving and log.files[1] > 1:
            text += f", {log.files[0]} of {log.files[1]} files"
        if not text or (text == self.shown and (now - self.last < self.patience or log.status)):
            return
        after = "" if moving else f" ({format_seconds(now - self.begun)})"
        say(self.host, f"  {self.label}: {text}{after}")
        self.shown, self.last = text, now


def see(host: Host, data: dict[str, Any]) -> None:
    """Remember what is known of a host; :func:`keep` adds it."""
    SEEN.setdefault(host.name, {}).update(data)


def keep(host: Host, data: dict[str, Any]) -> None:
    """Remember what was planned for a host, or why it was refused."""
    PLANS[host.name] = {**SEEN.get(host.name, {}), **data}
