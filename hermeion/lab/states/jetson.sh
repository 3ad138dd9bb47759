# The host is a Jetson: its driver comes with JetPack.
# gpus: none

enter() {
    cat > /etc/nv_tegra_release <<'END'
# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025
END
}

leave() { rm -f /etc/nv_tegra_release; }
