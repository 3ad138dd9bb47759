# The open module is loaded on a V100, which needs the proprietary one: no devices were found.
# gpus: 1xV100-32GB
# reboot: yes

enter() {
    install_driver 580.178.04 open
    forget_site_repository
}

leave() { remove_driver; }
