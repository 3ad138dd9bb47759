# Somebody else's driver 580.126.09 is healthy: the right branch, not its newest release.
# reboot: yes
# keep: yes

enter() {
    install_driver 580.126.09
    forget_site_repository
}

leave() { remove_driver; }
