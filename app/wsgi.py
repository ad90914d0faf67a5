"""What gunicorn loads: the application with the environment's settings."""

import os

from app import create_app, logs
from app.settings import Settings

settings = Settings.from_environment(os.environ)
logs.set_up(settings.log_level, settings.log_format)
application = create_app(settings)
