"""The operations that wait: for a job, and for a host that reboots. The clock is the test's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from hermeion import narration, operations, rolls
from hermeion.operations import Judgement

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
        monkeypatch.setattr(operations, "clear_askpass_cache", lambda _: self.connections.append("forget"))
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
        (poll("##error no room\n", 17, "1"), "gpu-1: weights: no room"),
        (poll("##error gpu-1: no headers.\n", 17, "1"), "gpu-1: no headers."),
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
        "  weights: 900 bytes of 1000 bytes (90 %), 177 bytes/s, 0.6 s left",
    ] == stage.said


def test_rate_is_that_of_now(stage: Stage) -> None:
    """What was there before the run does not count as speed, nor does what came faster long ago; files are told."""
    steps = [90_000, *range(90_100, 94_100, 100)]
    polls = [poll(f"##progress {done} 100000\n##files 3 9\n", i) for i, done in enumerate(steps)]
    stage.answers = iter([*polls, poll("", 9, "0")])
    operations.follow("j", "weights")

    assert "  weights: 88.2 KiB of 97.7 KiB (90 %), 200 bytes/s, 48.5 s left, 3 of 9 files" == stage.said[0]
    assert all(", 200 bytes/s, " in line for line in stage.said[:-1])


def test_rate_begins_with_the_first_bytes(stage: Stage) -> None:
    """The time in which something else was seen to does not count as slowness."""
    before = [poll("##note installing the Hub client\n##progress 0 100000\n", 1)] * 20
    polls = [poll(f"##progress {done} 100000\n", 2) for done in range(1000, 6000, 500)]
    stage.answers = iter([*before, *polls, poll("", 9, "0")])
    operations.follow("j", "weights")

    assert "  weights: 1.5 KiB of 97.7 KiB (2 %), 1000 bytes/s, 1 min 38 s left" == stage.said[1]


def test_bytes_that_do_not_come(stage: Stage) -> None:
    """While nothing comes, the note says why."""
    stage.answers = iter(
        [poll("##progress 5 10\n##note the Hub answers 429, next try in 30 s\n", 5)] * 5 + [poll("", 5, "0")]
    )
    operations.follow("j", "weights")

    assert ["  weights: the Hub answers 429, next try in 30 s; 5 bytes of 10 bytes have come (2.0 s)"] == (stage.said)


@pytest.mark.parametrize("trouble", [OSError("connection reset"), (False, [], ""), EOFError()])
def test_cut_connection(stage: Stage, trouble: Answer | Exception) -> None:
    """A cut connection is made anew; the job has gone on meanwhile."""
    stage.answers = iter([trouble, poll("", 0, "0")])

    assert None is operations.follow("j", "weights")
    assert ["disconnect", "forget", "connect"] == stage.connections


def test_host_that_is_gone(stage: Stage) -> None:
    """A host that does not answer for five minutes is given up; its job is not."""
    stage.answers = iter(lambda: (False, [], ""), None)

    assert (
        "gpu-1: weights: the host does not answer any more; the job weights-hermes goes on there. Run again."
        == operations.follow("weights-hermes", "weights")
    )
    assert operations.LOST_SECONDS < stage.now < operations.LOST_SECONDS + 5


WELL = Judgement()
GONE: list[Answer | Exception] = [OSError("refused")] * 100
BACK: list[Answer | Exception] = [
    (True, ["boot-1"], ""),
    (True, [], ""),  # systemd-run
    (True, ["boot-1"], ""),  # still going down
    OSError("refused"),
    (True, ["boot-2"], ""),
    (True, [], ""),  # systemctl is-system-running
]


@pytest.fixture(autouse=True)
def fresh_rolls(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host has failed yet."""
    monkeypatch.setattr(rolls, "STOPPED", {})


def reboot(
    *judgements: Judgement, timeout: int = 60, serving: Mapping[str, str] | None = None, begun: tuple[str, ...] = ()
) -> list[str]:
    """Run the operation on a host that says this of itself, the last one for ever; the commands it gave."""
    words = chain(judgements, repeat(judgements[-1]))
    generate: Any = operations.reboot_unless._inner
    commands = generate(
        judge=lambda: next(words), serving=lambda: dict(serving or {}), timeout=timeout, begun=lambda: begun
    )
    return [str(command) for command in commands]


def test_no_reboot_is_needed(stage: Stage) -> None:
    """A host that is well is not rebooted."""
    assert ["sync"] == reboot(WELL)


def test_reboot_that_must_not_be(stage: Stage) -> None:
    """What came up since the plan was made, somebody's work on the GPU, is a refusal and not a reboot."""
    reboot(Judgement(refusal="gpu-1: python (4711) uses the GPU."))

    assert "gpu-1: python (4711) uses the GPU." == narration.NOTES["gpu-1"]
    assert [] == stage.scripts


