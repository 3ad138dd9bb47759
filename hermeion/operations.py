"""The few operations that everything is made of. Each has its decision before its first command."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import gevent
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.connectors.util import clear_askpass_cache
from pyinfra.context import host as context_host
from pyinfra.context import state as context_state

from hermeion import narration, rolls
from hermeion.errors import HermeionError
from hermeion.facts import run
from hermeion.jobs import JobLog, Work, poll_script, start_script
from hermeion.probe import boot_script
from hermeion.scripts.apt import LOCK as APT_LOCK

RUN = secrets.token_hex(4)
"""Name of this run, by which it knows on a host what it began there itself."""

POLL_SECONDS = 0.5
LOST_SECONDS = 300
"""How long a job is waited for whose host does not answer any more."""

AWAY_SECONDS = 15
"""How often a host that is away is spoken of."""

SETTLE_SECONDS = 120
"""How long a rebooted host may take from its first answer until its driver is up."""

REBOOT = f"""mkdir -p /run/hermeion
exec 9>{APT_LOCK}
flock -w 1800 9 || {{ echo 'a package manager has been at work for half an hour' >&2; exit 1; }}
# Nothing of ours may be within a transaction of packages when the host goes down.
systemctl stop 'hermeion-weights-*.service' 'hermeion-engine-*.service'
sync
systemd-run --quiet --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot
"""
"""A moment later, so that the command still gets its answer; the timer's usual accuracy is a minute."""

SERVE_SECONDS = 1800
"""How long its services may take from then on until they answer: hundreds of GB are read from disk."""


def fail_here(message: str) -> StringCommand:
    """A command that fails this host, and this host alone: an exception would stop every host."""
    narration.NOTES[context_host.name] = message
    return StringCommand("echo", QuoteString(message), ">&2;", "exit", "1")


@operation()
def refuse() -> Generator[StringCommand, None, None]:
    """Fail this host before anything was changed on it. Its message was printed when the plan was made."""
    yield StringCommand("exit", "1")


def follow(job: str, label: str, explain: Callable[[str], str | None] | None = None) -> str | None:
    """Wait for a job and show its progress; ``None`` when it ended well, else what to tell.

    Args:
        explain: Tells from what an engine said (the job's ``##log`` lines) why it failed, in a sentence, or ``None``.
    """
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
        _reconnect()
    if log.status == "0":
        return None
    if log.status == "killed":
        return f"{host.name}: {label}: the job was killed. Run again."
    if log.error:
        return log.error if log.error.startswith(f"{host.name}: ") else f"{host.name}: {label}: {log.error}"
    tail = "\n".join(log.tail)
    reason = explain("\n".join(log.said)) if explain else None
    return f"{host.name}: {label} failed:\n{tail}" + (f"\n{host.name}: {reason}" if reason else "")


@operation(is_idempotent=False)
def job(
    job: str,
    label: str,
    work: Callable[[], Work],
    explain: Callable[[str], str | None] | None = None,
    once: bool = False,
    ended: Callable[[], None] | None = None,
) -> Generator[StringCommand, None, None]:
    """Run a script as a job that outlives the connection, or attach to it, and wait for it.

    Args:
        job: Name of the job: the same work has the same name.
        work: Gives the work when its turn has come; one with an empty script: there is nothing to do after all.
        explain: Tells from what an engine said why it failed, or ``None``.
        once: Whether it is not done again if it was begun earlier in the run and has ended well.
        ended: Called when the job has ended, well or not.
    """
    if context_state.current_stage != StateStage.Execute:
        yield StringCommand("true")  # a preview: the script may depend on what earlier steps find out
        return
    try:
        own = work()
    except HermeionError as error:
        yield fail_here(str(error))
        return
    if not own.script:
        return
    yield StringCommand("sh", "-s", _stdin=start_script(job, own, run=RUN if once else None))
    failure = follow(job, label, explain)
    if ended:
        ended()
    if failure:
        yield fail_here(failure)


@operation(is_idempotent=False)
def begin(scripts: Callable[[], Sequence[str]]) -> Generator[StringCommand, None, None]:
    """Start jobs and wait for none of them.

    Args:
        scripts: Gives what starts each (:func:`hermeion.jobs.start_script`) when its turn has come.
    """
    if context_state.current_stage != StateStage.Execute:
        yield StringCommand("true")
        return
    try:
        own = scripts()
    except HermeionError as error:
        yield fail_here(str(error))
        return
    for script in own:
        yield StringCommand("sh", "-s", _stdin=script)


