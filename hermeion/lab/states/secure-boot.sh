# Secure Boot is on.
# reboot: yes

enter() { knob secure-boot 1; }

leave() { no_knob secure-boot; }
