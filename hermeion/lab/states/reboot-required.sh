# The driver is healthy, and an unrelated upgrade asks for a reboot.
# from: driver

enter() {
    printf '*** System restart required ***\n' > /run/reboot-required
    printf 'libc6\n' > /run/reboot-required.pkgs
}

leave() { rm -f /run/reboot-required /run/reboot-required.pkgs; }
