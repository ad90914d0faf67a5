"""Triton's model repository: add, remove and configure models, also while the server runs."""
