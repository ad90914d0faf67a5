"""Checks of the machine: memory, disks, ports, clock, GPU."""
