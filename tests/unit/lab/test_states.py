"""The states of lab hosts: their files, what follows from them, and the commands that name them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hermeion.cli import lab as commands
from hermeion.errors import LabError
from hermeion.lab import standing, states
from hermeion.lab.gpus.pci import write_tree
from hermeion.lab.gpus.sets import parse_gpu_set
from hermeion.lab.hosts import LabHost, host_in_state, parse_host
from hermeion.lab.labfile import HostEntry
from hermeion.lab.progress import Report
from hermeion.lab.states.entering import bind_functions
from hermeion.lab.states.kept import Kept, kept_of, order_of

FOLDER = Path(states.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.sh") if path.name != states.HELPERS)


@pytest.mark.parametrize("name", NAMES)
def test_every_state_can_be_made(name: str) -> None:
    """Its boards have a recorded form, its suite exists, and a host can have its name."""
    host = host_in_state(name)
    assert host.name == name
    assert host.states == (() if name == "bare" else (name,))


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_a_shell_script_with_enter_and_leave(name: str) -> None:
    """A POSIX shell reads it after the helpers, and finds both functions; nothing runs until one is called."""
    shell = shutil.which("dash") or "sh"
    script = f"{states.read_script(name)}\ncommand -V enter\ncommand -V leave\n"
    done = subprocess.run([shell], input=script, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert ["enter is a shell function", "leave is a shell function"] == done.stdout.splitlines()


def test_the_lab_has_the_states_that_hosts_are_found_in() -> None:
    """A state that is renamed or lost is noticed, since tests elsewhere name them."""
    wanted = (
        "bare driver driver-not-loaded driver-old driver-eol driver-mismatch driver-unpinned libraries-missing "
        "smi-missing wrong-flavour no-devices gpu-lost gpu-needs-reset mig vgpu nouveau vfio "
        "module-not-for-newest-kernel dkms-fails dkms-failed dpkg-half-configured dpkg-interrupted headers-missing "
        "headers-present secure-boot run-file run-file-old wsl jetson dgx-os container-guest gpu-busy "
        "legacy-containers containers-running cdi-stale cdi-missing daemon-json-foreign daemon-json-broken "
        "daemon-json-runtimes docker-stopped docker-without-compose docker-old toolkit-lists toolkit-old "
        "toolkit-mixed ready held-packages apt-busy fabric-manager-missing fabric-manager-mismatch reboot-required "
        "persistence-off"
    )
    assert set() == set(wanted.split()) - set(states.read_states())


def test_directives_are_read() -> None:
    """All of them, up to the first line that is not one."""
    text = "# It is so.\n# gpus: 2xT4\n# suite: noble\n# from: driver\n# reboot: yes\n# pci: nouveau\n# leave: no\n"
    text += "# keep: yes\n\n# gpus: none\n"
    expected = states.State("x", "It is so.", "2xT4", "noble", "driver", True, "nouveau", False, True)
    assert expected == states.parse_state("x", text)
    assert states.State("x", "It is so.") == states.parse_state("x", "# It is so.\n\nenter() { :; }\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enter() { :; }\n", "x.sh: line 1 must be a comment with one sentence: '# The driver is healthy.'"),
        (
            "# It is so.\n# suite: sid\n",
            "x.sh: the directive '# suite: sid' must be bookworm or trixie or noble.",
        ),
        (
            "# It is so.\n# gpu: 1xT4\n",
            "x.sh: the directive '# gpu: 1xT4' does not exist; there are gpus, suite, from, reboot, pci, leave, keep.",
        ),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str) -> None:
    """The message names the file and the line."""
    with pytest.raises(LabError) as caught:
        states.parse_state("x", text)
    assert message == str(caught.value)


def test_an_unknown_state_is_told_the_nearest() -> None:
    """Also inside --host, where it stands behind a plus sign."""
    message = "the lab has no state 'driver-mismach'. Did you mean driver-mismatch? See: hermeion lab states"
    for read in (states.find_state, host_in_state, states.parse_states):
        with pytest.raises(LabError) as caught:
            read("driver-mismach")
        assert message == str(caught.value)
    with pytest.raises(LabError, match="Did you mean driver-mismatch"):
        parse_host("gpu-1=1xL40S+driver-mismach")


def test_a_host_may_have_a_suite_and_states() -> None:
    """A suite that the state needs is taken by itself."""
    t4 = parse_gpu_set("1xT4")
    assert LabHost("a", t4, "noble", ("driver", "docker")) == parse_host("a=1xT4@noble+driver+docker")
    assert LabHost("a", t4, "bookworm", ("docker-old",)) == parse_host("a=1xT4+docker-old")
    assert LabHost("a", t4) == parse_host("a=1xT4+bare")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a=1xT4@nobel",
            "the lab has no hosts with 'nobel'. Did you mean noble? Suites: bookworm, trixie, noble.",
        ),
        ("a=1xT4@trixie+docker-old", "a: docker-old exists on bookworm only, not on trixie."),
    ],
)
def test_a_wrong_suite_is_refused(text: str, message: str) -> None:
    """A suite that does not exist, or one on which the state does not."""
    with pytest.raises(LabError) as caught:
        parse_host(text)
    assert message == str(caught.value)


def test_states_stand_on_each_other() -> None:
    """Entering names the uppermost state only; leaving it names what it stood on."""
    assert ["driver", "toolkit", "ready", "cdi-stale"] == [state.name for state in states.chain_of("cdi-stale")]
    assert {"driver", "toolkit"} == states.contained_in(["toolkit"])
    assert ("cdi-stale",) == states.after_entering(("driver",), "cdi-stale")
    assert ("vfio", "gpu-lost") == states.after_entering(("vfio", "driver"), "gpu-lost")
    assert () == states.after_entering((), "bare")
    assert ("ready",) == states.after_leaving(("cdi-stale",), "cdi-stale")
    assert ("mig",) == states.after_leaving(("gpu-lost", "mig"), "gpu-lost")
    assert () == states.after_leaving(("driver",), "driver")


def test_a_state_that_others_stand_on_is_not_left() -> None:
    """Nor one that the host is not in."""
    with pytest.raises(LabError) as caught:
        states.after_leaving(("mig",), "driver")
    assert "the host cannot leave driver: leave mig first, which stands on it." == str(caught.value)
    with pytest.raises(LabError) as caught:
        states.after_leaving(("mig",), "docker")
    assert "the host cannot leave docker: it is in: mig." == str(caught.value)


def test_boards_that_need_another_driver_have_images_of_their_own() -> None:
    """A fabric manager beside eight boards with NVSwitches, the proprietary module before Turing; others share one."""

    def kept(gpus: str, *names: str, suite: str = "trixie") -> Kept | None:
        return kept_of(parse_gpu_set(gpus), suite, names)

    assert Kept("driver", "trixie", "usual") == kept("2xRTX4090", "gpu-lost")
    assert Kept("driver", "trixie", "usual") == kept("1xH100-SXM", "mig")
    assert Kept("driver", "noble", "usual") == kept("1xT4", "driver", suite="noble")
    assert Kept("driver", "trixie", "fabric") == kept("8xH100-SXM", "fabric-manager-missing")
    assert Kept("driver-old", "trixie", "volta") == kept("1xV100-32GB", "driver-old")
    assert Kept("docker", "trixie", "usual") == kept("none", "docker")
    assert None is kept("1xL40S")
    assert None is kept("1xL40S", "nouveau")


def test_images_have_names_of_their_own_by_suite_and_boards() -> None:
    """Making one removes the older ones of its name only, so two suites do not take each other's away."""
    suites, boards = ("trixie", "noble"), ("usual", "fabric")
    names = {Kept("driver", suite, board).repository for suite in suites for board in boards}  # type: ignore[arg-type]
    assert 4 == len(names)


