"""What is asked of hosts: the probe (one round trip), and the sources as a host sees them."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.state import State

from hermeion.errors import ApplyError, ProbeError
from hermeion.probe import Probe, parse_probe, probe_script


class HostProbe(FactBase[Probe]):
    """Everything Hermeion plans from, in one exec. The script never fails; its sections carry their own status."""

    def command(self, cache: str) -> StringCommand:
        """Run the script with the folder of the weights."""
        return StringCommand("sh", "-c", QuoteString(probe_script()), "probe", QuoteString(cache))

    def process(self, output: Iterable[str]) -> Probe:
        """Parse the answer."""
        try:
            return parse_probe(output)
        except ProbeError as error:
            raise FactProcessError(str(error)) from error


def run(state: State, host: Host, script: str, *, timeout: int | None = None) -> tuple[bool, list[str], str]:
    """Run a script on a host over standard input, as the inventory says (sudo and so on).

    Returns:
        Whether it ended with 0, the lines of its output, and its error output.
    """
    arguments = dict(host.current_op_global_arguments or {})
    values, _ = pop_global_arguments(state, host, arguments)
    connector = {key: value for key, value in values.items() if key in CONNECTOR_ARGUMENT_KEYS}
    connector |= {"_stdin": script, "_timeout": timeout}
    ok, output = host.run_shell_command(StringCommand("sh", "-s"), print_output=False, print_input=False, **connector)
    return ok, list(output.stdout_lines), output.stderr


def run_or_fail(state: State, host: Host, script: str, what: str) -> list[str]:
    """Like :func:`run`.

    Raises:
        ApplyError: The script failed; its error output is shown.
    """
    ok, lines, error = run(state, host, script, timeout=180)
    if not ok:
        raise ApplyError(f"{host.name}: {what} failed: {error.strip() or 'no output'}")
    return lines
