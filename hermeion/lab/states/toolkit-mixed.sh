# The toolkit's four packages have two versions, forced past their dependencies on each other.
# from: ready

enter() {
    site_repository
    cd /var/cache/apt/archives
    apt download nvidia-container-toolkit=1.17.8-1 libnvidia-container-tools=1.17.8-1
    dpkg -i --force-depends nvidia-container-toolkit_1.17.8-1_*.deb libnvidia-container-tools_1.17.8-1_*.deb
    forget_site_repository
}

leave() {
    install_toolkit 1.20.0
    forget_site_repository
}
