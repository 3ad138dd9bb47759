# The toolkit's four packages have two versions, forced past their dependencies.
# from: driver

enter() {
    site_repository
    cd /var/cache/apt/archives
    apt download nvidia-container-toolkit=1.17.8-1 libnvidia-container-tools=1.17.8-1 \
        nvidia-container-toolkit-base=1.20.0-1 libnvidia-container1=1.20.0-1
    dpkg -i --force-depends nvidia-container-toolkit*.deb libnvidia-container*.deb
    forget_site_repository
}

leave() { remove_toolkit; }
