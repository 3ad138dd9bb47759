# Two old source lists of the toolkit name different keys for one repository: every apt call fails. No toolkit.
# from: ready

enter() {
    remove_toolkit
    cat > /etc/apt/sources.list.d/libnvidia-container.list <<'LIST'
deb [signed-by=/usr/share/keyrings/nvidia-container-toolkit-keyring.gpg] https://nvidia.github.io/libnvidia-container/stable/deb/amd64 /
LIST
    cat > /etc/apt/sources.list.d/nvidia-docker.list <<'LIST'
deb [signed-by=/usr/share/keyrings/nvidia-docker.gpg] https://nvidia.github.io/libnvidia-container/stable/deb/amd64 /
LIST
}

leave() {
    rm -f /etc/apt/sources.list.d/libnvidia-container.list /etc/apt/sources.list.d/nvidia-docker.list
    install_toolkit 1.20.0
    forget_site_repository
}
