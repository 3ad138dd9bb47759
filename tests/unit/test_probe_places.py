"""What the real probe says of filesystems and addresses."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from pathlib import Path

import pytest

from hermeion.probe import Address, Disk, Probe, parse_probe, probe_script
from tests.unit.builders import make_probe

ROW = "/srv/models 20 19 yes"


def ask(script: str, cache: Path, *before: str) -> Probe:
    """The script's answer on this machine."""
    done = subprocess.run(
        [*before, "sh", "-c", script, "probe", str(cache)], capture_output=True, text=True, check=True
    )
    return parse_probe(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("mount", "source", "fstype", "target"),
    [
        ("/dev/nvme0n1p2", "/dev/nvme0n1p2", "", ""),
        ("nas:/models nfs4 /srv/models", "nas:/models", "nfs4", "/srv/models"),
        (r"//nas/My\x20Models cifs /mnt/a\x09b\x5cc", "//nas/My Models", "cifs", "/mnt/a\tb\\c"),
        (r"/dev/sda1 ext4 /mnt/caf\xc3\xa9", "/dev/sda1", "ext4", "/mnt/café"),
        ("", "", "", ""),
    ],
)
def test_row_of_a_filesystem(mount: str, source: str, fstype: str, target: str) -> None:
    """Source, type and place of a filesystem are read, blanks in them too; an older answer has the source alone."""
    disk = make_probe(disks=[f"{ROW} {mount}".rstrip()]).disks["/srv/models"]

    assert (
        Disk(path="/srv/models", total=20, free=19, writable=True, source=source, fstype=fstype, target=target) == disk
    )


@pytest.mark.parametrize(("fstype", "expected"), [("nfs4", True), ("fuse.juicefs", True), ("ext4", False), ("", False)])
def test_network_filesystems(fstype: str, expected: bool) -> None:
    """Filesystems that several hosts can have mounted are told from those that are a host's own."""
    assert expected is make_probe(disks=[f"{ROW} x {fstype}"]).disks["/srv/models"].is_network


def test_list_of_network_filesystems() -> None:
    """Script and core know the same network filesystems."""
    line = next(line for line in probe_script().splitlines() if "| fuse.* |" in line)
    words = line.split(")")[0].replace("|", " ").split()

    assert {
        word for word in words if not make_probe(disks=[f"{ROW} x {word}"]).disks["/srv/models"].is_network
    } == set()
    assert 13 == len(words)


@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="this user cannot mount",
)
def test_filesystems_over_each_other(tmp_path: Path) -> None:
    """Of filesystems that are mounted over each other the topmost is told, whether it is read-only included."""
    place = tmp_path / "mounted"
    place.mkdir()
    mounts = f"mount -t tmpfs -o ro lower '{place}' && mount -t tmpfs -o size=1m 'up per' '{place}' && exec \"$@\""
    disk = ask(probe_script(), place / "models", "unshare", "-m", "sh", "-c", mounts, "-").disks[str(place / "models")]

    assert ("up per", "tmpfs", str(place), True, 1 << 20) == (
        disk.source,
        disk.fstype,
        disk.target,
        disk.writable,
        disk.total,
    )


def test_rows_of_addresses() -> None:
    """Addresses keep their order, and those of one interface their number."""
    rows = ["eth0 10.0.0.5/24", "eth0 fd00::5/64", "wg0 10.8.0.1"]
    probe = make_probe(os=["ID=debian", *(f"address={row}" for row in rows)])

    assert rows == [f"{found.interface} {found.address}" for found in probe.addresses]
    assert "debian" == probe.os_id


@pytest.mark.skipif(not shutil.which("ip"), reason="this machine lacks iproute2")
def test_addresses_of_this_machine(tmp_path: Path) -> None:
    """The kernel's own tables, read where iproute2 is missing, say of IPv4 what iproute2 says."""
    with_tool = ask(probe_script(), tmp_path).addresses
    without = ask(probe_script().replace("have ip;", "false;"), tmp_path).addresses
    of_ipv4 = {found for found in with_tool if ipaddress.ip_interface(found.address).version == 4}

    assert of_ipv4 == set(without)
    assert not any(ipaddress.ip_interface(found.address).is_loopback for found in with_tool)


def test_addresses_from_the_kernels_tables(tmp_path: Path) -> None:
    """An address belongs to the interface whose network it is in; addresses of loopback and broadcasts are none."""
    (tmp_path / "route").write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n"
        "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\n"
        "vpn0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\n"
        "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
        "ib0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\n"
    )
    (tmp_path / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.5\n"
        "        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n"
        "        /32 host LOCAL\n     |-- 192.168.7.255\n        /32 host LOCAL\nLocal:\n     |-- 10.0.0.5\n"
        "        /32 host LOCAL\n"
    )
    script = probe_script().replace("have ip;", "false;").replace("/proc/net/", f"{tmp_path}/")

    assert (
        Address(interface="eth0", address="10.0.0.5/24"),
        Address(interface="ib0", address="192.168.7.255/16"),
    ) == ask(script, tmp_path).addresses
