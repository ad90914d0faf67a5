"""The command `clipstack-models`."""
