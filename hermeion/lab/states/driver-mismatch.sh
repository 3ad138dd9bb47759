# An upgrade ran without a reboot: module 580.126.09 is loaded, the libraries are 580.178.04.
# from: driver-previous

enter() {
    install_driver 580.178.04
    forget_site_repository
}

leave() {
    install_driver 580.126.09
    forget_site_repository
    rm -f /run/reboot-required  # asked for by the upgrade that is undone
}
