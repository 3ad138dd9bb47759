# Debian 12's own Docker 20.10 runs, which knows no CDI.
# suite: bookworm
# keep: yes

enter() {
    debian_lists
    apt install --no-install-recommends docker.io
}

leave() { remove_docker; }