def test_reboot(stage: Stage) -> None:
    """The host is back when its boot is another one, not when it merely answers."""
    stage.answers = iter(BACK)
    commands = reboot(Judgement(due="nvidia-smi gives no answer"), WELL)

    assert ["sync"] == commands
    assert "systemctl reboot" in stage.scripts[1]
    assert ["disconnect", "forget", "connect"] == stage.connections
    assert ["  rebooting: nvidia-smi gives no answer", "  back after 3 s"] == stage.said
    assert {} == narration.NOTES


def test_services_answer_again(stage: Stage) -> None:
    """A host that served is done when each of its services answers again."""
    stage.answers = iter([*BACK, (False, [], ""), (True, [], ""), (True, [], "")])
    reboot(Judgement(due="old module"), WELL, serving={"hermes": "ask hermes", "small": "ask small"})

    assert ["ask hermes", "ask small", "ask hermes"] == stage.scripts[-3:]
    assert ["  small answers again after 0 s", "  hermes answers again after 1 s"] == stage.said[-2:]
    assert {} == rolls.STOPPED


def test_jobs_go_on_after_a_reboot(stage: Stage) -> None:
    """What was begun before a reboot is ended in order, and begun again before anything else is waited for."""
    stage.answers = iter([*BACK, (True, [], ""), (True, [], "")])
    reboot(Judgement(due="old module"), WELL, serving={"hermes": "ask"}, begun=("start weights",))

    assert "systemctl stop 'hermeion-weights-*.service' 'hermeion-engine-*.service'" in stage.scripts[1]
    assert ["start weights", "ask"] == stage.scripts[-2:]


def test_service_that_does_not_answer_again(stage: Stage) -> None:
    """A service that stays away after the reboot is named, and no other host of it is rebooted in this run."""
    stage.answers = iter([*BACK, *[(False, [], "")] * 3000])
    reboot(Judgement(due="old module"), WELL, serving={"hermes": "ask"})

    assert (
        "gpu-1: rebooted, and hermes does not answer after 1800 s. Look: journalctl -u hermeion-hermes -n 50; then run "
        "again." == narration.NOTES["gpu-1"]
    )
    assert {"hermes": "gpu-1"} == rolls.STOPPED


def test_roll_stops(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is not rebooted while another one of its service is missing."""
    monkeypatch.setattr(rolls, "STOPPED", {"hermes": "gpu-0"})
    reboot(Judgement(due="old module"), serving={"hermes": "ask"})

    assert (
        "gpu-1: not rebooted: gpu-0, which serves hermes too, did not come back in this run. See to gpu-0, then run "
        "again." == narration.NOTES["gpu-1"]
    )
    assert [] == stage.scripts


def test_host_that_does_not_come_back(stage: Stage) -> None:
    """A host that stays away fails, with the next step."""
    stage.answers = iter([*BACK[:2], *GONE])
    commands = reboot(Judgement(due="no driver"), timeout=60, serving={"hermes": "ask"})

    assert (
        "gpu-1: did not come back within 60 s of its reboot. Look at its console; run again when it is up "
        "(hermes_driver/reboot_timeout sets the wait)." == narration.NOTES["gpu-1"]
    )
    assert commands[-1].endswith(">&2; exit 1")
    assert ["  still away after 15 s (at most 60 s)", "  still away after 30 s (at most 60 s)"] == stage.said[1:3]
    assert {"hermes": "gpu-1"} == rolls.STOPPED


def test_host_that_cannot_be_rebooted(stage: Stage) -> None:
    """A host that refuses the reboot itself says so."""
    stage.answers = iter([(True, ["boot-1"], ""), (False, [], "Access denied\n")])
    reboot(Judgement(due="no driver"))

    assert "gpu-1: cannot be rebooted: Access denied. Reboot it, then run again." == narration.NOTES["gpu-1"]


def test_reboot_that_does_not_help(stage: Stage) -> None:
    """A driver that is not there after the reboot either is told with its own words."""
    stage.answers = iter(BACK)
    reboot(Judgement(due="No devices were found"))

    assert "gpu-1: the driver does not answer even after the reboot: No devices were found" == narration.NOTES["gpu-1"]
    assert operations.SETTLE_SECONDS <= stage.now


def test_one_host_of_a_service_at_a_time() -> None:
    """Hosts of one service take turns; a host of another service, or of none, does not wait."""
    log: list[str] = []

    def out(host: str, *services: str) -> None:
        with rolls.turn(services):
            log.append(f"{host} out")
            gevent.sleep(0.01)
            log.append(f"{host} back")

    gevent.joinall(
        [
            gevent.spawn(out, "a", "hermes", "small"),
            gevent.spawn(out, "b", "small", "hermes"),
            gevent.spawn(out, "c", "other"),
            gevent.spawn(out, "d"),
        ]
    )

    assert ["a out", "c out", "d out"] == log[:3]
    assert log.index("a back") < log.index("b out")
