"""Measurements to run by hand beside a stack."""
