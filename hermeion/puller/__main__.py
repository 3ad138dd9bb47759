"""``python -m puller JOB.json``: exit status 0 means complete, checked and recorded."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from .client import prepare_client
from .identity import become, owner_of
from .job import Job, read_job
from .kinds import open_source
from .private import hold_secrets, make_private, trust
from .run import pull
from .sources import Refused, Stopped
from .talk import say


def main(arguments: list[str]) -> int:
    """Pull; the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    job = None
    try:
        job = read_job(Path(arguments[0]).read_text(encoding="utf-8"))
        run(job)
    except Refused as error:
        say("error", error)
    except Stopped:
        say("error", f"{job.repo if job else 'the pull'}: stopped. What has come stays; run again to go on.")
        return 143
    except OSError as error:
        say("error", os_sentence(error, job))
    except Exception as error:  # a fault of ours: the log keeps where
        traceback.print_exc(file=sys.stdout)
        say("error", f"{job.repo if job else arguments}: {type(error).__name__}: {error}; the job's log tells where.")
    else:
        return 0
    return 1


def run(job: Job) -> None:
    """Read the secrets as root, and do the rest as the cache's owner."""
    owner = owner_of(job.cache)
    folder = make_private(owner)
    try:
        entries = tuple(hold_secrets(entry, folder, owner) for entry in job.sources)
        if certificates := [entry["ca"] for entry in entries if entry.get("ca")]:
            trust(certificates, folder, owner)
        sources = [open_source(entry, job) for entry in entries]
        become(owner)
        prepare_client(folder)
        pull(job, sources)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def os_sentence(error: OSError, job: Job | None) -> str:
    """What the system refused, and what to do about it."""
    path = Path(str(error.filename or (job.cache if job else ".")))
    user = f"uid {os.geteuid()}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{path}: {error.strerror} for {user}; {_owned(path)}. The cache is written by the owner of its folder: "
            f"give all in it to one user (chown -R {os.geteuid()} {job.cache if job else path}), and run again."
        )
    if error.errno == errno.EROFS:
        return (
            f"{path}: the filesystem is mounted read-only. Mount it for writing on the host that pulls, or put "
            "hermes_cache elsewhere."
        )
    return f"{path}: {error.strerror or error}."


def _owned(path: Path) -> str:
    """Whose the path is, or the nearest folder above it that can be seen."""
    for place in (path, *path.parents):
        try:
            found = place.stat()
        except OSError:
            continue
        try:
            name = f" ({pwd.getpwuid(found.st_uid).pw_name})"
        except KeyError:
            name = ""
        return f"{place} belongs to uid {found.st_uid}{name}, mode {found.st_mode & 0o7777:04o}"
    return "its owner cannot be seen"


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # once is enough; the rest is tidying up
    raise Stopped


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Threads may sit in a read, or in a library that is not Python: nobody waits for them.
    os._exit(status)
