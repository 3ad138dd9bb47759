# A container runs with the old runtime named nvidia, which loses its GPUs at a daemon-reload.
# from: driver

enter() {
    install_docker
    printf '{"runtimes": {"nvidia": {"path": "runc", "runtimeArgs": []}}}\n' > /etc/docker/daemon.json
    systemctl restart docker.service
    tiny_image
    docker run -d --name site-llm --runtime nvidia -e NVIDIA_VISIBLE_DEVICES=all site/worker:1 > /dev/null
}

leave() {
    docker rm -f site-llm > /dev/null
    remove_docker
}
