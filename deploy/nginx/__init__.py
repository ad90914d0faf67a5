"""Nginx: its rendered configuration, host and origin rules, and checks of TLS certificates."""
