# Driver 550.163.01 is healthy and too old for CUDA 13.
# reboot: yes
# keep: yes

enter() {
    install_driver 550.163.01
    forget_site_repository
}

leave() { remove_driver; }
