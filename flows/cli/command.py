"""The group of commands: its errors are for people."""

import io
import sqlite3
import sys
from typing import Any

import click
import duckdb
from pydantic import ValidationError

from flows.cli.render import print_error
from flows.errors import TidemarkError
from flows.settings import explain


class Command(click.Group):
    """Errors meant for people end the command with their text and exit code 1, without a traceback."""

    def main(self, *args: Any, **more: Any) -> Any:
        # A character that the terminal cannot show must not stop the output, nor make what was done look undone.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ValidationError as error:
            for line in explain(error):
                print_error(line)
            sys.exit(1)
        except TidemarkError as error:
            print_error(str(error))
            sys.exit(1)
        except (OSError, sqlite3.Error, duckdb.Error) as error:
            if isinstance(error, BrokenPipeError):
                raise
            print_error(
                f"{' '.join(str(error).split())}; what was done before is whole; fix the cause (a missing permission, "
                "a full disk) and run the same again"
            )
            sys.exit(1)
