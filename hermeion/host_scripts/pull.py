"""Pull a repository at a commit into the Hub's cache, check every byte, and record what a complete copy looks like.

Runs on the host in the puller's environment (``huggingface_hub`` alone): ``python pull.py JOB.json``. Prints
``##progress DONE TOTAL`` and ends with status 0, or with one line that says what is wrong and status 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

RETRIES = 5
BLOCK = 1 << 22


def log(text: str) -> None:
    """One line for whoever reads the job's log."""
    print(text, flush=True)


def bytes_in(folder: Path, since: float) -> int:
    """Bytes of blobs, half-finished ones of this run included."""
    size = 0
    for blob in folder.glob("*"):
        try:
            stat = blob.stat()
        except FileNotFoundError:
            continue
        if not blob.name.endswith(".incomplete") or stat.st_mtime >= since:
            size += stat.st_size
    return size


def report(blobs: Path, total: int, stop: threading.Event) -> None:
    """Print the progress every half second until told to stop."""
    since = time.time()
    while not stop.wait(0.5):
        log(f"##progress {min(bytes_in(blobs, since), total)} {total}")


def download(job: dict[str, Any], cache: Path) -> None:
    """The real client's snapshot download, with retries: the client itself gives up at the first 429 or 5xx."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # reads its environment at import

    for attempt in range(1, RETRIES + 1):
        try:
            snapshot_download(
                job["repo"],
                revision=job["revision"],
                cache_dir=cache,
                allow_patterns=[file["path"] for file in job["files"]],
            )
        except OSError as error:  # HTTP errors of the client are OSErrors too
            if attempt == RETRIES or getattr(error, "errno", None) == 28:
                raise
            wait = min(60, 2**attempt)
            log(f"##note attempt {attempt} failed ({type(error).__name__}), next in {wait} s")
            log(f"{type(error).__name__}: {error}")
            time.sleep(wait)
        else:
            return


def check(snapshot: Path, files: list[dict[str, Any]]) -> list[str]:
    """Paths whose size or SHA-256 is not what the Hub said. Blobs are hashed while they are still in memory."""
    wrong = []
    for file in files:
        path = snapshot / file["path"]
        if not path.is_file() or path.stat().st_size != file["size"]:
            wrong.append(file["path"])
            continue
        if file["sha256"]:
            digest = hashlib.sha256()
            with path.open("rb") as stream:
                while block := stream.read(BLOCK):
                    digest.update(block)
            if digest.hexdigest() != file["sha256"]:
                wrong.append(file["path"])
    return wrong


def write_atomic(path: Path, text: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(0o644)
    temporary.replace(path)


def pull(job: dict[str, Any]) -> None:
    """Download, check, record."""
    os.umask(0o022)
    root = Path(job["cache"])
    cache = root / "hub"
    folder = cache / f"models--{job['repo'].replace('/', '--')}"
    snapshot = folder / "snapshots" / job["revision"]
    total = sum(file["size"] for file in job["files"])
    stop = threading.Event()
    reporter = threading.Thread(target=report, args=(folder / "blobs", total, stop), daemon=True)
    reporter.start()
    try:
        # A blob that is damaged on disk looks complete to the client: take it away first, so that it comes again.
        if snapshot.exists():
            for path in check(snapshot, job["files"]):
                (snapshot / path).resolve().unlink(missing_ok=True)
                (snapshot / path).unlink(missing_ok=True)
        download(job, cache)
    finally:
        stop.set()
    log(f"##progress {total} {total}")
    log("##note checking")
    if wrong := check(snapshot, job["files"]):
        for path in wrong:
            (snapshot / path).resolve().unlink(missing_ok=True)
            (snapshot / path).unlink(missing_ok=True)
        raise SystemExit(f"{job['repo']}: {', '.join(wrong)} differ from what the Hub promised; removed, run again")
    for tree in (folder / "trees").glob("*.json"):
        tree.chmod(0o644)  # the client makes it private, and readers then skip their completeness check
    lines = sorted(f"{file['size']} {file['path']}" for file in job["files"])
    write_atomic(folder / "refs" / "main", job["revision"])  # 40 bytes, no newline: the client wants it so
    write_atomic(root / "hermeion" / f"{job['name']}.manifest", "\n".join(lines) + "\n")


def main() -> None:
    """Entry point."""
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        pull(job)
    except Exception as error:  # the one line that the person who waits will see
        raise SystemExit(f"{job['repo']}: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
