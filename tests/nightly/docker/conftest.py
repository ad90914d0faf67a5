"""Fixtures of the tests in containers: a Docker engine, the images, and the service from them."""

from __future__ import annotations

from tests.support.docker_compose import added_model, engine, images, pan_left, service

__all__ = ["added_model", "engine", "images", "pan_left", "service"]
