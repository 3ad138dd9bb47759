"""``hermeion demo``: the lab as a newcomer sees it: a fleet without a GPU, deployed, verified, answering."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hermeion.cli.pyinfra import deploy
from hermeion.errors import LabError
from hermeion.lab import fleet
from hermeion.lab.hosts import parse_host
from hermeion.lab.labfile import LabFile
from hermeion.lab.progress import Report
from hermeion.units import format_seconds

LAB = "lab"
HOSTS = ("gpu-1=1xL40S", "gpu-2=none")
SERVED, REFUSED = "gpu-1", "gpu-2"
INVENTORY = "inventories/lab.py"
QUESTION = "Who are you?"
NEXT = (
    (f"hermeion lab ssh {SERVED}", "look around: nvidia-smi, docker ps, /opt/hermeion"),
    (f"hermeion lab ssh {SERVED} -- systemctl stop hermeion-hermes", "break something, then:"),
    (f"hermeion plan {INVENTORY}", "see that it is noticed"),
    (f"pyinfra {INVENTORY} deploys/hermes.py", "and repaired"),
    ("hermeion lab down", "leave nothing behind"),
)


class Steps:
    """Prints a rule above each step and remembers its seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, title: str, command: str) -> Iterator[None]:
        """One step; ``command`` is what a user would type for it."""
        self.console.rule(f"[bold]{len(self.seconds) + 1}. {title}", align="left")
        self.console.print(f"$ {command}", style="dim", markup=False, highlight=False)
        begun = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - begun

    def table(self) -> Table:
        """The time of each step."""
        table = Table(title="Where the time went")
        table.add_column("step")
        table.add_column("time", justify="right")
        for title, seconds in self.seconds.items():
            table.add_row(title, format_seconds(seconds))
        table.add_row("all", format_seconds(sum(self.seconds.values())), style="bold")
        return table


def ask(lab: LabFile, host: str, question: str) -> str:
    """The model's answer, asked on the host itself: the key stays there.

    Raises:
        LabError: There was no answer.
    """
    body = json.dumps({"model": "hermes", "messages": [{"role": "user", "content": question}], "temperature": 0})
    remote = (
        'printf \'header = "Authorization: Bearer %s"\' "$(head -n 1 /etc/hermeion/hermes/api-keys)" | '
        f"curl -fsS -K - -H 'Content-Type: application/json' -d {shlex.quote(body)} "
        "http://127.0.0.1:8000/v1/chat/completions"
    )
    done = subprocess.run(fleet.ssh_command(lab, host, [remote], None), check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{host}: the model did not answer: {done.stderr.strip()}. Look: hermeion lab ssh {host}")
    answer: str = json.loads(done.stdout)["choices"][0]["message"]["content"]
    return answer.strip()


def _expect_refusal_of_one(failed: dict[str, str]) -> None:
    if set(failed) != {REFUSED}:
        others = "\n".join(note for name, note in failed.items() if name != REFUSED)
        raise LabError(f"the demo went another way than it should:\n{others or 'gpu-2 was not refused'}")


def demo() -> None:
    """Raise a lab of two hosts, deploy, deploy again, verify, and ask the model a question.

    No GPU is needed: silicon is simulated, everything else is real. The lab stays up for trying things.
    Exit code: 0 when everything went as it should.
    """
    os.environ["HERMEION_LAB"] = LAB
    if not Path(INVENTORY).exists():
        raise LabError(f"{INVENTORY} is not here: run the demo from the top of a checkout (make demo)")
    console = Console()
    steps = Steps(console)
    with steps.step("A lab: two bare Debian hosts, one with an NVIDIA L40S, one with no GPU", "hermeion lab up"):
        lab = fleet.raise_lab(LAB, [parse_host(text) for text in HOSTS], Report())
    with steps.step("The plan, before anything is changed", f"hermeion plan {INVENTORY}"):
        subprocess.run([sys.executable, "-m", "hermeion", "plan", INVENTORY], check=False)
    with steps.step("Deploy: driver, reboot, Docker, weights, vLLM", f"pyinfra {INVENTORY} deploys/hermes.py -y"):
        _, report = deploy(INVENTORY, "-y")
        _expect_refusal_of_one(report["failed"])
    first = report["seconds"]
    with steps.step("The same again: nothing to do", f"pyinfra {INVENTORY} deploys/hermes.py -y"):
        _, report = deploy(INVENTORY, "-y")
        _expect_refusal_of_one(report["failed"])
        if report["hosts"][SERVED]["pending"]:
            raise LabError(f"the second run found something to do: {report['hosts'][SERVED]['pending']}")
    with steps.step("Verify, from the plan that lies on the host", f"hermeion verify {INVENTORY} {SERVED} -v"):
        command = [sys.executable, "-m", "hermeion", "verify", INVENTORY, SERVED, "-v"]
        if subprocess.run(command, check=False).returncode:
            raise LabError(f"{SERVED} is not as planned, see above")
    with steps.step("Ask the model", f"curl … http://127.0.0.1:8000/v1/chat/completions   (on {SERVED})"):
        console.print(f"[bold]you:[/bold]    {QUESTION}")
        console.print(f"[bold]hermes:[/bold] {ask(lab, SERVED, QUESTION)}", highlight=False)
    console.rule()
    console.print(steps.table())
    stages = ", ".join(f"{stage} {format_seconds(seconds)}" for stage, seconds in first.items())
    console.print(f"The deploy by stage: {stages or 'it found nothing to do'}", highlight=False)
    console.print(
        f"\n{REFUSED} was refused because it has no GPU, and did not stop {SERVED}: that is what should happen.\n\n"
        "What to try next:",
        highlight=False,
    )
    for text, why in NEXT:
        console.print(f"  .venv/bin/{text:<62}{why}", highlight=False, markup=False, soft_wrap=True)
