"""Checks of the installed software and its configuration."""
