"""The reference of commands and settings follows from the code."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from flows.cli import main as tidemark
from flows.cli import reference
from flows.cli.reference import REFERENCE, commands_reference, main, settings_reference, with_block, with_reference
from flows.settings import Settings

# click cuts what is longer in the list of commands.
LIST_WIDTH = 80


@click.group()
def group() -> None:
    """Commands."""


@group.command()
@click.argument("version", required=False)
@click.argument("files", nargs=-1)
@click.option("--from", "first", metavar="DAY", help="The first day; goes with --to.")
@click.option("--count", default=1_000, show_default=True, metavar="N", help="How many.")
@click.option("--all", "is_all", is_flag=True, help="All | none.")
@click.option("--owner", required=True, metavar="OWNER", help="Whose.")
def fetch(**_: object) -> None:
    """Fetch it.

    With --from it begins later, as in
    `fetch --from 2026-01-01`.
    """


def test_a_command_is_documented_with_all_that_it_takes() -> None:
    text = commands_reference(group)
    assert "| [`tidemark fetch`](#tidemark-fetch) | Fetch it. |" in text
    assert "tidemark fetch [VERSION] [-- FILES...] [--from DAY] [--count N] [--all] --owner OWNER" in text
    assert "With `--from` it begins later, as in `fetch --from 2026-01-01`." in text
    assert "| `--from DAY` | The first day; goes with `--to`. |" in text
    assert "| `--count N` | How many. Default 1,000. |" in text
    assert "| `--all` | All \\| none. |" in text


def test_a_setting_is_documented_with_default_and_limits() -> None:
    class Some(BaseModel):
        wait_seconds: float = Field(5.0, ge=0, le=86_400, description="How long.")
        copies: int = Field(7, ge=2, description="How many.")
        key: str | None = Field(None, description="A secret.")

    assert settings_reference(Some.model_fields.items()).splitlines()[2:] == [
        "| `TIDEMARK_WAIT_SECONDS` | `5` | 0 to 86,400 | How long. |",
        "| `TIDEMARK_COPIES` | `7` | 2 or more | How many. |",
        "| `TIDEMARK_KEY` | none |  | A secret. |",
    ]


def test_the_reference_is_what_the_code_says() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    assert page == with_reference(page), "run `make contract`"


def test_every_command_has_help_that_the_list_shows_whole() -> None:
    listed = CliRunner().invoke(tidemark, ["--help"], terminal_width=LIST_WIDTH).output
    assert "..." not in listed.partition("Commands:")[2]
    for name, command in tidemark.commands.items():
        options = [option for option in command.params if isinstance(option, click.Option)]
        assert all(option.help and (option.is_flag or option.metavar) for option in options), name


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_checking_writes_nothing_and_fails_where_the_page_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "reference.md"
    monkeypatch.setattr(reference, "REFERENCE", page)
    old = "".join(reference.BEGIN.format(name) + reference.END.format(name) for name in ("commands", "settings"))
    page.write_text(old)
    done = CliRunner().invoke(main, ["--check"])
    assert (done.exit_code, page.read_text()) == (1, old)
    assert "make contract" in done.output
    assert CliRunner().invoke(main, []).exit_code == 0
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0


def test_a_page_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(click.ClickException, match="put these two lines where they are to be"):
        with_block("nothing", "commands", "table")
