"""Commands whose help lists the connection apart, and whose `--shrink` needs no value."""

import click

from .connection import ServiceOption

SHRINK = ("always", "auto")


class Command(click.Command):
    """Command whose help has a section for the connection to the service."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then those of the connection."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Connection": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections["Connection" if isinstance(param, ServiceOption) else "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class ShrinkCommand(Command):
    """Command whose `--shrink` needs no value: the next argument is its value only if it is a valid one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give `--shrink` its default value if the next argument is not a value of it."""
        expanded = []
        for index, arg in enumerate(args):
            following = args[index + 1] if index + 1 < len(args) else None
            expanded.append("--shrink=always" if arg == "--shrink" and following not in SHRINK else arg)
        return super().parse_args(ctx, expanded)
