"""Long work on a host: its scripts, and its log as it is read piece by piece."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from hermeion.jobs import TAIL_LINES, HostFile, JobLog, Work, poll_script, start_script, write_files


def read(*polls: tuple[str, int, str]) -> JobLog:
    """A log after polls of text, size and status, each as ``poll_script`` prints it."""
    log = JobLog()
    for text, size, status in polls:
        log.feed([*f"{text}\n@={size} {status}".split("\n")])
    return log


@pytest.mark.parametrize(
    ("text", "done", "total", "note", "tail"),
    [
        ("##progress 5 10\n", 5, 10, "", []),
        ("##total 7\n", 0, 7, "", []),
        ("##note hello there\n", 0, 0, "hello there", []),
        ("##files 3 7\n##fact fetched 12\n", 0, 0, "", []),
        ("dlstatus:1:20.5:Retrieving file 1 of 5\n", 0, 0, "20 % Retrieving file 1 of 5", []),
        ("pmstatus:nvidia-driver:80.0:Installing: now\n", 0, 0, "80 % Installing: now", []),
        ("first\n\n  \nsecond\n", 0, 0, "", ["first", "second"]),
        ("", 0, 0, "", []),
    ],
)
def test_lines(text: str, done: int, total: int, note: str, tail: list[str]) -> None:
    """Progress, notes and apt's status are for those who wait; all else is kept for the day it fails."""
    log = read((text, len(text), ""))

    assert (done, total, note, tail, len(text), "") == (
        log.done,
        log.total,
        log.note,
        list(log.tail),
        log.offset,
        log.status,
    )


def test_line_in_pieces() -> None:
    """A line that arrives in three polls is one line."""
    log = read(("##prog", 6, ""), ("ress 5", 12, ""), (" 10\nnext", 20, ""))

    assert (5, 10, []) == (log.done, log.total, list(log.tail))


def test_last_line_without_newline() -> None:
    """When the job has ended, a last line without a newline counts."""
    log = read(("no newline", 10, "1"))

    assert (["no newline"], "1") == (list(log.tail), log.status)


def test_whole_line_then_nothing() -> None:
    """A poll without news changes nothing, and a line is not read twice."""
    log = read(("one\n", 4, ""), ("", 4, ""), ("two\n", 8, "0"))

    assert (["one", "two"], 8, "0") == (list(log.tail), log.offset, log.status)


def test_tail_is_short() -> None:
    """Of a long output the last lines are kept."""
    log = read(("".join(f"{i}\n" for i in range(100)), 290, ""))

    assert [str(i) for i in range(100 - TAIL_LINES, 100)] == list(log.tail)


def event(identity: str, status: str, current: int = 0, total: int = 0) -> str:
    """One line of Docker's pull stream."""
    detail = {"current": current, "total": total} if total else {}
    return json.dumps({"status": status, "progressDetail": detail, "id": identity}, separators=(",", ":")) + "\n"


def test_docker_stream() -> None:
    """Bytes of all layers are added up; when all are here, they are being unpacked."""
    log = JobLog()
    log.feed(
        [
            *("##total 300\n" + event("a", "Downloading", 10, 100) + event("b", "Downloading", 20, 200)).split("\n"),
            "@=1 ",
        ]
    )
    assert (30, 300, "") == (log.done, log.total, log.note)

    log.feed([*event("a", "Download complete").split("\n"), "@=2 "])
    assert (120, 300, "") == (log.done, log.total, log.note)

    log.feed([*(event("b", "Pull complete") + event("c", "Already exists")).split("\n"), "@=3 "])
    assert (300, 300, "unpacking") == (log.done, log.total, log.note)


def test_layers_that_are_here_already() -> None:
    """When all that had to come has come, nothing is missing, though more was announced."""
    lines = "##total 700\n" + event("a", "Downloading", 100, 300) + event("a", "Download complete")
    log = read((lines, len(lines), ""))

    assert (300, 300, "unpacking") == (log.done, log.total, log.note)


@pytest.mark.parametrize(
    ("line", "tail"),
    [
        ('{"errorDetail":{"message":"no space"},"error":"no space"}', ["no space"]),
        ('{"status":"broken', ['{"status":"broken']),
    ],
)
def test_docker_errors(line: str, tail: list[str]) -> None:
    """Docker's errors, and lines that are no JSON, are kept."""
    assert tail == list(read((f"{line}\n", 1, "1")).tail)


