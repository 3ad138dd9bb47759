# Docker is installed, stopped and disabled.
# from: ready

enter() { systemctl disable --now --quiet docker.service docker.socket; }

leave() { systemctl enable --now --quiet docker.socket docker.service; }
