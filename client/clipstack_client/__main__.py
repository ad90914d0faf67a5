"""The command line `clipstack`, as `python -m clipstack_client`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="clipstack")
