"""Heals what Supervisor cannot see: programs that it has given up, and models whose process hangs or is dead."""
