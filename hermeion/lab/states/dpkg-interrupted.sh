# The power failed between unpacking and configuring nvidia-persistenced.

enter() {
    site_repository
    cd /var/cache/apt/archives
    apt download nvidia-persistenced=580.178.04-1
    dpkg --unpack nvidia-persistenced_580.178.04-1_*.deb
    forget_site_repository
    [ -n "$(dpkg --audit)" ]
}

leave() { dpkg --purge --force-all nvidia-persistenced; }
