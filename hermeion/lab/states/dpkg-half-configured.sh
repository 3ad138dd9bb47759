# Somebody's own package is half-configured: its script fails at every apt call.

enter() {
    site_package site-agent 'echo "site-agent: cannot reach its server" >&2; exit 1'
    if dpkg -i /var/cache/site/site-agent.deb; then exit 1; fi
    [ -n "$(dpkg --audit)" ]
}

leave() { purge_site_package site-agent; }
