"""Long work on a host runs as a job: a transient systemd unit that outlives the connection.

A job's script prints ``##total BYTES``, ``##progress DONE TOTAL`` (bytes), ``##files DONE TOTAL`` and ``##note TEXT`` for
people who wait, ``##fact KEY VALUE`` for programs, ``##error TEXT`` when it fails for a reason that one sentence tells,
and ``##log TEXT`` for what an engine said before it failed; all other output is kept for the day it fails. The next run
attaches to a job that is still running.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from hermeion.records import Record

TAIL_LINES = 20
"""Lines of a failed job that are shown."""

SAID_LINES = 400
"""Lines of an engine's log that are kept for an explanation."""

FOLDER = "/run/hermeion/jobs"
"""On tmpfs and private: a job's script may hold a token for as long as it runs."""


class Work(NamedTuple):
    """What a job does.

    Attributes:
        secrets: Texts by file name: files of :func:`secrets_folder`, for the job's eyes alone.
    """

    script: str
    secrets: Mapping[str, str] = MappingProxyType({})


class HostFile(Record):
    """A file to write on a host, atomically."""

    path: str
    content: str
    mode: str = "0644"
    owner: str = "root:root"


def write_files(files: tuple[HostFile, ...] | list[HostFile]) -> str:
    """A script that writes each file that differs: private temporary file, then rename."""
    lines = [
        "put() { # $1 = path, $2 = mode, $3 = owner, $4 = content in base64",
        '  [ -d "${1%/*}" ] || mkdir -p -m 0755 "${1%/*}"',
        '  t=$(umask 077; mktemp "$1.XXXXXX") && printf %s "$4" | base64 -d > "$t" && chmod "$2" "$t" && chown "$3" "$t" &&',
        '    sync "$t" && mv -fT "$t" "$1" || { rm -f "$t"; return 1; }',
        "}",
    ]
    for file in files:
        content = base64.b64encode(file.content.encode()).decode()
        lines.append(f"put {shlex.quote(file.path)} {file.mode} {file.owner} {content}")
    return "\n".join(lines) + "\n"


def secrets_folder(job: str) -> str:
    """Where a job finds its secrets, a file each; it is gone when the job has ended, however it ended."""
    return f"{FOLDER}/{job}.secrets"


def start_script(job: str, work: Work, *, run: str | None = None) -> str:
    """Start a job, or attach to the same one that is running. Goes over standard input.

    A job of the same name with another script, left by a run that wanted something else, is waited for first.

    Another secret does not make it another job.

    Args:
        run: Name of the run: the same job that it began earlier, and that has ended well, is not done again.
    """
    body = base64.b64encode(work.script.encode()).decode()
    identity = hashlib.sha256(work.script.encode()).hexdigest()
    unit, folder = f"hermeion-{job}", secrets_folder(job)
    hidden = "".join(
        f"printf %s {base64.b64encode(text.encode()).decode()} | base64 -d > {folder}/{shlex.quote(name)}\n"
        for name, text in sorted(work.secrets.items())
    )
    mark = f"{identity} {shlex.quote(run or '')}"
    marks = f"$(cat {job}.mark {job}.status 2>/dev/null | tr '\\n' ' ')"
    ended = f'[ "{marks}" != "{mark} 0 " ] || exit 0' if run else ""
    return f"""set -eu
umask 077
install -d -m 0711 /run/hermeion
install -d -m 0700 {FOLDER}
cd {FOLDER}
while case $(systemctl show -p ActiveState --value {unit}.service) in active|activating|deactivating) ;; *) false ;; esac
do
  if [ ! -e {job}.status ] && [ "$(cat {job}.id 2>/dev/null)" = {identity} ]; then echo "{mark}" > {job}.mark; exit 0; fi
  sleep 1
done
{ended}
systemctl reset-failed {unit}.service 2>/dev/null || true
rm -rf {job}.log {job}.status {folder}
mkdir {folder}
{hidden}printf %s {body} | base64 -d > {job}.sh
echo {identity} > {job}.id
echo "{mark}" > {job}.mark
cat > {job}.run <<'END'
cd {FOLDER}
sh {job}.sh > {job}.log 2>&1
echo $? > {job}.status.new
mv {job}.status.new {job}.status
END
: > {job}.log
systemd-run --quiet --collect --unit={unit} --description="Hermeion: {job}" \
  -p "ExecStopPost=/bin/rm -rf {FOLDER}/{job}.sh {folder}" /bin/sh {FOLDER}/{job}.run 2> {job}.log || echo 1 > {job}.status
"""


