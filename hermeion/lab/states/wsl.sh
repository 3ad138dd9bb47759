# The host is WSL2: /dev/dxg is there, no GPU is on the PCI bus, and Windows has the driver.
# gpus: none

enter() {
    # 1:3 is null: a harmless device; the real one is a misc device
    printf 'c /dev/dxg 0666 root root - 1:3\n' > /etc/tmpfiles.d/site-wsl.conf
    systemd-tmpfiles --create /etc/tmpfiles.d/site-wsl.conf
    mkdir -p /usr/lib/wsl/lib
    knob virt wsl  # systemd counts it among containers
}

leave() {
    rm -rf /etc/tmpfiles.d/site-wsl.conf /dev/dxg /usr/lib/wsl
    no_knob virt
}
