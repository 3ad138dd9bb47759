# Another process holds dpkg's lock for 15 seconds, then lets go.

enter() {
    site_package site-update 'touch /run/site-update; sleep 15'
    rm -f /run/site-update
    systemd-run --quiet --collect --unit=site-update apt-get -q -y install /var/cache/site/site-update.deb
    i=0
    until [ -e /run/site-update ]; do
        i=$((i + 1))
        [ "$i" -lt 200 ]
        sleep 0.1
    done
}

leave() {
    systemctl stop site-update.service 2> /dev/null || true
    purge_site_package site-update
}