def test_killed() -> None:
    """A job that was killed has a status of its own."""
    assert "killed" == read(("half a li", 9, "killed")).status


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script by the shell, strictly."""
    return subprocess.run(["sh", "-s"], input=script, cwd=folder, capture_output=True, text=True, check=False)


HOSTILE = "$HOME `id` \"double\" 'single' %n {{ x }} \\ end\nsecond line\n\ttab é ×"


def test_files_are_written(tmp_path: Path) -> None:
    """Contents arrive byte for byte, with their mode, in folders that are made; nothing else is left there."""
    owner = f"{tmp_path.stat().st_uid}:{tmp_path.stat().st_gid}"
    path = tmp_path / "new folder" / "it's $HOME"
    done = shell(write_files([HostFile(path=str(path), content=HOSTILE, mode="0640", owner=owner)]), tmp_path)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert HOSTILE == path.read_text()
    assert "0o100640" == oct(path.stat().st_mode)
    assert [path.name] == [child.name for child in path.parent.iterdir()]


def test_file_is_replaced(tmp_path: Path) -> None:
    """An old file is replaced as a whole: whoever holds the old one keeps it."""
    owner = f"{tmp_path.stat().st_uid}:{tmp_path.stat().st_gid}"
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as held:
        shell(write_files([HostFile(path=str(path), content="new", owner=owner)]), tmp_path)

        assert ("old", "new") == (held.read(), path.read_text())


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Where a file cannot be put, the script fails under ``set -e`` and leaves no temporary file."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").mkdir()
    (tmp_path / "folder" / "x" / "full").touch()
    owner = f"{tmp_path.stat().st_uid}:{tmp_path.stat().st_gid}"
    script = "set -eu\n" + write_files([HostFile(path=str(tmp_path / "folder" / "x"), content="a", owner=owner)])

    assert 0 != shell(script, tmp_path).returncode
    assert ["x"] == [child.name for child in (tmp_path / "folder").iterdir()]


@pytest.mark.parametrize(
    "script",
    [
        start_script("weights-hermes", Work(HOSTILE)),
        start_script("weights-hermes", Work(HOSTILE, {"token": HOSTILE}), run="a1b2"),
        poll_script("weights-hermes", 17),
    ],
)
def test_scripts_are_shell(script: str) -> None:
    """What goes to a host is shell, whatever the job holds."""
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def fake_systemctl(folder: Path, state: str) -> str:
    """A prefix that puts a stand-in for systemctl before the real one, and moves the jobs' folder."""
    tool = folder / "bin" / "systemctl"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\necho {state}\n")
    tool.chmod(0o755)
    return f"PATH={tool.parent}:$PATH\n"


SECRET = "hf_secret"


class Host:
    """A folder in which jobs are started; systemd is played by two small programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = folder / "run" / "jobs"
        tools = folder / "bin"
        tools.mkdir()
        # Active until the unit's state is set; what is started runs at once and writes down how it was called.
        for name, text in {
            "systemctl": f'[ "$1" = show ] && cat {folder}/state || true',
            "systemd-run": f'printf "%s\\n" "$@" >> {folder}/started; shift $(($# - 2)); [ -e {folder}/slow ] || "$@"',
        }.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        self.state("inactive")

    def state(self, state: str) -> None:
        """What systemd says of every unit."""
        (self.folder / "state").write_text(f"{state}\n")

    def start(self, work: Work, *, run: str | None = None) -> int:
        """Start the job ``j``; how often systemd was asked to start one, in all."""
        script = start_script("j", work, run=run).replace("/run/hermeion", f"{self.folder}/run")
        script = script.replace("install -d -m 0711", "install -d -m 0755")
        done = shell(f"PATH={self.folder}/bin:$PATH\n{script}", self.folder)
        assert (0, "") == (done.returncode, done.stderr)
        started = self.folder / "started"
        return started.read_text().count("--unit=hermeion-j") if started.exists() else 0


def test_job_runs(tmp_path: Path) -> None:
    """A job leaves its output and its status; the next run of the same one is another one."""
    host = Host(tmp_path)

    assert 1 == host.start(Work("echo hello; exit 3"))
    assert ("hello\n", "3\n") == ((host.jobs / "j.log").read_text(), (host.jobs / "j.status").read_text())
    assert 2 == host.start(Work("echo hello; exit 3"))


@pytest.mark.parametrize(("ends", "again"), [("true", 1), ("false", 2)])
def test_job_that_was_begun_earlier(tmp_path: Path, ends: str, again: int) -> None:
    """A job that was begun earlier in the run is not done again if it has ended well, and is if it has not."""
    host = Host(tmp_path)
    host.start(Work(ends), run="this")

    assert again == host.start(Work(ends), run="this")
    assert again + 1 == host.start(Work("another"), run="this")


def test_job_of_an_earlier_run(tmp_path: Path) -> None:
    """What an earlier run has done well is done again: the host may have changed since."""
    host = Host(tmp_path)
    host.start(Work("true"), run="earlier")

    assert 2 == host.start(Work("true"), run="this")


def test_job_of_an_earlier_run_that_goes_on(tmp_path: Path) -> None:
    """A job that an earlier run began is this run's own from then on: it is waited for, not done again."""
    host = Host(tmp_path)
    (tmp_path / "slow").touch()
    host.start(Work("true"), run="earlier")
    host.state("active")
    host.start(Work("true"), run="this")
    host.state("inactive")
    (host.jobs / "j.status").write_text("0\n")

    assert 1 == host.start(Work("true"), run="this")


