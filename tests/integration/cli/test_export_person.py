"""The command for people who ask what is held of them."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from tests.support.deliveries import event, in_format
from tests.support.lake import KEY, Lake


def exported(lake: Lake, *arguments: str, given: str = "") -> Result:
    environment = {"TIDEMARK_HOME": str(lake.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY}
    to = ["--to", str(lake.settings.home.parent / "out")]
    return CliRunner(env=environment).invoke(main, ["export-person", *arguments, *to], input=given)


@pytest.fixture
def one(lake: Lake) -> Lake:
    lake.land_one("web/events/a.ndjson", in_format([event(1), event(2, user_id="u-2")], "ndjson"))
    return lake


def test_it_says_what_was_written_and_where(one: Lake) -> None:
    done = exported(one, "--user", "u-204")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert lines[0] == [
        "person",
        "0",
        "accounts",
        "·",
        "1",
        "user",
        "·",
        "1",
        "device",
        "(1",
        "shared",
        "with",
        "others)",
    ]
    assert ["events", "lake", "1", "0", "0"] in lines
    assert "nothing is published yet" in done.output
    assert "the warehouse was not looked through: there is no warehouse" in done.output
    assert "1 line of the inbox names the id in clear" in done.output
    assert "nobody's: adverts, calls, contents" in done.output
    assert f"{one.settings.home.parent / 'out'}  " in done.output


def test_an_id_is_read_from_standard_input(one: Lake) -> None:
    done = exported(one, "--user", "-", given="u-204\n")
    assert done.exit_code == 0
    assert ["events", "lake", "1", "0", "0"] in [line.split() for line in done.output.splitlines()]
    assert '"id": "u-204"' in (one.settings.home.parent / "out" / "person.json").read_text()


def test_who_is_unknown_is_an_answer_and_no_error(one: Lake) -> None:
    done = exported(one, "--account", "k-1")
    assert done.exit_code == 0
    assert "nothing  is held of this person, and nothing was written" in done.output
    assert not (one.settings.home.parent / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "given", "code", "said"),
    [
        ([], "", 2, "give an id"), (["--user", "-", "--device", "-"], "x\n", 2, "one id at the most"),
        (["--user", "-"], "", 1, "the id is empty"), (["--user", ""], "", 1, "the id is empty"),
    ],
)  # fmt: skip
def test_what_is_not_an_id_is_refused(one: Lake, arguments: list[str], given: str, code: int, said: str) -> None:
    done = exported(one, *arguments, given=given)
    assert done.exit_code == code
    assert said in done.output


def test_what_stands_in_the_way_is_said_plainly(lake: Lake, tmp_path: Path) -> None:
    done = exported(lake, "--user", "u-1")
    assert (done.exit_code, "error: nothing has landed" in done.output) == (1, True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    done = exported(lake, "--user", "u-1")
    assert (done.exit_code, "is not empty" in done.output) == (1, True)
