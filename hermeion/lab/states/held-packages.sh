# The packages of driver 550.163.01 are on hold.
# from: driver-old

enter() { apt-mark hold $(driver_packages) > /dev/null; }

leave() { apt-mark unhold $(driver_packages) > /dev/null; }
