"""``hermeion cache``: what is in the caches of a fleet, whether it is right, and what can go."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    help="What is in the caches of a fleet: list it, check every byte, remove what nobody needs, stop pulls.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Inventory = Annotated[str, typer.Argument(help="pyinfra inventory, such as inventories/lab.py.")]
Hosts = Annotated[list[str] | None, typer.Argument(help="Only the caches of these hosts or groups.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AllRepos = Annotated[
    bool, typer.Option("--all-repos", help="Also what somebody else put there, unless a release names it.")
]
Grace = Annotated[
    int, typer.Option(min=0, metavar="MINUTES", help="Younger pulls stay: their service may be on its way.")
]


def _complain(notes: dict[str, str] | Any) -> None:
    errors = Console(stderr=True, soft_wrap=True)
    for note in notes.values():
        errors.print(note, style="red", markup=False, highlight=False)


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


@app.command("ls")
def list_caches(inventory: Inventory, hosts: Hosts = None, as_json: AsJson = False) -> None:
    """List what is in the caches: repository, commit, size, state, who uses it; and what a prune would free.

    One block for each filesystem: hosts that share one are in one block. Every host of the inventory is asked, since
    each may use a shared cache; nothing is changed.

    Exit code: 0 every host answered, 1 one did not.

    Example: `hermeion cache ls inventories/lab.py`

    Example: `hermeion cache ls inventories/lab.py gpu-1 --json`
    """
    from hermeion.caches import find_prunings, find_snapshots  # noqa: PLC0415  # not needed to start
    from hermeion.cli.cache_answers import ask  # noqa: PLC0415
    from hermeion.cli.cache_views import show_list  # noqa: PLC0415

    answers = ask(inventory, hosts)
    prunings = {pruning.store.hosts: pruning for pruning in find_prunings(answers.stores, answers.absent)}
    shown = tuple((store, find_snapshots(store), prunings[store.hosts]) for store in answers.own)
    if as_json:
        caches = [
            {
                "hosts": store.hosts,
                "cache": store.first.cache,
                "filesystem": {"type": store.first.fstype, "source": store.first.source},
                "free": store.first.free,
                "total": store.first.total,
                "snapshots": [row.to_json() for row in rows],
                "prune": {"bytes": pruning.bytes, "refusal": pruning.refusal},
            }
            for store, rows, pruning in shown
        ]
        typer.echo(json.dumps({"caches": caches, "failed": dict(answers.notes)}, indent=2))
    else:
        show_list(Console(), shown, inventory)
    _complain(answers.notes)
    raise typer.Exit(1 if answers.absent else 0)


@app.command()
def verify(
    inventory: Inventory,
    hosts: Hosts = None,
    repo: Annotated[
        list[str] | None, typer.Option(metavar="ORG/NAME", help="Only this repository; may be repeated.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="Bring the manifests up to date with what was found.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Hash every file of every snapshot and compare it with what was promised when it was pulled.

    One host of each filesystem does it, as a job that outlives the connection. A file that is right, but has another
    time or place on disk than recorded, is recorded anew; a damaged one makes its snapshot count as damaged, so that
    the next deploy fetches that file again, and that alone.

    Exit code: 0 all is right, 1 a file is damaged, or a host did not answer.

    Example: `hermeion cache verify inventories/lab.py`

    Example: `hermeion cache verify inventories/lab.py gpu-1 --repo NousResearch/Hermes-4-14B`
    """
    from hermeion.caches import find_snapshots  # noqa: PLC0415  # not needed to start
    from hermeion.cli.cache_answers import ask, python_of, work  # noqa: PLC0415
    from hermeion.cli.cache_views import verify_lines  # noqa: PLC0415
    from hermeion.errors import HermeionError  # noqa: PLC0415
    from hermeion.scripts.housekeeping import RESULTS, verify_script  # noqa: PLC0415

    answers = ask(inventory, hosts)
    orders = {}
    seen: set[str] = set()
    for store in answers.own:
        rows = [row for row in find_snapshots(store) if row.name]
        seen |= {row.repo for row in rows}
        names = [row.name for row in rows if not repo or row.repo in repo]
        if names:
            host, python = python_of(store, answers.chosen)
            script = verify_script(store.first.cache, python, names, record=record)
            orders[host] = {
                "job": "cache-verify", "label": "deep check", "script": script, "result": f"{RESULTS}/verify.json"
            }  # fmt: skip
    if missing := sorted(set(repo or ()) - seen):
        there = ", ".join(sorted(seen)) or "nothing"
        raise HermeionError(f"--repo: no cache has a record of {missing[0]}. There is {there}.")
    results, failed = work(inventory, orders, quiet=as_json)
    found = {host: json.loads(result) for host, result in results.items()}
    damaged = any(row["damaged"] for host in found.values() for row in host["names"].values())
    missed = {host: note for host, note in answers.notes.items() if host in answers.chosen}
    if as_json:
        typer.echo(json.dumps({"hosts": found, "failed": missed | failed}, indent=2))
    else:
        for host, result in found.items():
            for line in verify_lines(host, result):
                _say(line)
        if damaged:
            _say(f"Next: `pyinfra {inventory} deploys/hermes.py` fetches again what is damaged, and that alone.")
        elif not orders:
            _say(
                "there is nothing to check: no cache has a record of weights. `hermeion cache ls` shows what is there."
            )
    _complain(missed | failed)
    raise typer.Exit(1 if damaged or missed or failed else 0)


