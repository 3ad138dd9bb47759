# The GPU is a slice of somebody's board: NVIDIA L40S-48Q, a vGPU.
# from: driver

enter() { knob vgpu 'NVIDIA L40S-48Q'; }

leave() { no_knob vgpu; }