class Judgement(NamedTuple):
    """What the host says of its driver now.

    Attributes:
        due: Why a reboot is due; ``None``: it is not, all is well.
        refusal: Why a reboot must not be: the whole message.
    """

    due: str | None = None
    refusal: str | None = None


@operation(is_idempotent=False)
def reboot_unless(
    judge: Callable[[], Judgement],
    serving: Callable[[], dict[str, str]],
    timeout: int,
    begun: Callable[[], Sequence[str]],
) -> Generator[StringCommand, None, None]:
    """Reboot and wait, unless the host is well without it; one host of a service at a time.

    Args:
        judge: Asks the host.
        serving: Services that run here now, each with a script that ends with 0 once it answers.
        timeout: Seconds to wait for the host to come back.
        begun: What started the jobs that go on meanwhile: a reboot ends them, and they are started again.
    """
    yield StringCommand("sync")
    first = judge()
    if first.refusal:
        yield fail_here(first.refusal)
        return
    if first.due is None:
        return
    services = serving()
    with rolls.turn(services):  # nothing is yielded in here: a command that fails would leave the lock to nobody
        trouble = _reboot(first.due, services, timeout, judge, begun())
    if trouble:
        yield fail_here(trouble)


def _reboot(
    due: str, services: dict[str, str], timeout: int, judge: Callable[[], Judgement], begun: Sequence[str]
) -> str | None:
    """Reboot, unless a host of the same services has not come back; what went wrong, or ``None``."""
    host, state = context_host, context_state
    if short := rolls.who_stopped(services):
        service, other = short
        return (
            f"{host.name}: not rebooted: {other}, which serves {service} too, did not come back in this run. "
            f"See to {other}, then run again."
        )
    before = _boot()
    narration.say(host, f"  rebooting: {due}")
    goes, _, error = run(state, host, REBOOT)
    if not goes:
        return f"{host.name}: cannot be rebooted: {error.strip() or 'systemd-run failed'}. Reboot it, then run again."
    trouble = _come_back(before, timeout, judge)
    if not trouble:
        for script in begun:
            run(state, host, script)  # whoever waits for the job sees if it does not run
        trouble = _serve_again(services)
    if trouble:
        rolls.stop(services, host.name)
    return trouble


def _come_back(before: str, timeout: int, judge: Callable[[], Judgement]) -> str | None:
    """Wait for another boot than ``before`` and for a driver that is well; or what went wrong."""
    host, state = context_host, context_state
    begun = time.monotonic()
    told = 0
    now = before
    while now in {before, ""}:
        if time.monotonic() - begun > timeout:
            return (
                f"{host.name}: did not come back within {timeout} s of its reboot. Look at its console; run again "
                "when it is up (hermes_driver/reboot_timeout sets the wait)."
            )
        gevent.sleep(1)
        now = _boot()
        if not now:
            _reconnect()
        if (away := int(time.monotonic() - begun)) >= told + AWAY_SECONDS:
            told = away
            narration.say(host, f"  still away after {away} s (at most {timeout} s)")
    run(state, host, "systemctl is-system-running --wait", timeout=SETTLE_SECONDS)
    narration.say(host, f"  back after {time.monotonic() - begun:.0f} s")
    settled = time.monotonic()
    while (found := judge()) != Judgement():
        if time.monotonic() - settled > SETTLE_SECONDS:
            return found.refusal or f"{host.name}: the driver does not answer even after the reboot: {found.due}"
        gevent.sleep(1)
    return None


def _serve_again(services: dict[str, str]) -> str | None:
    """Wait until what served before the reboot serves again; or which does not."""
    host = context_host
    begun = time.monotonic()
    waiting = dict(services)
    while waiting:
        for service in [name for name, script in waiting.items() if run(context_state, host, script, timeout=60)[0]]:
            del waiting[service]
            narration.say(host, f"  {service} answers again after {time.monotonic() - begun:.0f} s")
        if waiting and time.monotonic() - begun > SERVE_SECONDS:
            names = ", ".join(sorted(waiting))
            return (
                f"{host.name}: rebooted, and {names} does not answer after {SERVE_SECONDS} s. "
                f"Look: journalctl -u hermeion-{min(waiting)} -n 50; then run again."
            )
        gevent.sleep(1)
    return None


def _reconnect() -> None:
    """Connect anew. What pyinfra left on the host for sudo's password may have gone with a reboot."""
    context_host.disconnect()
    clear_askpass_cache(context_host)
    with gevent.Timeout(15, exception=False):
        context_host.connect(show_errors=False)


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
