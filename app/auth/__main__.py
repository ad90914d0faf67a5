"""Entry point of python -m app.auth: `clipstack-keys` where that command is not installed (containers)."""

from app.auth.cli import main

main(prog_name="clipstack-keys")
