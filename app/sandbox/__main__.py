"""Report of the sandbox layers that a decoder gets here; exits with an error if a required one is missing.

Usage: python -m app.sandbox       (setting: CLIPSTACK_SANDBOX in the environment)
"""

import sys

from app.sandbox import SandboxConfig, available, missing, table
from app.settings import Settings

if __name__ == "__main__":
    mode = Settings.from_environment().sandbox
    layers = available(SandboxConfig((), mode=mode))
    print(table(layers))
    sys.exit(missing(layers) if mode == "required" else None)
