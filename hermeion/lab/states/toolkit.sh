# Driver and NVIDIA Container Toolkit 1.20.0 are healthy, with a CDI specification; there is no Docker.
# from: driver
# keep: yes

enter() {
    install_toolkit 1.20.0
    forget_site_repository
}

leave() { remove_toolkit; }