def test_job_that_cannot_be_started(tmp_path: Path) -> None:
    """What systemd says when it starts nothing is what the job leaves."""
    host = Host(tmp_path)
    (tmp_path / "bin" / "systemd-run").write_text("#!/bin/sh\necho 'Connection reset by peer' >&2; exit 1\n")
    host.start(Work("true"))

    assert ("Connection reset by peer\n", "1\n") == (
        (host.jobs / "j.log").read_text(),
        (host.jobs / "j.status").read_text(),
    )


def test_job_that_runs(tmp_path: Path) -> None:
    """The same job that is running is attached to, another secret notwithstanding."""
    host = Host(tmp_path)
    (tmp_path / "slow").touch()
    host.start(Work("pull", {"token": SECRET}))
    host.state("active")

    assert 1 == host.start(Work("pull", {"token": "another"}))


def test_secrets_of_a_job(tmp_path: Path) -> None:
    """A job's secrets are private files; they are in no argument, nor in its script, and systemd takes them away."""
    host = Host(tmp_path)
    (tmp_path / "slow").touch()
    host.start(Work("cat j.secrets/token", {"token": SECRET}))
    secret = host.jobs / "j.secrets" / "token"
    started = (tmp_path / "started").read_text()

    assert SECRET == secret.read_text()
    assert ("0o100600", "0o40700") == (oct(secret.stat().st_mode), oct(secret.parent.stat().st_mode))
    assert SECRET not in started
    assert [f"ExecStopPost=/bin/rm -rf {host.jobs}/j.sh {host.jobs}/j.secrets"] == [
        line for line in started.splitlines() if line.startswith("ExecStopPost")
    ]
    assert [secret] == [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()]


def test_secrets_of_an_earlier_job(tmp_path: Path) -> None:
    """A job does not find the secrets of the one before it."""
    host = Host(tmp_path)
    host.start(Work("true", {"token": SECRET}))
    host.start(Work("ls j.secrets"))

    assert "" == (host.jobs / "j.log").read_text()


@pytest.mark.parametrize(
    ("state", "status", "ended"),
    [
        ("active", None, ""),
        ("inactive", "0", "0"),
        ("inactive", "7", "7"),
        ("inactive", None, "killed"),
        ("active", "0", "0"),
    ],
)
def test_poll(tmp_path: Path, state: str, status: str | None, ended: str) -> None:
    """A poll prints what is new, the size, and how the job ended; a job that is gone without a status was killed."""
    (tmp_path / "j.log").write_text("0123456789\nabc")
    if status is not None:
        (tmp_path / "j.status").write_text(f"{status}\n")
    script = fake_systemctl(tmp_path, state) + poll_script("j", 5).replace("/run/hermeion/jobs", str(tmp_path))

    assert f"56789\nabc\n@=14 {ended}\n" == shell(script, tmp_path).stdout


def test_poll_after_a_reboot(tmp_path: Path) -> None:
    """A job whose log went with a reboot was killed."""
    script = fake_systemctl(tmp_path, "inactive") + poll_script("j", 5).replace("/run/hermeion/jobs", f"{tmp_path}/no")
    done = shell(script, tmp_path)
    log = JobLog()
    log.feed(done.stdout.splitlines())

    assert ("", "killed", 0) == (done.stderr, log.status, log.offset)


def test_error_in_one_sentence() -> None:
    """A script that knows why it failed says it in a line of its own."""
    log = JobLog()
    log.feed(["(Reading database ... \r(Reading database ... 5%", "E: apt", "##error no room", "", "@=40 1"])

    assert ("no room", ["E: apt"]) == (log.error, list(log.tail))


def test_note_is_over_when_bytes_come() -> None:
    """What was waited for is not told any more when bytes come again."""
    log = read(("##note waiting\n##progress 5 10\n", 30, ""))

    assert "" == log.note


def test_files_and_facts() -> None:
    """Files are counted beside the bytes; figures for programs are kept by name."""
    log = read(("##files 3 7\n##fact source the Hub\n##fact fetched 12\n", 50, "0"))

    assert ((3, 7), {"source": "the Hub", "fetched": "12"}) == (log.files, log.facts)
