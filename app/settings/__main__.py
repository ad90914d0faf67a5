"""Entry point of python -m app.settings: print all settings with their current values."""

import sys

from app.settings import InvalidSetting, Settings, table

try:
    print(table(Settings.from_environment()))
except InvalidSetting as error:
    sys.exit(str(error))
