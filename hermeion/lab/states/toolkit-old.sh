# The NVIDIA Container Toolkit is 1.17.8, which keeps no CDI specification up to date.
# from: driver

enter() {
    install_toolkit 1.17.8
    forget_site_repository
}

leave() { remove_toolkit; }
