# Two old source lists of the toolkit name different keys for one repository: every apt call fails.

enter() {
    cat > /etc/apt/sources.list.d/libnvidia-container.list <<'END'
deb [signed-by=/usr/share/keyrings/nvidia-container-toolkit-keyring.gpg] https://nvidia.github.io/libnvidia-container/stable/deb/amd64 /
END
    cat > /etc/apt/sources.list.d/nvidia-docker.list <<'END'
deb [signed-by=/usr/share/keyrings/nvidia-docker.gpg] https://nvidia.github.io/libnvidia-container/stable/deb/amd64 /
END
}

leave() { rm -f /etc/apt/sources.list.d/libnvidia-container.list /etc/apt/sources.list.d/nvidia-docker.list; }
