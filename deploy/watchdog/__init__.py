"""Heals what Supervisor cannot see: programs that it has given up, models that are dead, hang or were not loaded."""
