"""The whole way on real hosts: bare, applied, applied again, broken, applied again. The tests build on each other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.conftest import INVENTORY, LAB, ROOT, Lab, hermeion
from tests.lab.conversation import Talk, see_what_it_can

STARTED = (
    "docker inspect -f '{{.State.StartedAt}} {{.Id}}' hermeion-hermes; "
    "systemctl show -p ActiveEnterTimestamp,InvocationID hermeion-hermes docker; cat /proc/1/stat | cut -d' ' -f22"
)
SERVED = ("--limit", "gpu-1", "--limit", "gpu-2")


def test_dry_run_on_bare_hosts(lab: Lab) -> None:
    """--dry shows the plan of a bare host and the refusal of another, and changes nothing."""
    before = lab.ssh("gpu-1", "dpkg-query -W; ls -a /opt /etc /srv")
    run = lab.pyinfra(INVENTORY, "--dry", "-y", *SERVED)
    assert run.code == 0, run.text
    assert "[gpu-1] hermes: tiny-llama on 1 × NVIDIA L40S (0000:" in run.text
    assert "[gpu-1] driver: no driver answers; branch 580 (LTS) with the open kernel module" in run.text
    assert "[gpu-1] cache: tiny-llama is missing" in run.text
    assert "[gpu-2] refused: no NVIDIA GPU on the PCI bus." in run.text
    assert before == lab.ssh("gpu-1", "dpkg-query -W; ls -a /opt /etc /srv")


def test_plan_command_on_bare_hosts(lab: Lab) -> None:
    """hermeion plan shows the same, and its exit code says that a host is refused."""
    run = hermeion("plan", INVENTORY, "--limit", "gpu-1")
    assert run.code == 2, run.text
    assert "NVIDIA L40S" in run.text
    assert hermeion("plan", INVENTORY, "--limit", "gpu-2").code == 1


def test_killed_run_is_taken_up_by_the_next(lab: Lab) -> None:
    """A run that is killed leaves its jobs at work: image and driver come meanwhile, and the next run finishes."""
    command = [str(Path(sys.executable).with_name("pyinfra")), INVENTORY, "deploys/hermes.py", "-y", "--limit", "gpu-1"]
    killed = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"HERMEION_LAB": LAB}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert killed.stdout is not None
    seen = b""
    for line in killed.stdout:
        seen += line
        if b"Starting operation: Driver: repository and packages" in line:
            lab.wait("gpu-1", "systemctl is-active hermeion-driver.service || true", "active")
            break
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    assert b"Driver: repository and packages" in seen, seen.decode()
    # Installing a driver takes longer than the kill; so does unpacking an image.
    jobs = lab.ssh("gpu-1", "systemctl is-active hermeion-engine-hermes.service hermeion-driver.service", check=False)
    assert jobs.split() == ["active", "active"], seen.decode()
    run = lab.pyinfra(INVENTORY, "-y", *SERVED)
    assert set(run.report["failed"]) == {"gpu-2"}, run.text
    assert run.code == 1, run.text
    assert "--> Not served:\n    gpu-2: no NVIDIA GPU on the PCI bus." in run.text


def test_verify_passes(lab: Lab) -> None:
    """hermeion verify finds the host as planned."""
    run = hermeion("verify", INVENTORY, "gpu-1")
    assert run.code == 0, run.text
    assert " passed" in run.text


def test_twice_is_once(lab: Lab) -> None:
    """The second run executes no operation, restarts nothing, and says so in one line."""
    before = lab.ssh("gpu-1", STARTED)
    run = lab.pyinfra(INVENTORY, "-y", "--limit", "gpu-1")
    assert run.code == 0, run.text
    said = [line.strip() for line in run.text.splitlines() if "[gpu-1]" in line]
    lines = [line for line in said if "Connected" not in line and "Ready:" not in line]
    assert len(lines) == 1, run.text
    assert lines[0].startswith("[gpu-1] nothing to do: hermes serves tiny-llama (release ")
    assert "Starting operation" not in run.text
    assert before == lab.ssh("gpu-1", STARTED)


def test_dry_run_on_a_converged_host(lab: Lab) -> None:
    """--dry on a converged host says that there is nothing to do; hermeion plan exits with 0."""
    run = lab.pyinfra(INVENTORY, "--dry", "-y", "--limit", "gpu-1")
    assert "[gpu-1] nothing to do: hermes serves tiny-llama (release " in run.text
    assert hermeion("plan", INVENTORY, "--limit", "gpu-1").code == 0


def test_probe_is_one_exec(lab: Lab) -> None:
    """A run with nothing to do is one connection and one command on the host."""
    lab.ssh("gpu-1", "echo 'LogLevel VERBOSE' > /etc/ssh/sshd_config.d/verbose.conf; systemctl reload ssh")
    time.sleep(1)
    mark = lab.ssh("gpu-1", "date +%s.%N").strip()
    lab.pyinfra(INVENTORY, "-y", "--limit", "gpu-1")
    log = lab.ssh("gpu-1", f"journalctl -q -t sshd-session -t sshd --since @{mark} -o cat")
    lab.ssh("gpu-1", "rm /etc/ssh/sshd_config.d/verbose.conf; systemctl reload ssh")
    # The last of each is the question itself.
    assert (log.count("Accepted publickey"), log.count("Starting session: command")) == (2, 2), log


def test_the_model_answers_with_thought_and_tool(lab: Lab) -> None:
    """Real vLLM in a container chats, streams, splits the thought off and parses the tool call."""
    see_what_it_can(Talk(lab, "gpu-1", "hermes", 8000))


def test_a_changed_file_and_a_stopped_unit_are_repaired(lab: Lab) -> None:
    """A file changed by hand and a stopped unit are named as reasons, and the next run repairs both."""
    lab.ssh("gpu-1", "echo '# by hand' >> /opt/hermeion/hermes/current/compose.yaml; systemctl stop hermeion-hermes")
    run = lab.pyinfra(INVENTORY, "-y", "--limit", "gpu-1")
    assert run.code == 0, run.text
    assert "[gpu-1] service: hermes: /opt/hermeion/hermes/current/compose.yaml was changed" in run.text
    # Compose's own exit code on the way down decides between the two.
    assert re.search(r"\[gpu-1\] service: hermes: the unit is (inactive|failed)", run.text), run.text
    assert hermeion("verify", INVENTORY, "gpu-1").code == 0


def test_a_damaged_blob_is_fetched_again(lab: Lab) -> None:
    """A truncated blob is noticed by the probe, fetched again and checked; the service is not restarted for it."""
    blob = lab.ssh("gpu-1", "ls -S /srv/models/hub/models--*/blobs/* | head -n 1").strip()
    before = lab.ssh("gpu-1", f"sha256sum < {blob}")
    lab.ssh("gpu-1", f"truncate -s 1000 {blob}")
    run = lab.pyinfra(INVENTORY, "-y", "--limit", "gpu-1")
    assert "[gpu-1] cache: tiny-llama is damaged" in run.text
    assert run.code == 0, run.text
    assert before == lab.ssh("gpu-1", f"sha256sum < {blob}")
    assert set(run.report["seconds"]) == {"Cache"}


def test_a_release_that_does_not_start_is_taken_back(lab: Lab, tmp_path: Path) -> None:
    """An engine that does not start: its last lines are shown, and the previous release serves again."""
    before = lab.ssh("gpu-1", "readlink /opt/hermeion/hermes/current")
    services = lab.service(extra_args={"chat-template": "/no/such.jinja"})
    run = lab.pyinfra(lab.inventory(tmp_path, "gpu-1", hermes_services=services), "-y")
    assert run.code == 1, run.text
    assert "does not answer; its last lines:" in run.text
    assert "/no/such.jinja" in run.text
    assert "serves again" in run.text
    assert before == lab.ssh("gpu-1", "readlink /opt/hermeion/hermes/current")
    assert lab.pyinfra(INVENTORY, "-y", "--limit", "gpu-1").code == 0
    assert hermeion("verify", INVENTORY, "gpu-1").code == 0


def test_a_killed_engine_core_is_started_again(lab: Lab) -> None:
    """vLLM ends with exit code 0 when its core is killed; systemd starts it again, once."""
    lab.ssh("gpu-1", "pkill -9 -f '[V]LLM::EngineCore'")
    lab.wait("gpu-1", "systemctl show -p NRestarts --value hermeion-hermes", "1")
    lab.wait("gpu-1", lab.health(8000), "200")
    assert (
        "0"
        == lab.ssh(
            "gpu-1", "journalctl -q -u hermeion-hermes -o cat | sed -n 's/.*exited with code //p' | tail -n 1"
        ).strip()
    )


def test_a_reboot_brings_the_service_back(lab: Lab) -> None:
    """After a reboot of the host the service comes back by itself, and the next run has nothing to do."""
    lab.reboot("gpu-1")
    lab.wait("gpu-1", lab.health(8000), "200")
    run = lab.pyinfra(INVENTORY, "-y", "--limit", "gpu-1")
    assert "nothing to do" in run.text
    assert hermeion("verify", INVENTORY, "gpu-1").code == 0


def test_no_secret_leaves_the_host(lab: Lab) -> None:
    """The key is in no output of a run, and no temporary file lies around."""
    key = lab.ssh("gpu-1", "head -n 1 /etc/hermeion/hermes/api-keys").strip()
    run = lab.pyinfra(INVENTORY, "--dry", "-y", "--limit", "gpu-1", "-vvv")
    assert len(key) > 30
    assert key not in run.text
    assert lab.ssh("gpu-1", "ls /tmp | grep -v ^systemd-private || true").strip() == ""
