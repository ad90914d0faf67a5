"""What the doctor checks of the machine: memory, disks, ports, clock, GPU."""
