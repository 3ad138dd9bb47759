# Every build of a kernel module fails, as 550's open module does on newer Debian kernels.

enter() { knob dkms-fails; }

leave() { no_knob dkms-fails; }
