"""Measurements on a machine with an NVIDIA GPU, and the bundle that takes them there."""
