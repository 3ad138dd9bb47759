# Driver 570.211.01 is healthy, and its branch gets no fixes any more.
# reboot: yes
# keep: yes

enter() {
    install_driver 570.211.01
    forget_site_repository
}

leave() { remove_driver; }