def test_images_are_made_after_what_they_are_made_from() -> None:
    """Each once, also what nobody asked for by itself."""
    usual = {name: Kept(name, "trixie", "usual") for name in ("driver", "toolkit", "ready", "driver-old")}
    ordered = order_of([usual["ready"], usual["driver-old"], usual["toolkit"]])
    assert [usual["driver"], usual["toolkit"], usual["ready"], usual["driver-old"]] == ordered
    assert None is usual["driver-old"].below


@pytest.mark.parametrize(
    "name",
    [
        "cdi-missing", "cdi-stale", "containers-running", "daemon-json-broken", "daemon-json-foreign",
        "daemon-json-runtimes", "docker-stopped", "docker-without-compose", "legacy-containers", "toolkit-lists",
        "toolkit-mixed", "toolkit-old",
    ],
)  # fmt: skip
def test_states_about_docker_and_the_toolkit_start_where_both_are_installed(name: str) -> None:
    """So what is left to install on them is what they lack."""
    assert Kept("ready", "trixie", "usual") == kept_of(host_in_state(name).gpus, "trixie", [name])


def test_wsl_has_no_gpu_on_its_bus() -> None:
    """Windows hands the GPU over by /dev/dxg."""
    assert None is host_in_state("wsl").gpus.form


def test_gpus_are_bound_and_their_switches_are_not(tmp_path: Path) -> None:
    """The link leads where the kernel's leads, and goes away again."""
    write_tree(parse_gpu_set("8xH100-SXM"), tmp_path)
    bind_functions(tmp_path, "nouveau")
    links = [folder / "driver" for folder in tmp_path.iterdir() if (folder / "driver").is_symlink()]
    assert 8 == len(links)
    assert {"../../../../bus/pci/drivers/nouveau"} == {str(link.readlink()) for link in links}
    bind_functions(tmp_path, None)
    assert not any((folder / "driver").is_symlink() for folder in tmp_path.iterdir())


