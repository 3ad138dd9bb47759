# A hand-made /etc/cdi/nvidia.yaml of another driver names the same devices as the automatic one.
# from: ready

enter() {
    mkdir -p /etc/cdi
    sed 's/580\.178\.04/550.163.01/g' /var/run/cdi/nvidia.yaml > /etc/cdi/nvidia.yaml
}

leave() { rm -f /etc/cdi/nvidia.yaml; }