@app.command()
def prune(
    inventory: Inventory,
    hosts: Hosts = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; otherwise it is only shown.")] = False,
    all_repos: AllRepos = False,
    grace: Grace = 60,
    as_json: AsJson = False,
) -> None:
    """Show what could go, and how many bytes that frees; with -y, remove it.

    Snapshots that no release names (the current ones and those kept for a rollback, of every host that shares the
    filesystem), what broken pulls left, and blobs that no snapshot needs. What a running pull writes stays. If a host
    that may share a filesystem does not answer, nothing is removed there.

    Exit code: 0 done or shown, 1 a host did not answer, something had to be left, or a prune was refused.

    Example: `hermeion cache prune inventories/lab.py`

    Example: `hermeion cache prune inventories/lab.py gpu-1 -y`
    """
    from hermeion.caches import find_prunings  # noqa: PLC0415  # not needed to start
    from hermeion.cli.cache_answers import ask, work  # noqa: PLC0415
    from hermeion.cli.cache_views import show_prune  # noqa: PLC0415
    from hermeion.scripts.housekeeping import RESULTS, prune_script  # noqa: PLC0415
    from hermeion.units import format_bytes  # noqa: PLC0415

    answers = ask(inventory, hosts)
    everything = find_prunings(answers.stores, answers.absent, grace=grace * 60, all_repos=all_repos)
    prunings = [pruning for pruning in everything if answers.chosen & set(pruning.store.hosts)]
    notes = {**answers.notes, **{pruning.store.first.cache: pruning.refusal for pruning in prunings if pruning.refusal}}
    total = sum(pruning.bytes for pruning in prunings)
    found: dict[str, str] = {}
    if not as_json:
        for pruning in prunings:
            if not pruning.refusal:
                show_prune(Console(), pruning)
    if yes:
        orders = {}
        for pruning in prunings:
            if pruning.removals:
                listing = pruning.store.first
                orders[listing.host] = {
                    "job": "cache-prune",
                    "label": "prune",
                    "script": prune_script(listing.cache, listing.root, pruning.steps, pruning.bytes),
                    "result": f"{RESULTS}/prune.txt",
                }
        found, failed = work(inventory, orders, quiet=True)
        notes |= failed
    lines = [(host, *line.partition(" ")[::2]) for host, result in found.items() for line in result.splitlines()]
    left = [f"{host}: {text}" for host, word, text in lines if word == "left"]
    freed = sum(int(text) for _, word, text in lines if word == "freed")
    if as_json:
        caches = [
            {
                "hosts": pruning.store.hosts,
                "cache": pruning.store.first.cache,
                "removals": [removal.to_json() for removal in pruning.removals],
                "kept": dict(pruning.kept),
                "refusal": pruning.refusal,
            }
            for pruning in prunings
        ]
        answer = {"caches": caches, "bytes": total, "freed": freed if yes else None, "left": left, "failed": notes}
        typer.echo(json.dumps(answer, indent=2))
    elif yes:
        for line in left:
            _say(f"left {line}")
        _say(f"{format_bytes(freed)} freed")
    elif total or any(pruning.removals for pruning in prunings):
        _say(f"{format_bytes(total)} would be freed; nothing was removed. Do it: hermeion cache prune {inventory} -y")
    _complain(notes)
    raise typer.Exit(1 if notes or left else 0)


@app.command()
def cancel(inventory: Inventory, hosts: Hosts = None, as_json: AsJson = False) -> None:
    """Stop the pulls that run on these hosts. What has come stays, and the next run goes on from there.

    Exit code: 0 none runs any more, 1 a host did not answer.

    Example: `hermeion cache cancel inventories/lab.py gpu-1`
    """
    from hermeion.cli.pyinfra import deploy  # noqa: PLC0415  # not needed to start
    from hermeion.units import format_bytes  # noqa: PLC0415

    limits = [part for name in hosts or () for part in ("--limit", name)]
    _, report = deploy(inventory, "-y", *limits, quiet=True, file="cache_cancel.py")
    stopped = {}
    for host, said in report["hosts"].items():
        rows = [line.split() for line in said["stopped"] if line.strip()]
        stopped[host] = [
            {"job": row[0], "done": int(row[1]) if row[1:] else 0, "total": int(row[2]) if row[2:] else 0}
            for row in rows
        ]
    if as_json:
        typer.echo(json.dumps({"hosts": stopped, "failed": report["failed"]}, indent=2))
    else:
        for host, jobs in stopped.items():
            for job in jobs:
                came = (
                    f"{format_bytes(job['done'])} of {format_bytes(job['total'])} stay"
                    if job["total"]
                    else "it had just begun"
                )
                _say(f"{host}: {job['job']} stopped; {came}. Run `pyinfra {inventory} deploys/hermes.py` to go on.")
            if not jobs:
                _say(f"{host}: no pull runs")
    _complain(report["failed"])
    raise typer.Exit(1 if report["failed"] else 0)
