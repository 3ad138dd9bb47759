# Driver 580.95.05 came from NVIDIA's .run file: it answers, and no package owns its files.
# reboot: yes

enter() { run_file 580.95.05; }

leave() { sh /usr/bin/nvidia-uninstall --silent; }
