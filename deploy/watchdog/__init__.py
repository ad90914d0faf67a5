"""Watchdog for failures that Supervisor cannot see: FATAL programs; models that are dead, hang or were not loaded."""
