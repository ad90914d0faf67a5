"""Checks of the running service: programs, web, Triton and its models, certificate."""
