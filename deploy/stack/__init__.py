"""The stack on one machine: start and stop, preflight checks, run folder, processes, ports and users."""
