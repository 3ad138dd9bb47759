# The build of driver 570.211.01 has failed and left its package half-configured: every apt call ends with 100.
# keep: yes

enter() {
    knob dkms-fails 570.211.01
    if install_driver 570.211.01; then
        echo "the build did not fail" >&2
        exit 1
    fi
    forget_site_repository
    dpkg-query -W -f '${db:Status-Abbrev}\n' nvidia-kernel-open-dkms | grep -q iF
}

leave() {
    remove_driver
    no_knob dkms-fails
}
