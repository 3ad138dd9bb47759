"""The operations that wait: for a job, and for a host that reboots. The clock is the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from hermeion import narration, operations

Answer = tuple[bool, list[str], str]


class Stage:
    """A host, a clock and what the host answers, in place of pyinfra's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.scripts: list[str] = []
        self.connections: list[str] = []
        self.answers: Iterator[Answer | Exception] = iter(())
        self.host = SimpleNamespace(
            name="gpu-1",
            connected=True,
            connect=lambda **_: self.connections.append("connect"),
            disconnect=lambda: self.connections.append("disconnect"),
        )
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(operations, "time", clock)
        monkeypatch.setattr(narration, "time", clock)
        monkeypatch.setattr(operations, "gevent", SimpleNamespace(sleep=self.sleep, Timeout=gevent.Timeout))
        monkeypatch.setattr(operations, "run", self.run)
        monkeypatch.setattr(operations, "context_host", self.host)
        monkeypatch.setattr(operations, "context_state", SimpleNamespace())
        monkeypatch.setattr(narration, "say", lambda _, text: self.said.append(text))
        monkeypatch.setattr(narration, "NOTES", {})

    def sleep(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    def run(self, _state: object, _host: object, script: str, **_: object) -> Answer:
        """The next answer."""
        self.scripts.append(script)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A host without a network."""
    return Stage(monkeypatch)


def poll(text: str, size: int, status: str = "") -> Answer:
    """What one poll of a job gives."""
    return True, [*text.split("\n"), f"@={size} {status}"], ""


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (poll("", 8, "0"), None),
        (poll("no space\n", 17, "1"), "gpu-1: weights failed:\nbegin\nno space"),
        (poll("", 8, "killed"), "gpu-1: weights: the job was killed. Run again."),
    ],
)
def test_job_ends(stage: Stage, last: Answer, message: str | None) -> None:
    """A job is followed to its end; one that failed shows its last lines."""
    stage.answers = iter([poll("begin\n", 6), last])

    assert message == operations.follow("weights-hermes", "weights")


def test_poll_goes_on_where_it_was(stage: Stage) -> None:
    """Each poll asks for what is new."""
    stage.answers = iter([poll("12345", 5), poll("67", 7), poll("", 7, "0")])
    operations.follow("j", "j")

    assert ["tail -c +1 ", "tail -c +6 ", "tail -c +8 "] == [
        next(line for line in script.splitlines() if line.startswith("tail"))[:11] for script in stage.scripts
    ]


def test_progress_is_shown(stage: Stage) -> None:
    """Bytes are shown while the job runs, and not more often than every two seconds."""
    polls = [poll(f"##progress {i * 100} 1000\n", i) for i in range(1, 10)]
    stage.answers = iter([*polls, poll("", 9, "0")])
    operations.follow("j", "weights")

    assert [
        "  weights: 400 bytes of 1000 bytes (40 %), 200 bytes/s, 3.0 s left",
        "  weights: 800 bytes of 1000 bytes (80 %), 200 bytes/s, 1.0 s left",
        "  weights: 900 bytes of 1000 bytes (90 %), 180 bytes/s, 0.6 s left",
    ] == stage.said


@pytest.mark.parametrize("trouble", [OSError("connection reset"), (False, [], ""), EOFError()])
def test_cut_connection(stage: Stage, trouble: Answer | Exception) -> None:
    """A cut connection is made anew; the job has gone on meanwhile."""
    stage.answers = iter([trouble, poll("", 0, "0")])

    assert None is operations.follow("j", "weights")
    assert ["disconnect", "connect"] == stage.connections


def test_host_that_is_gone(stage: Stage) -> None:
    """A host that does not answer for five minutes is given up; its job is not."""
    stage.answers = iter(lambda: (False, [], ""), None)

    assert (
        "gpu-1: weights: the host does not answer any more; the job weights-hermes goes on there. Run again."
        == operations.follow("weights-hermes", "weights")
    )
    assert operations.LOST_SECONDS < stage.now < operations.LOST_SECONDS + 5


def reboot(ready: Callable[[], str | None], timeout: int = 60) -> list[str]:
    """Run the operation; the commands it gave."""
    generate: Any = operations.reboot_unless._inner
    commands = generate(ready=ready, timeout=timeout, reason="the driver does not answer")
    return [str(command) for command in commands]


def test_no_reboot_is_needed(stage: Stage) -> None:
    """A host that is ready is not rebooted."""
    assert ["sync"] == reboot(lambda: None)


def test_reboot(stage: Stage) -> None:
    """The host is back when its boot is another one, not when it merely answers."""
    stage.answers = iter(
        [
            (True, ["boot-1"], ""),
            (True, ["boot-1"], ""),  # still going down
            OSError("refused"),
            (True, ["boot-2"], ""),
            (True, [], ""),  # systemctl is-system-running
        ]
    )
    whys = iter(["nvidia-smi gives no answer", None])
    commands = reboot(lambda: next(whys))

    assert ["sync", "systemd-run"] == [command.split()[0] for command in commands]
    assert ["disconnect", "connect"] == stage.connections
    assert ["  rebooting: nvidia-smi gives no answer", "  back after 3 s"] == stage.said
    assert {} == narration.NOTES


def test_host_that_does_not_come_back(stage: Stage) -> None:
    """A host that stays away fails, with the next step."""
    stage.answers = iter([(True, ["boot-1"], ""), *[OSError("refused")] * 100])
    commands = reboot(lambda: "no driver", timeout=60)

    assert (
        "gpu-1: did not come back within 60 s of its reboot. Look at its console; run again when it is up "
        "(hermes_driver/reboot_timeout sets the wait)." == narration.NOTES["gpu-1"]
    )
    assert commands[-1].endswith(">&2; exit 1")


def test_reboot_that_does_not_help(stage: Stage) -> None:
    """A driver that is not there after the reboot either is told with its own words."""
    stage.answers = iter([(True, ["boot-1"], ""), (True, ["boot-2"], ""), (True, [], "")])
    reboot(lambda: "No devices were found")

    assert "gpu-1: the driver does not answer even after the reboot: No devices were found" == narration.NOTES["gpu-1"]
    assert operations.SETTLE_SECONDS <= stage.now
