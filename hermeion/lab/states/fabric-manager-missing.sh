# Eight GPUs behind NVSwitches and a healthy driver, without a fabric manager.
# gpus: 8xH100-SXM
# from: driver

enter() { apt purge nvidia-fabricmanager; }

leave() {
    site_repository
    apt install nvidia-fabricmanager=580.178.04-1
    forget_site_repository
}
