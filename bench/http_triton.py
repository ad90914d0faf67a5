"""Triton as the stack starts it, but with HTTP too, which the stack leaves off: for what sends its tensors that way.

python -m bench.http_triton PORT        (settings: CLIPSTACK_* in the environment)
"""

from __future__ import annotations

import os
import sys

from app.settings import Settings
from deploy import launch


def main(port: str) -> None:
    command = [word for word in launch.triton(Settings.from_environment()) if not word.startswith("--allow-http")]
    os.execv(command[0], [*command, "--allow-http=true", "--http-address=127.0.0.1", f"--http-port={port}"])


if __name__ == "__main__":
    main(sys.argv[1])
