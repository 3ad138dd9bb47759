# Somebody else's driver 580.178.04 is healthy; no repository and no pin are left of its installation.
# reboot: yes
# keep: yes

enter() {
    install_driver 580.178.04
    forget_site_repository
}

leave() { remove_driver; }
