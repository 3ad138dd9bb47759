# A newer kernel is installed that has no NVIDIA module: the driver is gone after the next boot.
# from: driver

enter() {
    site_repository
    apt install --no-install-recommends "$(next_kernel_package)"
    forget_site_repository
}

leave() { apt purge 'linux-image-*-next'; }
