# What the states share. Runs on a lab host as root, before a state's functions.
# LAB_APT_URL, LAB_APT_KEY and LAB_CA (files on the host) lead to the lab's apt repository.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
libraries=/usr/lib/x86_64-linux-gnu
aside=/var/lib/hermeion-lab/aside

apt() { apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"; }

# --- knobs: what the simulated hardware and kernel show (/etc/hermeion-lab)
knob() {
    mkdir -p /etc/hermeion-lab
    printf '%s\n' "${2:-}" > "/etc/hermeion-lab/$1"
}
no_knob() { rm -f "/etc/hermeion-lab/$1"; }

# --- files that go away and come back
set_aside() {
    mkdir -p "$aside$(dirname "$1")"
    mv "$1" "$aside$1"
}
put_back() {  # everything whose path begins with $1
    for file in "$aside$1"*; do mv "$file" "${file#"$aside"}"; done
}

# --- apt: names that are plainly somebody else's, since a person set this host up before
debian_lists() { ls /var/lib/apt/lists/*_dists_*Packages* > /dev/null 2>&1 || apt update; }
site_repository() {
    host=${LAB_APT_URL#*://}
    host=${host%%[:/]*}
    mkdir -p /etc/apt/keyrings
    cp "$LAB_APT_KEY" /etc/apt/keyrings/site-nvidia.asc
    cp "$LAB_CA" /etc/apt/keyrings/site-ca.pem
    printf 'Acquire::https::%s::CAInfo "/etc/apt/keyrings/site-ca.pem";\n' "$host" > /etc/apt/apt.conf.d/40site-nvidia
    printf 'Types: deb\nURIs: %s\nSuites: ./\nSigned-By: /etc/apt/keyrings/site-nvidia.asc\n' "$LAB_APT_URL" \
        > /etc/apt/sources.list.d/site-nvidia.sources
    # Only this repository: reading Debian's lists takes most of the time, and not everybody needs them.
    apt update -o Dir::Etc::SourceParts=- \
        -o Dir::Etc::SourceList=/etc/apt/sources.list.d/site-nvidia.sources -o APT::Get::List-Cleanup=0
}
forget_site_repository() {
    rm -f /etc/apt/sources.list.d/site-nvidia.sources /etc/apt/apt.conf.d/40site-nvidia \
        /etc/apt/keyrings/site-nvidia.asc /etc/apt/keyrings/site-ca.pem
    host=${LAB_APT_URL#*://}
    rm -f /var/lib/apt/lists/"${host%%[:/]*}"*
}

# --- somebody's own packages: $1 name, $2 what its postinst does
site_package() {
    tree=/var/cache/site/$1
    mkdir -p "$tree/DEBIAN"
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: Site <root@site.invalid>\nDescription: %s\n' \
        "$1" "something of this site" > "$tree/DEBIAN/control"
    printf '#!/bin/sh\n%s\n' "$2" > "$tree/DEBIAN/postinst"
    chmod 0755 "$tree/DEBIAN" "$tree/DEBIAN/postinst"
    dpkg-deb --build --root-owner-group "$tree" "/var/cache/site/$1.deb" > /dev/null
}
purge_site_package() {
    dpkg --purge --force-all "$1"
    rm -rf "/var/cache/site/$1" "/var/cache/site/$1.deb"
}

# --- drivers
headers_package() { printf 'linux-headers-%s' "$(uname -r | tr 'A-Z_' 'a-z-')"; }
next_kernel_package() { apt-cache pkgnames linux-image- | grep -e '-next$' | head -n 1; }
on_bus() {  # is there an NVIDIA function whose class begins with $1 and whose device id matches the pattern $2
    for device in /sys/bus/pci/devices/*; do
        [ -e "$device/vendor" ] || continue
        [ "$(cat "$device/vendor")" = 0x10de ] || continue
        case "$(cat "$device/class") $(cat "$device/device")" in "$1"*" "$2) return 0 ;; esac
    done
    return 1
}
driver_packages() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'nvidia-*' | awk '/^.i|^i/ && $2 !~ /container/ { print $2 }'; }
install_driver() {  # version, flavour: open or proprietary; by default what the boards need
    kernel=nvidia-kernel-open-dkms
    # 0x1340 to 0x1df6 are Maxwell, Pascal and Volta (pci.ids), which have no GSP: no open module
    if on_bus 0x03 '0x1[3-9abcd]??'; then kernel=nvidia-kernel-dkms; fi
    case ${2:-} in open) kernel=nvidia-kernel-open-dkms ;; proprietary) kernel=nvidia-kernel-dkms ;; esac
    set -- "$1" nvidia-driver-cuda "$kernel" nvidia-persistenced
    if on_bus 0x0680 '*'; then set -- "$@" nvidia-fabricmanager; fi
    version=$1
    shift
    debian_lists
    site_repository
    for package do
        set -- "$@" "$package=$version-1"
        shift
    done
    apt install --no-install-recommends --allow-downgrades "$(headers_package)" "$@"
}
remove_driver() {
    apt purge $(driver_packages)
    apt autoremove --purge
    forget_site_repository
}

# A module as far as modinfo reads it: an ELF object with a section .modinfo. $1 file, $2 version, $3 licence.
# Header (64 bytes), .modinfo (128, NULs after the words), section names (24), three section headers of 64.
write_module() {
    mkdir -p "$(dirname "$1")"
    {
        printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\1\0\076\0\1\0\0\0'
        printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\330\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\100\0\3\0\2\0'
        printf 'version=%s\0license=%s\0name=nvidia' "$2" "$3" | dd bs=128 conv=sync status=none
        printf '\0.modinfo\0.shstrtab\0\0\0\0\0'
        head -c 64 /dev/zero
        printf '\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\200\0\0\0\0\0\0\0'
        printf '\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
        printf '\012\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\300\0\0\0\0\0\0\0\030\0\0\0\0\0\0\0'
        printf '\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
    } > "$1"
}
run_file() {  # what NVIDIA-Linux-x86_64-$1.run leaves; nvidia-smi and the library come out of a package of the lab
    site_repository
    parts=$(mktemp -d)
    (cd "$parts" && apt-get -q download nvidia-driver-cuda=580.178.04-1)
    forget_site_repository
    dpkg-deb -x "$parts"/nvidia-driver-cuda_*.deb "$parts/root"
    cp "$parts/root/usr/bin/nvidia-smi" /usr/bin/nvidia-smi
    cp "$parts/root$libraries/libnvidia-ml.so.580.178.04" "$libraries/libnvidia-ml.so.$1"
    rm -rf "$parts"
    ln -sf "libnvidia-ml.so.$1" "$libraries/libnvidia-ml.so.1"
    ldconfig
    module=/lib/modules/$(uname -r)/kernel/drivers/video/nvidia.ko
    write_module "$module" "$1" NVIDIA
    printf "nvidia-installer log file '/var/log/nvidia-installer.log'\nnvidia-installer version: %s\n" "$1" \
        > /var/log/nvidia-installer.log
    printf '#!/bin/sh\nrm -f %s\nldconfig\n' "/usr/bin/nvidia-smi $libraries/libnvidia-ml.so.1 \
$libraries/libnvidia-ml.so.$1 $module /var/log/nvidia-installer.log /usr/bin/nvidia-uninstall" \
        > /usr/bin/nvidia-uninstall
    chmod 0755 /usr/bin/nvidia-uninstall
}

# --- containers
install_docker() {
    debian_lists
    apt install --no-install-recommends docker.io docker-cli docker-compose
}
remove_docker() {
    for package in docker-compose docker-cli docker.io containerd runc; do
        if dpkg-query -W "$package" > /dev/null 2>&1; then set -- "$@" "$package"; fi
    done
    apt purge "$@"
    apt autoremove --purge
    rm -rf /etc/docker /var/lib/docker/* /var/lib/containerd
}
docker_settings() {  # the whole of daemon.json; nothing: no such file. Docker restarts
    mkdir -p /etc/docker
    if [ -n "$1" ]; then printf '%s\n' "$1" > /etc/docker/daemon.json; else rm -f /etc/docker/daemon.json; fi
    systemctl restart docker.service
}
tiny_image() {  # site/worker:1, which sleeps: this host's own sleep with the libraries it needs, so no network
    files=$(ldd /bin/sleep | grep -o '/[^ ]*' | sed 's|^/||')
    # shellcheck disable=SC2086  # a list of paths without spaces
    tar -C / -chf - bin/sleep $files | docker import -c 'CMD ["/bin/sleep", "infinity"]' - site/worker:1 > /dev/null
}
install_toolkit() {
    debian_lists
    site_repository
    apt install --no-install-recommends --allow-downgrades "nvidia-container-toolkit=$1-1" "nvidia-container-toolkit-base=$1-1" \
        "libnvidia-container-tools=$1-1" "libnvidia-container1=$1-1"
}
remove_toolkit() {
    dpkg --purge --force-depends nvidia-container-toolkit libnvidia-container-tools libnvidia-container1 \
        nvidia-container-toolkit-base
    rm -f /var/run/cdi/nvidia.yaml
}
