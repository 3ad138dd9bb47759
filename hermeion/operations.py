"""The few operations that everything is made of. Each has its decision before its first command."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

import gevent
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.context import host as context_host
from pyinfra.context import state as context_state

from hermeion import narration
from hermeion.errors import HermeionError
from hermeion.facts import run
from hermeion.jobs import JobLog, poll_script, start_script
from hermeion.probe import boot_script

POLL_SECONDS = 0.5
LOST_SECONDS = 300
"""How long a job is waited for whose host does not answer any more."""

SETTLE_SECONDS = 120
"""How long a rebooted host may take from its first answer until its driver is up."""


def fail_here(message: str) -> StringCommand:
    """A command that fails this host, and this host alone: an exception would stop every host."""
    narration.NOTES[context_host.name] = message
    return StringCommand("echo", QuoteString(message), ">&2;", "exit", "1")


@operation()
def refuse() -> Generator[StringCommand, None, None]:
    """Fail this host before anything was changed on it. Its message was printed when the plan was made."""
    yield StringCommand("exit", "1")


def follow(job: str, label: str) -> str | None:
    """Wait for a job and show its progress; ``None`` when it ended well, else what to tell."""
    state, host = context_state, context_host
    log, progress = JobLog(), narration.Progress(host, label)
    lost_since = None
    while not log.status:
        gevent.sleep(POLL_SECONDS)
        try:
            ok, lines, _ = run(state, host, poll_script(job, log.offset), timeout=60)
        except Exception:  # the connection: paramiko and sockets raise many kinds
            ok, lines = False, []
        if ok and lines:
            lost_since = None
            log.feed(lines)
            progress.show(log)
            continue
        lost_since = lost_since or time.monotonic()
        if time.monotonic() - lost_since > LOST_SECONDS:
            return f"{host.name}: {label}: the host does not answer any more; the job {job} goes on there. Run again."
        host.disconnect()
        host.connect(show_errors=False)
    if log.status == "0":
        return None
    if log.status == "killed":
        return f"{host.name}: {label}: the job was killed. Run again."
    tail = "\n".join(log.tail)
    return f"{host.name}: {label} failed:\n{tail}"


@operation(is_idempotent=False)
def job(job: str, label: str, script: Callable[[], str]) -> Generator[StringCommand, None, None]:
    """Run a script as a job that outlives the connection, or attach to it, and wait for it.

    Args:
        job: Name of the job: the same work has the same name.
        script: Gives the script when its turn has come.
    """
    if context_state.current_stage != StateStage.Execute:
        yield StringCommand("true")  # a preview: the script may depend on what earlier steps find out
        return
    try:
        text = script()
    except HermeionError as error:
        yield fail_here(str(error))
        return
    yield StringCommand("sh", "-s", _stdin=start_script(job, text))
    if failure := follow(job, label):
        yield fail_here(failure)


@operation(is_idempotent=False)
def reboot_unless(ready: Callable[[], str | None], timeout: int, reason: str) -> Generator[StringCommand, None, None]:
    """Reboot and wait, unless ``ready`` gives ``None``.

    Args:
        ready: Asks the host; ``None`` when no reboot is needed, else why.
        timeout: Seconds to wait for the host to come back.
        reason: What a message says when the reboot did not help.
    """
    host, state = context_host, context_state
    yield StringCommand("sync")
    why = ready()
    if why is None:
        return
    before = _boot()
    narration.say(host, f"  rebooting: {why}")
    # A moment later, so that this command still gets its answer; the timer's usual accuracy is a minute.
    delayed = ["--on-active=1", "--timer-property=AccuracySec=100ms"]
    yield StringCommand("systemd-run", "--quiet", *delayed, "systemctl", "reboot")
    begun = time.monotonic()
    now = before
    while now in {before, ""}:
        if time.monotonic() - begun > timeout:
            yield fail_here(
                f"{host.name}: did not come back within {timeout} s of its reboot. Look at its console; run again "
                "when it is up (hermes_driver/reboot_timeout sets the wait)."
            )
            return
        gevent.sleep(1)
        now = _boot()
        if not now:
            host.disconnect()
            with gevent.Timeout(15, exception=False):
                host.connect(show_errors=False)
    run(state, host, "systemctl is-system-running --wait", timeout=SETTLE_SECONDS)
    narration.say(host, f"  back after {time.monotonic() - begun:.0f} s")
    settled = time.monotonic()
    while (why := ready()) and time.monotonic() - settled < SETTLE_SECONDS:
        gevent.sleep(1)
    if why:
        yield fail_here(f"{host.name}: {reason} even after the reboot: {why}")


def _boot() -> str:
    """Identity of the host's boot, or ``""`` while it does not answer."""
    if not context_host.connected:
        return ""
    try:
        with gevent.Timeout(15):
            ok, lines, _ = run(context_state, context_host, boot_script())
    except (Exception, gevent.Timeout):  # going down, or not up yet: many kinds of errors
        return ""
    return lines[0] if ok and lines else ""
