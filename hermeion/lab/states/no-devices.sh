# The driver is loaded and sees no GPU (nvidia-smi ends with 6).
# from: driver

enter() { knob no-devices; }

leave() { no_knob no-devices; }