def test_a_module_of_a_run_file_is_read_as_one(tmp_path: Path) -> None:
    """The ELF file that the shell writes has the version and licence where a reader of ELF looks for them."""
    module = tmp_path / "nvidia.ko"
    script = f"{(FOLDER / states.HELPERS).read_text()}\nwrite_module {module} 580.95.05 NVIDIA\n"
    subprocess.run(["sh"], input=script, text=True, check=True)
    content = module.read_bytes()
    headers = int.from_bytes(content[0x28:0x30], "little")
    start, size = (int.from_bytes(content[headers + 64 + at : headers + 72 + at], "little") for at in (0x18, 0x20))
    words = [word for word in content[start : start + size].split(b"\0") if word]
    assert (b"\x7fELF", headers + 3 * 64) == (content[:4], len(content))
    assert [b"version=580.95.05", b"license=NVIDIA", b"name=nvidia"] == words


def test_a_file_of_an_older_lab_still_reads() -> None:
    """It knows neither suite nor state."""
    entry = HostEntry.model_validate({"name": "a", "address": "10.0.0.1", "port": 22, "gpus": "none"})
    assert ("trixie", "bare") == (entry.suite, entry.state)


def test_many_hosts_raise_the_kernels_limit(tmp_path: Path) -> None:
    """Only upwards, and never for a few hosts."""
    setting = tmp_path / "max_user_instances"
    setting.write_text("128\n")
    standing.allow_watchers(4, Report(), setting)
    assert "128\n" == setting.read_text()
    standing.allow_watchers(36, Report(), setting)
    assert "640\n" == setting.read_text()
    standing.allow_watchers(4, Report(), setting)
    assert "640\n" == setting.read_text()


def test_the_states_are_listed() -> None:
    """In JSON with what they amount to, and in a table that shows every sentence's beginning."""
    runner = CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1"})
    rows = json.loads(runner.invoke(commands.app, ["states", "--json"]).stdout)
    (lost,) = [row for row in rows if row["name"] == "gpu-lost"]
    assert ("2xRTX4090", "trixie", "driver") == (lost["gpus"], lost["suite"], lost["base"])
    shown = runner.invoke(commands.app, ["states"]).stdout
    for state in states.read_states().values():
        assert f"{state.name} " in shown
        assert state.sentence in shown


def test_the_shell_completes_states() -> None:
    """With their sentences."""
    found = dict(commands.complete_state("driver-m"))
    assert {"driver-mismatch": states.find_state("driver-mismatch").sentence} == found
