# Driver 535.104.05 came from NVIDIA's .run file and is too old for CUDA 13.
# reboot: yes

enter() { run_file 535.104.05; }

leave() { sh /usr/bin/nvidia-uninstall --silent; }
