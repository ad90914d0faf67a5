"""What gunicorn loads: the application with the environment's settings."""

import logging
import os

from app import create_app
from app.settings import Settings

settings = Settings.from_environment(os.environ)
logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
application = create_app(settings)
