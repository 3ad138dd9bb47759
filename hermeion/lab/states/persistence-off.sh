# The driver is healthy, and nvidia-persistenced is disabled.
# from: driver

enter() { systemctl disable --now --quiet nvidia-persistenced.service; }

leave() { systemctl enable --now --quiet nvidia-persistenced.service; }
