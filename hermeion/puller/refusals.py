"""What the Hub's refusals mean, and what to do about each."""

from __future__ import annotations

from .job import File, Job
from .sources import Refused

_TOKEN = "export HF_TOKEN=hf_… where Hermeion runs, and run again"  # noqa: S105

_MISSING = ("RepoNotFound", "RevisionNotFound", "EntryNotFound")


def refusal(job: Job, file: File, *, endpoint: str, status: int, code: str, token: bool) -> Refused:
    """The sentence for a 4xx answer.

    Args:
        code: Value of X-Error-Code; the Hub says by it what the status means.
        token: Whether one was sent.
    """
    said = f"{status} {code}".strip()
    where = f"{job.repo} at {endpoint}"
    if code == "GatedRepo" or (status in (401, 403) and code not in _MISSING):
        if not token:
            return Refused(f"{where} is gated ({said}): accept its terms on the Hub, {_TOKEN}.")
        return Refused(
            f"{where} refuses the token that was given ({said}): accept the terms of the repository with the account "
            "of the token, see that the token may read it and has not ended, and run again."
        )
    if code == "RevisionNotFound":
        return Refused(
            f"{where} has no commit {job.revision} ({said}); it was taken away there. Take the revision out of the "
            "inventory or set hermes_refresh = True, and run again."
        )
    if code == "EntryNotFound":
        return Refused(
            f"{where} has no file {file.path} at commit {job.revision} ({said}); look at the files of the catalogue "
            "entry, or whether the mirror is complete, and run again."
        )
    if code == "RepoNotFound" or status == 404:
        if token:
            return Refused(
                f"{where} is not there, or the token may not see it ({said}): look at the name and at what the token "
                "may read, and run again."
            )
        return Refused(
            f"{where} is not there, or it is private ({said}): look at the name; if it is private, {_TOKEN}."
        )
    return Refused(f"{where} answers {said} for {file.path}; look at the endpoint and at proxies on the way to it.")
