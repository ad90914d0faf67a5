"""python -m app.auth: what `clipstack-keys` does, where it is not installed as a command (containers)."""

from app.auth.cli import main

main(prog_name="clipstack-keys")
