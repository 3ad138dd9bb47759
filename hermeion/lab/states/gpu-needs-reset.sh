# GPU 0 answers with [GPU requires reset].
# from: driver

enter() { knob needs-reset 0; }

leave() { no_knob needs-reset; }
