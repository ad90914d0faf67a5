"""Command `clipstack-models quantize`: add an int8 version of an installed model where it pays."""

from pathlib import Path

import click

from triton_repo.zoo.cli.console import command_settings, console, models_option, print_skipped
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import running


@click.command()
@click.argument("name")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of files like those that the service gets; three quarters calibrate, the others are compared on.",
)
@click.option("--force", is_flag=True, help="Install the version even if int8 is less accurate or not faster.")
@click.option("--seconds", type=click.FloatRange(min=1), default=20, show_default=True, help="Time to measure.")
@models_option
def quantize(name: str, data: Path, force: bool, seconds: float, models: Path | None) -> None:
    """Add an int8 version of a model, if it is close to f32 and faster on this CPU.

    Needs NNCF, which `deploy/setup quantize` installs. `remove NAME@VERSION` takes the version back.
    """
    with command_settings() as settings:
        folder = models or settings.model_dir
        model = store.installed(folder, name)
        from triton_repo.zoo.benchmark.engines import workshop
        from triton_repo.zoo.operations import quantize as quantization
        from triton_repo.zoo.operations.add import Target

        err = console(stderr=True)
        with workshop(model) as made, err.status("...") as status:
            quantization.check(model)
            status.update(f"decoding the files of {data}")
            clips = quantization.decode(data, model, settings, print_skipped)
            record = quantization.make(model, clips, seconds, made, status.update)
            if not force:
                record.require_worth(name)
            with running(settings, folder) as server:
                target = Target(folder, name, server, status.update)
                version = quantization.install_int8(target, model, made)
        console().print(f"{name}, version {version}, int8: {record.speed}; {record.accuracy}")
        served = f"served now, as {name}@{version}" if server else "not served yet: start the service with `make up`"
        err.print(served, style="dim")
