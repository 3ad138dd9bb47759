# The fabric manager is 580.126.09 and the driver 580.178.04, so it does not start.
# gpus: 8xH100-SXM
# from: driver

enter() {
    site_repository
    apt install --allow-downgrades nvidia-fabricmanager=580.126.09-1
    forget_site_repository
    systemctl restart nvidia-fabricmanager.service || true
}

leave() {
    site_repository
    apt install nvidia-fabricmanager=580.178.04-1
    forget_site_repository
    systemctl reset-failed nvidia-fabricmanager.service || true
    systemctl restart nvidia-fabricmanager.service
}
