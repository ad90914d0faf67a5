"""Gunicorn: its configuration file and the worker class."""
