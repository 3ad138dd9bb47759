# Driver, toolkit, Docker with CDI and Compose are healthy, all by somebody else.
# from: toolkit

enter() {
    install_docker
    printf '{"features": {"cdi": true}}\n' > /etc/docker/daemon.json
    systemctl restart docker.service
}

leave() { remove_docker; }
