# The host is an LXC container: the driver belongs to the machine around it.

enter() { knob virt lxc; }

leave() { no_knob virt; }
