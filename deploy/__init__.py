"""Set-up, start, stop, health checks and packaging of the stack on one machine."""
