"""The hosts of an inventory as testinfra sees them, and the plans that lie on them.

Nothing of Hermeion is imported: whoever made the plan does not judge it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import testinfra

PLANS = "/opt/hermeion/*/current/plan.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", help="pyinfra inventory whose hosts are verified")
    parser.addoption("--claims", action="store_true", help="print a line for each claim")
    parser.addoption("--only-host", action="append", default=[], help="verify this host alone; may be repeated")


@cache
def inventory_hosts(inventory: str, only: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Data of the inventory's hosts by name, through pyinfra's own reading of it."""
    command = [sys.executable, "-m", "pyinfra", inventory, "debug-inventory", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("-->")]
        raise pytest.UsageError(f"{inventory} cannot be read: " + "\n".join(said))
    hosts = {row["name"]: row["data"] for row in json.loads(done.stdout)}
    if unknown := set(only) - set(hosts):
        raise pytest.UsageError(f"not in {inventory}: {', '.join(sorted(unknown))}; there are {', '.join(hosts)}")
    return {name: data for name, data in hosts.items() if not only or name in only}


@cache
def sockets() -> Path:
    """A private folder for the sockets of shared SSH connections. Its path is short: sockets' names have a limit."""
    return Path(tempfile.mkdtemp(prefix="hv-"))


def pytest_unconfigure() -> None:
    """End the shared connections: nothing of a verification stays behind."""
    if sockets.cache_info().currsize:
        for socket in sockets().iterdir():
            subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "x"], check=False, capture_output=True)
        shutil.rmtree(sockets(), ignore_errors=True)


@cache
def connect(name: str, inventory: str, only: tuple[str, ...]) -> Any:
    """A testinfra host that shares one SSH connection among all its commands."""
    data = inventory_hosts(inventory, only)[name]
    user = data.get("ssh_user")
    address = f"{user + '@' if user else ''}{data.get('ssh_hostname', name)}:{data.get('ssh_port', 22)}"
    options = ["ControlMaster=auto", "ControlPersist=60s", f"ControlPath={sockets()}/%C", "BatchMode=yes"]
    if known_hosts := data.get("ssh_known_hosts_file"):
        options.append(f"UserKnownHostsFile={known_hosts}")
    options.append(f"StrictHostKeyChecking={data.get('ssh_strict_host_key_checking', 'accept-new')}")
    return testinfra.get_host(
        f"ssh://{address}",
        ssh_identity_file=data.get("ssh_key"),
        ssh_extra_args=" ".join(f"-o {option}" for option in options),
        sudo=bool(data.get("_sudo")),
    )


def plans_of(name: str, inventory: str, only: tuple[str, ...]) -> list[dict[str, Any]]:
    """The plans of the services that are current on a host."""
    command = f"for plan in {PLANS}; do [ -f $plan ] && tr -d '\\n' < $plan && echo; done; true"
    try:
        text = connect(name, inventory, only).run(command).stdout
    except RuntimeError:  # unreachable: test_release fails for this host and says why, the others are looked at
        return []
    return [json.loads(line) for line in text.splitlines()]


def pytest_configure(config: pytest.Config) -> None:
    """Say what is wrong with the inventory once, before anything is collected."""
    config.addinivalue_line("markers", "only(runtime=…, engine=…): about services like this alone")
    inventory = config.getoption("--inventory")
    if not inventory:
        raise pytest.UsageError("say which hosts: --inventory inventories/lab.py (or: hermeion verify INVENTORY)")
    inventory_hosts(inventory, tuple(config.getoption("--only-host")))


