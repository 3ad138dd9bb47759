# Driver 580.178.04 is installed, and the host has not been rebooted since.

enter() {
    install_driver 580.178.04
    forget_site_repository
}

leave() { remove_driver; }
