"""Command line `clipstack-models`: `list`, `show` and `remove`; the other commands are in modules of their own."""

import sys
from pathlib import Path

import click

from app.settings import require_checkout
from triton_repo.zoo import ModelError
from triton_repo.zoo.cli import tables
from triton_repo.zoo.cli.add_command import add
from triton_repo.zoo.cli.check_commands import bench, verify
from triton_repo.zoo.cli.console import command_settings, console, models_option, print_error
from triton_repo.zoo.cli.quantize_command import quantize
from triton_repo.zoo.cli.train_commands import evaluate, train
from triton_repo.zoo.names import BUILT_IN, PUBLISHED, SHORT
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import restored_on_failure, running


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clipstack")
def main() -> None:
    """Add, check and remove the models of a Clipstack service, on its machine and in its checkout.

    \b
    Exit codes: 0 success, 1 the command failed, 2 wrong command line.
    """
    for stream in (sys.stdout, sys.stderr):
        # Print a question mark for characters that the terminal's encoding lacks, instead of failing.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    require_checkout("clipstack-models")


@main.command(name="list")
@models_option
def list_models(models: Path | None) -> None:
    """List the installed models, and the models that can be added."""
    with command_settings() as settings:
        folder = models or settings.model_dir
        models_in_folder = []
        for name in store.names(folder):
            try:
                models_in_folder.append(store.installed(folder, name))
            except ModelError as error:
                print_error(error)
        table = tables.models_table(models_in_folder, settings.model, settings.picture_model)
        console().print(table, tables.available_line(models_in_folder), sep="\n\n")


@main.command()
@click.argument("name")
@models_option
def show(name: str, models: Path | None) -> None:
    """Show the input, labels, engine and source of a model."""
    with command_settings() as settings:
        folder = models or settings.model_dir
        network = SHORT.get(name, name)
        is_installed = name in store.names(folder) or network not in PUBLISHED
        facts = (
            tables.installed_facts(store.installed(folder, name)) if is_installed else tables.published_facts(network)
        )
        console().print(tables.facts_lines({"model": name, **facts}))


@main.command()
@click.argument("name", metavar="NAME[@VERSION]")
@models_option
def remove(name: str, models: Path | None) -> None:
    """Remove a model, or one version of it."""
    name, at, number = name.partition("@")
    with command_settings() as settings:
        if at and not number.isdecimal():
            raise ModelError(f"{number[:80]!r} is not a version: give a number, as in {name}@2.")
        if name == settings.model:
            raise ModelError(
                f"{name} is the default model and cannot be removed: the service does not start without it."
            )
        if name in BUILT_IN:
            raise ModelError(f"{name} is built in and cannot be removed: `make setup` would create it again.")
        folder = models or settings.model_dir
        version = int(number) if at else None
        with (
            running(settings, folder) as server,
            restored_on_failure(server, folder, name),
            store.removing(folder, name, version) as left,
        ):
            if server and left is None:
                server.unload(name)
            elif server and left is not None:
                server.load(name, left)
        console().print(f"removed {name}{at}{number}")


for _command in (add, verify, bench, quantize, train, evaluate):
    main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