def concerns(metafunc: pytest.Metafunc, plan: Mapping[str, Any]) -> bool:
    """Whether a test is about a service like this: ``@pytest.mark.only(runtime="compose", engine=("vllm",))``."""
    for mark in metafunc.definition.iter_markers("only"):
        for key, wanted in mark.kwargs.items():
            if plan.get(key, "compose") not in ((wanted,) if isinstance(wanted, str) else wanted):
                return False
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is about no service here: it is neither true nor false."""
    items[:] = [item for item in items if not any("empty parameter set" in str(m.kwargs) for m in item.iter_markers())]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    inventory = metafunc.config.getoption("--inventory")
    only = tuple(metafunc.config.getoption("--only-host"))
    names = inventory_hosts(inventory, only)
    if "plan" in metafunc.fixturenames:
        cases = [(name, plan) for name in names for plan in plans_of(name, inventory, only) if concerns(metafunc, plan)]
        ids = [f"{name}-{plan['name']}" for name, plan in cases]
        metafunc.parametrize(("host_name", "plan"), cases, ids=ids, scope="session")
    elif "host_name" in metafunc.fixturenames:
        metafunc.parametrize("host_name", list(names), scope="session")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Each test is a claim about a host; it goes into the report, and into JUnit as a property."""
    if isinstance(item, pytest.Function) and item.function.__doc__:
        item.user_properties.append(("host", item.callspec.id if hasattr(item, "callspec") else ""))
        item.user_properties.append(("claim", item.function.__doc__.splitlines()[0]))


def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """With --claims: a line for each claim instead of a dot."""
    if not config.getoption("--claims") or not (report.when == "call" or report.failed):
        return None
    properties = dict(report.user_properties)
    word = "true " if report.passed else "FALSE"
    line = f"{word}  {properties.get('host')}: {properties.get('claim')}\n"
    return report.outcome, line, (word, {"green": report.passed, "red": report.failed})


@pytest.fixture
def host(host_name: str, request: pytest.FixtureRequest) -> Any:
    """The host under test."""
    config = request.config
    return connect(host_name, config.getoption("--inventory"), tuple(config.getoption("--only-host")))


@pytest.fixture
def data(host_name: str, request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """The host's data in the inventory."""
    config = request.config
    return inventory_hosts(config.getoption("--inventory"), tuple(config.getoption("--only-host")))[host_name]


class Api:
    """The service's HTTP interface, asked on the host itself. The key never leaves the host."""

    def __init__(self, host: Any, plan: Mapping[str, Any]) -> None:
        self.host, self.base = host, f"http://127.0.0.1:{plan['port']}"
        self.keys = f"/etc/hermeion/{plan['name']}/api-keys"

    def ask(self, path: str, body: object = None, *, key: bool = True) -> tuple[int, Any]:
        """HTTP status and parsed JSON (or text) of an answer."""
        curl = f"curl -sS -m 120 -K - -w '\\n%{{http_code}}' {self.base}{path}"
        if body is not None:
            curl += f" -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
        header = f'printf \'header = "Authorization: Bearer %s"\' "$(head -n 1 {self.keys})"' if key else "printf ''"
        done = self.host.run(f"{header} | {curl}")
        text, _, status = done.stdout.rpartition("\n")
        assert status.isdigit(), f"{path}: {done.stderr.strip() or done.stdout}"
        try:
            return int(status), json.loads(text)
        except ValueError:
            return int(status), text


class Process:
    """The engine's process, in its container or under systemd."""

    def __init__(self, host: Any, plan: Mapping[str, Any]) -> None:
        self.host, self.name = host, f"hermeion-{plan['name']}"
        self.contained = plan.get("runtime", "compose") == "compose"

    @property
    def pid(self) -> str:
        """The unit's main process, on the host."""
        return str(self.host.check_output(f"systemctl show -p MainPID --value {self.name}"))

    def run(self, command: str) -> Any:
        """A command that sees the files that the engine sees."""
        inside = f"docker exec {self.name} " if self.contained else f"nsenter -t {self.pid} -m -- "
        return self.host.run(inside + command)

    @property
    def log(self) -> str:
        """What it printed since its last start."""
        if self.contained:
            return str(self.host.check_output(f"docker logs {self.name} 2>&1"))
        since = self.host.check_output(f"systemctl show -p InvocationID --value {self.name}")
        return str(self.host.check_output(f"journalctl -q -o cat _SYSTEMD_INVOCATION_ID={since}"))


@pytest.fixture
def process(host: Any, plan: Mapping[str, Any]) -> Process:
    """The engine's process."""
    return Process(host, plan)


@pytest.fixture
def api(host: Any, plan: Mapping[str, Any]) -> Api:
    """The service's HTTP interface."""
    return Api(host, plan)