def poll_script(job: str, offset: int) -> str:
    """Print the job's output from byte ``offset`` on, then ``@=`` with the log's size and the job's status."""
    return f"""cd {FOLDER} 2>/dev/null # gone after a reboot
state=$(systemctl show -p ActiveState --value hermeion-{job}.service)
ended=$(cat {job}.status 2>/dev/null)
[ -n "$ended" ] || [ "$state" != inactive ] || ended=killed
size=$(stat -c %s {job}.log 2>/dev/null || echo 0)
if [ "$size" -gt {offset} ]; then
tail -c +{offset + 1} {job}.log | head -c $((size - {offset}))
fi
printf '\\n@=%s %s\\n' "$size" "$ended"
"""


class JobLog:
    """What a job has printed so far.

    Attributes:
        done: Bytes done, or 0.
        total: Bytes in all, or 0 when nobody said.
        files: Files done and in all, or ``(0, 0)``.
        facts: Figures for programs, as text.
        note: The latest note.
        error: Why the job failed, in a sentence that needs nothing else.
        tail: The last lines that were not meant for the progress display.
        said: The last ``##log`` lines: what an engine said, for whoever explains it.
        offset: Bytes of the log read so far.
        status: Exit status as text, ``killed``, or ``""`` while the job runs.
    """

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.files = (0, 0)
        self.facts: dict[str, str] = {}
        self.note = ""
        self.error = ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.said: deque[str] = deque(maxlen=SAID_LINES)
        self.offset = 0
        self.status = ""
        self._partial = ""
        self._layers: dict[str, tuple[int, int]] = {}

    def feed(self, lines: list[str]) -> None:
        """Take the lines of one poll. The last one tells the log's size and, once the job has ended, its status."""
        *body, last = lines
        size, _, self.status = last.removeprefix("@=").partition(" ")
        self.offset = int(size)
        # The poll adds a newline of its own, so an empty last line means that the log ended with a whole line.
        partial = body.pop() if body else ""
        if body:
            body[0] = self._partial + body[0]
            self._partial = partial
        else:
            self._partial += partial
        if self.status and self._partial:
            body.append(self._partial)
        for line in body:
            self._line(line)

    def _line(self, line: str) -> None:
        if line.startswith("##progress "):
            done, total, *_ = line.split()[1:]
            if int(done) > self.done:
                self.note = ""  # what was said before is over
            self.done, self.total = int(done), int(total)
        elif line.startswith("##total "):
            self.total = int(line.split()[1])
        elif line.startswith("##files "):
            done, total, *_ = line.split()[1:]
            self.files = int(done), int(total)
        elif line.startswith("##fact "):
            key, _, value = line[7:].partition(" ")
            self.facts[key] = value
        elif line.startswith("##note "):
            self.note = line[7:]
        elif line.startswith("##error "):
            self.error = line[8:]
        elif line.startswith("##log "):
            self.said.append(line[6:])
        elif line.startswith(('{"status":', '{"errorDetail":')):
            self._docker(line)
        elif line.startswith(("dlstatus:", "pmstatus:")):
            _, _, percent, text = line.split(":", 3)
            self.note = f"{float(percent):.0f} % {text}"
        elif (text := line.rpartition("\r")[2].rstrip()) and not text.startswith("(Reading database"):
            self.tail.append(text)

    def _docker(self, line: str) -> None:
        """One line of the Docker API's pull stream."""
        try:
            event = json.loads(line)
        except ValueError:
            self.tail.append(line)
            return
        if "error" in event:
            self.tail.append(str(event["error"]))
        layer, status = event.get("id", ""), event.get("status", "")
        detail = event.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._layers[layer] = (detail["current"], detail["total"])
        elif status in {"Download complete", "Pull complete"} and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)
            if all(a == b for a, b in self._layers.values()):
                self.note = "unpacking"
        self.done = sum(current for current, _ in self._layers.values())
        # Layers that are here already are in the total that was announced, and never come.
        coming = sum(total for _, total in self._layers.values())
        self.total = coming if self.note == "unpacking" else max(self.total, coming)
