"""WSGI entry point for gunicorn: the application with the settings of the environment."""

import os

from app import create_app, logs
from app.settings import Settings

settings = Settings.from_environment(os.environ)
logs.set_up(settings.log_level, settings.log_format)
application = create_app(settings)
