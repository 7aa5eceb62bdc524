"""What did not fit is shown to people as it came, and to nobody without the key."""

import json

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from flows.land.quarantine import STORE
from tests.support.deliveries import csv_of, delimited, event, ndjson, protobuf
from tests.support.lake import KEY, Lake


def shown(lake: Lake, *arguments: str, master: str = KEY) -> Result:
    given = {"TIDEMARK_HOME": str(lake.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY, "TIDEMARK_MASTER_KEY": master}
    return CliRunner(env=given).invoke(main, ["quarantine", *arguments])


@pytest.fixture
def some(lake: Lake) -> Lake:
    """A lake with three rejected rows of two files, and two values of unknown keys."""
    lake.land_one("web/events/a.ndjson", ndjson([event(1, platform="fax"), event(2), event(3, anna="x", per=[1])]))
    lake.land_one("web/events/b.csv", csv_of([event(4, platform="\x1b[31mfax"), event(5, platform="")]))
    return lake


def test_rows_are_shown_with_file_line_reason_and_words(some: Lake) -> None:
    done = shown(some)
    assert done.exit_code == 0
    heads = [line for line in done.output.splitlines() if not line.startswith(" ")]
    assert heads == [
        "web/events/a.ndjson, line 1  not accepted, field platform",
        "web/events/b.csv, line 2  not accepted, field platform",
        "web/events/b.csv, line 3  missing, field platform",
    ]
    assert '"platform": "fax"' in done.output
    assert "\x1b[31m" not in done.output


def test_a_protobuf_record_is_shown_as_its_fields_and_else_as_its_bytes(lake: Lake) -> None:
    good, cut = protobuf(event(1, device_id="")), protobuf(event(2))[:-3]
    lake.land_one("web/events/a.pb", delimited([good, cut]))
    said = [line.strip() for line in shown(lake).output.splitlines() if line.startswith(" ")]
    (decoded,) = (line for line in said if line.startswith("{"))
    assert json.loads(decoded)["product"] == "news"
    assert len(said) == 2
    assert all("news" in line for line in said)


def test_values_of_unknown_keys_are_shown(some: Lake) -> None:
    output = shown(some, "--unknown-keys").output
    assert [line.split("  ") for line in output.splitlines() if not line.startswith(" ")] == [
        ["web/events/a.ndjson, line 3", "unknown key anna"], ["web/events/a.ndjson, line 3", "unknown key per"],
    ]  # fmt: skip
    assert [line.strip() for line in output.splitlines() if line.startswith(" ")] == ['"x"', "[1]"]


def test_less_is_shown_where_less_is_asked_for(some: Lake) -> None:
    limited = shown(some, "--limit", "1").output
    assert "a.ndjson" in limited
    assert "b.csv" not in limited
    assert "1 of 3 rows; `--limit` shows more" in limited
    of_batch = shown(some, "--batch", "2", "--dataset", "events").output
    assert "a.ndjson" not in of_batch
    assert "b.csv, line 3" in of_batch
    assert shown(some, "--dataset", "calls").output == "no row is in quarantine\n"


@pytest.mark.parametrize(
    ("arguments", "master", "said"),
    [(["--dataset", "evens"], KEY, "no dataset evens"), ([], KEY + "!", "the master key is not the one")],
)
def test_what_cannot_be_shown_is_said_plainly(some: Lake, arguments: list[str], master: str, said: str) -> None:
    done = shown(some, *arguments, master=master)
    assert done.exit_code == 1
    assert f"error: {said}" in done.output or said in done.output
    assert "fax" not in done.output


def test_a_damaged_file_is_named(some: Lake) -> None:
    path = next((some.settings.home / "lake" / STORE / "events").glob("*1.parquet"))
    path.write_bytes(path.read_bytes()[:-30])
    done = shown(some)
    assert done.exit_code == 1
    assert f"{STORE}/events/{path.name} cannot be read" in done.output


def test_nothing_is_there_before_anything_landed(lake: Lake) -> None:
    assert shown(lake).output == "no row is in quarantine\n"
    assert not lake.settings.home.exists()
