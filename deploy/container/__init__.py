"""Containers: the entrypoint and the health check."""
