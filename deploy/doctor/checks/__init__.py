"""Checks of the doctor, one module per field."""
