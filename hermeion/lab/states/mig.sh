# GPU 0 is in MIG mode.
# gpus: 1xH100-SXM
# from: driver

enter() { knob mig 0; }

leave() { no_knob mig; }
