# The module is loaded, and the package with nvidia-smi and the libraries has been removed.
# from: driver

enter() { apt remove nvidia-driver-cuda; }

leave() {
    install_driver 580.178.04
    forget_site_repository
}
