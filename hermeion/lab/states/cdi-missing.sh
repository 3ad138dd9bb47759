# Driver, toolkit and Docker are there, and no CDI specification: the units that make it are disabled.
# from: ready

enter() {
    systemctl disable --now --quiet nvidia-cdi-refresh.path nvidia-cdi-refresh.service
    rm -f /var/run/cdi/nvidia.yaml
}

leave() {
    systemctl enable --quiet nvidia-cdi-refresh.path nvidia-cdi-refresh.service
    systemctl start nvidia-cdi-refresh.path nvidia-cdi-refresh.service
}
