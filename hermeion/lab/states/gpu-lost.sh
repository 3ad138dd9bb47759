# One of two GPUs has fallen off the bus: nvidia-smi shows fewer than the PCI bus.
# gpus: 2xRTX4090
# from: driver

enter() { knob lost-gpus 1; }

leave() { no_knob lost-gpus; }
