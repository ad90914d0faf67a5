"""Entry point of `python -m deploy.stack`."""

import sys

from deploy.stack.stack import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
