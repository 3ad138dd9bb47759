"""Why a driver is not touched: every refusal in its own words."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.errors import PlacementError
from tests.unit.builders import GB10, H100, RTX_4090, RTX_5090, T4, V100
from tests.unit.driver_cases import BARE, CUDA_13, KERNEL, NVIDIA_DRIVER, SWITCHES, UBUNTU, UBUNTU_KERNEL, decide, ours

SERVING = [f"{'c0' * 32} hermeion-hermes running hermes 0123456789ab"]
OTHER = {
    "containers": [f"{'d1' * 32} ollama running - -"],
    "holders": [f"4711 docker-{'d1' * 32}.scope ollama", "4712 user.slice python3"],
}
OLD = {"driver": "550.163.01", "packages": {"nvidia-driver-cuda": "550.163.01-1"}}
CUDA = "vllm/vllm-openai:v0.33.0 needs CUDA 13.0 (driver 580 or newer)"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"platform": ["/etc/nv_tegra_release"]},
            "this is a Jetson (/etc/nv_tegra_release), whose driver comes with JetPack. Hermeion serves on GPUs "
            "of PCIe "
            "and SXM; take the host out of the inventory.",
        ),
        (
            {"gpus": (), "more_pci": ["0001:01:00.0 0x2b00 0x030000"], "smi": (127, [])},
            "this is a Jetson (10de:2b00), whose driver comes with JetPack. Hermeion serves on GPUs of PCIe and SXM; "
            "take the host out of the inventory.",
        ),
        (
            {**BARE, "gpus": (), "platform": ["/dev/dxg"]},
            "this is WSL (/dev/dxg), whose driver is that of Windows, and no GPU is on the PCI bus here: nothing can "
            "be planned on it. Take the host out of the inventory.",
        ),
        (
            {**BARE, "guest": "lxc"},
            "this is a container (systemd-detect-virt says lxc), whose driver is that of its host, and no driver "
            "answers "
            "here. Install the driver on the host and give the container its devices and libraries, or take the host "
            "itself into the inventory, then run again.",
        ),
        (
            {**BARE, "platform": ["/etc/dgx-release"], "gpus": (H100,)},
            "this is DGX OS (/etc/dgx-release), which brings its own driver, and no driver answers here. Use DGX OS's "
            "own way to update it, then run again.",
        ),
        (
            {**OLD, "platform": ["/etc/dgx-release"]},
            "this is DGX OS (/etc/dgx-release), which brings its own driver; driver 550.163.01 answers, but "
            f"{CUDA}. Use DGX OS's own way to update it, or choose an older image.",
        ),
        (
            {**BARE, "gpus": (GB10,)},
            "this is a DGX Spark (10de:2e12), whose driver comes with DGX OS, and no driver answers here. Use DGX OS's "
            "own way to update it, or its recovery image, then run again.",
        ),
        (
            ours(
                smi=(6, []),
                rows=["module=580.95.05", "nvrm=NVRM: NVIDIA vGPU L40S-48Q is not supported by open nvidia.ko"],
            ),
            "its GPU is a slice that a hypervisor deals out (NVRM: NVIDIA vGPU L40S-48Q is not supported by open "
            "nvidia.ko), whose licensed driver fits the hypervisor's, and no driver answers here. Install the "
            "vGPU guest "
            "driver that belongs to the hypervisor, then run again.",
        ),
        (
            {**BARE, "gpus": (), "more_pci": ["0000:01:00.0 0x2684 0x030000 vfio-pci"]},
            "every GPU is bound to vfio-pci (0000:01:00.0) and belongs to a virtual machine. Take that machine "
            "into the "
            "inventory, or give the GPUs back to this host.",
        ),
        (
            {**BARE, "gpus": ()},
            "no NVIDIA GPU on the PCI bus. Take the host out of the inventory, or look whether the card is seated and "
            "not passed through to a guest (lspci -nn -d 10de:).",
        ),
        (
            {**BARE, "gpus": ("3002",)},
            "the NVIDIA GPU 10de:3002 at 0000:01:00.0 is newer than this release knows: nobody can say which driver it "
            "needs. Install its driver by hand and reboot, or take a newer Hermeion.",
        ),
        (
            {**BARE, "gpus": (V100, "2bb5")},
            "its GPUs need different kernel modules: Tesla V100 32GB (10de:1db5) has no GSP and needs the proprietary "
            "one, NVIDIA RTX PRO 6000 Blackwell Server Edition (10de:2bb5) needs the open one, and a host can "
            "load only "
            "one. Move one of them to another host.",
        ),
        (
            {**BARE, "os": ("ID=arch",)},
            "drivers are installed on Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04, and Red Hat Enterprise "
            "Linux 8 to "
            "10 and its relatives (on aarch64: Ubuntu 22.04 and 24.04, and Red Hat's); this is arch  (x86_64). Install "
            "driver 580 by hand, reboot, run again.",
        ),
        (
            {**BARE, "machine": "aarch64"},
            "drivers are installed on Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04, and Red Hat Enterprise "
            "Linux 8 to "
            "10 and its relatives (on aarch64: Ubuntu 22.04 and 24.04, and Red Hat's); this is debian 13 (aarch64). "
            "Install driver 580 by hand, reboot, run again.",
        ),
        (
            {**BARE, "secure_boot": True},
            "Secure Boot is on and a module built by DKMS is not signed for this firmware; enrolling a key needs a "
            "password at the console. Turn Secure Boot off, enrol DKMS's key by hand (mokutil --import "
            "/var/lib/dkms/mok.pub), or install a signed driver by hand.",
        ),
        (
            {**BARE, "secure_boot": True, "os": UBUNTU, "kernel": "6.8.0-51-realtime"},
            "Secure Boot is on and a module built by DKMS is not signed for this firmware; enrolling a key needs a "
            "password at the console. Turn Secure Boot off, enrol DKMS's key by hand (mokutil --import "
            "/var/lib/shim-signed/mok/MOK.der), or boot a kernel that Ubuntu has signed modules for (generic) with "
            "hermes_driver/source auto.",
        ),
        (
            {"driver": None, "packages": {"nvidia-smi": "550.163", "libnvidia-ml1": "550.163", "docker.io": "26"}},
            "libnvidia-ml1, nvidia-smi from another source is installed and no driver answers. Purge it (apt-get purge "
            "libnvidia-ml1) or make it work, then run again.",
        ),
        (
            {**BARE, "driver_rows": ["library=580.95.05", "run_file=/usr/bin/nvidia-uninstall"], "smi": (9, [])},
            "driver 580.95.05 was installed with NVIDIA's .run file (/usr/bin/nvidia-uninstall) and does not answer; "
            "packages would overwrite half of it. Run nvidia-uninstall, reboot, run again; or repair it.",
        ),
        (
            {**BARE, "driver_rows": ["module=580.95.05"], "smi": (127, [])},
            "a driver that no package owns does not answer (module 580.95.05 is loaded; nvidia-smi: status 127). "
            "Remove "
            "it by the way it came, reboot, run again.",
        ),
        (
            {"broken": ["grub-pc iF"]},
            "dpkg left grub-pc iF half-configured, and every apt call fails until that is repaired: dpkg "
            "--configure -a, "
            "or apt-get purge grub-pc; then run again.",
        ),
        (
            {
                "broken": ["linux-headers-6.8.0-85-generic iF"],
                "packages": {"nvidia-headless-no-dkms-580-server-open": "580.178.04-0ubuntu0.24.04.1"},
            },
            "dpkg left linux-headers-6.8.0-85-generic iF half-configured, and every apt call fails until that is "
            "repaired: dpkg --configure -a, or apt-get purge linux-headers-6.8.0-85-generic; then run again.",
        ),
        (
            {"broken": ["nvidia-kernel-open-dkms iF"]},
            "dpkg left nvidia-kernel-open-dkms iF half-configured, and every apt call fails until that is repaired: "
            "apt-get purge nvidia-kernel-open-dkms. Set hermes_driver/repair to True to let Hermeion do it, or "
            "do it and "
            "run again.",
        ),
        (
            OLD,
            f"driver 550.163.01 is healthy, but {CUDA}. Set hermes_driver/upgrade to True to move to 580 (the host "
            "reboots), or choose an older image.",
        ),
        (
            ours(smi=(6, ["No devices were found"]), rows=["module=580.95.05", "flavour=open", "library=580.95.05"]),
            "the driver answers and sees no GPU. Look into `dmesg | grep -i nvrm`.",
        ),
        (
            ours(
                smi=(6, []),
                rows=[
                    "module=580.95.05",
                    "nvrm=NVRM: (PCI ID: 10de:2330) installed in this system has",
                    "nvrm=NVRM: fallen off the bus and is not responding to commands.",
                ],
            ),
            "a GPU has fallen off the bus: (PCI ID: 10de:2330) installed in this system has fallen off the bus and is "
            "not responding to commands. No driver helps: reboot, and if it happens again look at power, riser "
            "and card.",
        ),
        (
            ours(
                gpus=(V100,),
                smi=(6, []),
                rows=[
                    "module=580.95.05",
                    "flavour=open",
                    "nvrm=NVRM: nvidia.ko because it does not include the required GPU",
                    "nvrm=NVRM: System Processor (GSP).",
                ],
            ),
            "driver 580.95.05 sees no GPU: Tesla V100 32GB (10de:1db5) needs the proprietary kernel module, and "
            "the open "
            "one is loaded. Set hermes_driver/upgrade to True to replace it (the host reboots), or do it by hand.",
        ),
        (
            ours(
                gpus=("3182",),
                driver="580.65.06",
                smi=(6, []),
                rows=[
                    "module=580.65.06",
                    "flavour=open",
                    "nvrm=NVRM: installed in this system is not supported by the",
                    "nvrm=NVRM: NVIDIA 580.65.06 driver release.",
                ],
            ),
            "driver 580.65.06 sees no GPU: it does not know NVIDIA B300 SXM6 (10de:3182). Set hermes_driver/upgrade to "
            "True to replace it (the host reboots), or do it by hand.",
        ),
        (
            {
                "driver": "580.95.05",
                "gpus": (H100,) * 8,
                "more_pci": SWITCHES,
                "driver_rows": ["module=580.95.05", "run_file=/usr/bin/nvidia-uninstall"],
            },
            "the GPUs are joined by NVSwitches and the fabric manager is missing: CUDA fails beside driver "
            "580.95.05, and "
            "the driver was installed with NVIDIA's .run file (/usr/bin/nvidia-uninstall). Install the fabric manager "
            "580.95.05 by hand, then run again.",
        ),
        (
            ours(
                rows=["module=580.95.05", "library=580.95.05", f"kernel={KERNEL} yes - -"],
                smi=(9, []),
                held=["nvidia-driver-cuda"],
            ),
            "the driver has to change, and its packages are held: nvidia-driver-cuda. Release them (apt-mark unhold "
            "nvidia-driver-cuda), then run again.",
        ),
        (
            {
                "driver_rows": ["module=580.95.05", "library=580.178.04"],
                "smi": (18, []),
                "containers": [f"{'c0' * 32} hermeion-another running another 0123456789ab"],
            },
            "A reboot would interrupt another. Stop it, or set hermes_disrupt to True.",
        ),
        (
            {"driver_rows": ["module=580.95.05", "library=580.178.04"], "smi": (18, []), **OTHER},
            "A reboot would end what uses its GPUs: container ollama, python3 (process 4712). Stop it, or set "
            "hermes_disrupt to True.",
        ),
    ],
)
def test_refused(answers: dict[str, Any], message: str) -> None:
    """What cannot work is refused before anything is changed, with the evidence and the next step."""
    with pytest.raises(PlacementError) as caught:
        decide(**answers)

    assert f"gpu-1: {message}" == str(caught.value)


@pytest.mark.parametrize(
    ("spec", "answers", "message"),
    [
        (
            {"install": False},
            BARE,
            "no NVIDIA driver answers and hermes_driver/install is False. Install one by hand or set it to True.",
        ),
        (
            {"reboot": False},
            BARE,
            "no driver is loaded, which needs a reboot, and hermes_driver/reboot is False. Reboot by hand or set it to "
            "True.",
        ),
        (
            {"reboot": False},
            ours(smi=(9, ["failed"])),
            "driver 580.95.05 is installed and not loaded, which needs a reboot, and hermes_driver/reboot is False. "
            "Reboot by hand or set it to True.",
        ),
        (
            {"branch": 595},
            {**BARE, "gpus": (V100,)},
            "Tesla V100 32GB (10de:1db5) is not known to any driver after 580, and hermes_driver/branch is 595. Set it "
            "to 580.",
        ),
        (
            {"upgrade": True},
            {**OLD, **OTHER},
            "Moving to driver branch 580 would end what uses its GPUs: container ollama, python3 (process 4712). Stop "
            "it, or set hermes_disrupt to True.",
        ),
        (
            {"upgrade": True},
            {**OLD, "containers": SERVING},
            "Moving to driver branch 580 would interrupt hermes. Stop it, or set hermes_disrupt to True.",
        ),
        (
            {"upgrade": True},
            {"driver": "550.163.01", "driver_rows": ["module=550.163.01", "run_file=/usr/bin/nvidia-uninstall"]},
            f"driver 550.163.01 is healthy, but {CUDA}, and it was installed with NVIDIA's .run file "
            "(/usr/bin/nvidia-uninstall): packages would overwrite half of it. Run nvidia-uninstall, reboot, run "
            "again.",
        ),
        (
            {"upgrade": True},
            {"driver": "550.163.01"},
            f"driver 550.163.01 is healthy, but {CUDA}, and no package owns it (module 550.163.01 is loaded). "
            f"Remove it "
            "by the way it came, reboot, run again.",
        ),
        (
            {"upgrade": True},
            {**OLD, "held": ["nvidia-driver-cuda"]},
            "the driver has to change, and its packages are held: nvidia-driver-cuda. Release them (apt-mark unhold "
            "nvidia-driver-cuda), then run again.",
        ),
        (
            {"source": "distribution"},
            BARE,
            f"Debian's own driver is 550.163.01, and {CUDA}. Set hermes_driver/source to nvidia.",
        ),
        (
            {"source": "distribution"},
            {**BARE, "os": ("ID=rocky", 'VERSION_ID="9.6"'), "tools": ("dnf",)},
            "rocky has no NVIDIA driver of its own, and hermes_driver/source is distribution. Set it to nvidia.",
        ),
        (
            {"source": "distribution"},
            {**BARE, "os": UBUNTU, "kernel": UBUNTU_KERNEL, "gpus": ("2901",)},
            "Ubuntu's archive has no nvlsm, which the NVSwitches of HGX B200 and B300 need. Set "
            "hermes_driver/source to "
            "nvidia.",
        ),
        (
            {"source": "nvidia"},
            {**BARE, "os": ("ID=ubuntu", 'VERSION_ID="26.04"'), "kernel": "7.0.0-14-generic"},
            "NVIDIA's repository has no driver 580 for Ubuntu 26.04. Set hermes_driver/branch to 595, or "
            "hermes_driver/source to distribution.",
        ),
        (
            {},
            ours(driver="550.163.01", smi=(9, []), rows=[f"kernel={KERNEL} yes - -"]),
            f"driver 550.163.01 is installed and does not answer, and {CUDA}. Set hermes_driver/upgrade to True "
            f"to move "
            "to 580.",
        ),
    ],
)
def test_refused_by_what_the_inventory_says(spec: dict[str, Any], answers: dict[str, Any], message: str) -> None:
    """A key that forbids the next step, or asks for what does not exist, is named."""
    with pytest.raises(PlacementError) as caught:
        decide(spec, **answers)

    assert f"gpu-1: {message}" == str(caught.value)


def test_image_newer_than_old_gpu() -> None:
    """An image for which only drivers do that do not know the GPU any more is refused with both names."""
    need = CUDA_13.model_copy(update={"image": "me/mine:1", "branch": 590, "reason": "needs driver 590 or newer"})

    with pytest.raises(PlacementError) as caught:
        decide(needs=[need], **BARE | {"gpus": (V100,)})

    assert (
        "gpu-1: me/mine:1 needs driver 590 or newer, and Tesla V100 32GB (10de:1db5) is not known to any driver after "
        "580. Choose an older image, or move that GPU to another host."
    ) == str(caught.value)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"guest": "lxc"}, "this is a container (systemd-detect-virt says lxc), whose driver is that of its host"),
        ({"platform": ["/etc/dgx-release"]}, "this is DGX OS (/etc/dgx-release), which brings its own driver"),
        ({"gpus": (GB10,)}, "this is a DGX Spark (10de:2e12), whose driver comes with DGX OS"),
        ({"platform": ["/dev/dxg"]}, "this is WSL (/dev/dxg), whose driver is that of Windows"),
    ],
)
def test_somebody_elses_driver_stays(answers: dict[str, Any], reason: str) -> None:
    """A driver that comes with the platform is left alone as long as it answers and is new enough."""
    found = decide(**{"driver": "580.178.04", **answers})

    assert ("leave alone", f"driver 580.178.04 answers and is new enough; {reason}") == (found.action, found.reason)


@pytest.mark.parametrize(
    "packages", [{}, {"libnvidia-container1": "1.18.0-1", "libnvidia-container-tools": "1.18.0-1"}]
)
def test_container_toolkit_is_no_foreign_driver(packages: dict[str, str]) -> None:
    """The container toolkit's libraries are not a driver from another source."""
    assert "install" == decide(driver=None, packages=packages).action


@pytest.mark.parametrize("gpu", [T4, RTX_4090, RTX_5090])
def test_disruption_is_allowed(gpu: str) -> None:
    """With hermes_disrupt the driver is replaced under whatever runs."""
    answers: dict[str, Any] = {**OLD, **OTHER, "gpus": (gpu,)}
    found = decide({"upgrade": True}, {"hermes_disrupt": True}, **answers)

    assert ("upgrade", 580) == (found.action, found.branch)


def test_held_packages_that_do_are_no_trouble() -> None:
    """Held packages of a driver that is new enough stop nothing."""
    assert "leave alone" == decide(driver="580.178.04", packages=NVIDIA_DRIVER, held=list(NVIDIA_DRIVER)).action
