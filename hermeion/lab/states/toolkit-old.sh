# The NVIDIA Container Toolkit is 1.17.8, which keeps no CDI specification up to date.
# from: ready

enter() {
    remove_toolkit
    install_toolkit 1.17.8
    forget_site_repository
}

leave() {
    install_toolkit 1.20.0
    forget_site_repository
}
