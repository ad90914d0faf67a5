"""Shows which layers a decoder gets here; fails when one is missing that must not be.

python -m app.sandbox       (settings: CLIPSTACK_SANDBOX in the environment)
"""

import sys

from app.sandbox import SandboxConfig, missing
from app.sandbox.report import available, table
from app.settings import Settings

if __name__ == "__main__":
    mode = Settings.from_environment().sandbox
    found = available(SandboxConfig((), mode=mode))
    print(table(found))
    sys.exit(missing(found) if mode == "required" else None)
