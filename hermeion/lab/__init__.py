"""The lab: real hosts in containers, simulated silicon.

sshd, systemd, apt, dpkg, Docker, Compose, CDI, lspci, the Hub client and vLLM are the real ones; what is
simulated is the PCI tree and the driver behind ``nvidia-smi``. Nothing outside this package knows that.
"""
