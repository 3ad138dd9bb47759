# Driver, toolkit, Docker with CDI and Compose are healthy, all by somebody else.
# from: toolkit
# keep: yes

enter() {
    install_docker
    docker_settings '{"features": {"cdi": true}}'
}

leave() { remove_docker; }
