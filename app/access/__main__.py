"""python -m app.access: what `clipstack-keys` does, where it is not installed as a command (containers)."""

from app.access.command import main

main(prog_name="clipstack-keys")
