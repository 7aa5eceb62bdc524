"""Of a truncated field a coarser value lands, the same whatever the format, and nothing else of it anywhere."""

from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.build.landings import enter_landings
from flows.contract.spec import DatasetSpec, Treatment, Truncate, Truncation, load_specs
from flows.errors import TidemarkError
from flows.land.compact import compact
from flows.land.derived import truncated
from flows.land.layout import read_layout
from flows.land.repartition import repartition
from flows.land.retry import retry_quarantine
from tests.support.contracts import changed_spec
from tests.support.deliveries import field_of, in_format, ndjson, small_spec
from tests.support.lake import Lake

ACCOUNTS = load_specs()["accounts"]
STREET = "Hemliga gränden 17"
BORN = "1984-02-29"


def account(number: int, **more: Any) -> dict[str, Any]:
    return {
        "account_id": f"k-{number}", "user_id": f"u-{number}", "updated_at": "2026-01-15T20:15:04Z",
        "birth_date": BORN, "address": f"{STREET}, 123 45 Provköping, Sverige",
    } | more  # fmt: skip


def with_clear() -> dict[str, DatasetSpec]:
    """The contract as it was when accounts landed to the day, and an address as it was sent."""
    clear: dict[str, Any] = {"treatment": Treatment.KEEP, "truncate": None}
    return load_specs() | {"accounts": changed_spec(changed_spec(ACCOUNTS, "birth_date", **clear), "address", **clear)}


def said_anywhere(lake: Lake) -> list[str]:
    """The files outside of the inbox that say the street or the day of birth, in bytes or in values."""
    found = []
    for path in lake.settings.home.rglob("*"):
        if not path.is_file() or lake.settings.inbox in path.parents:
            continue
        said = path.read_bytes()
        if path.suffix == ".parquet" and "quarantine" not in path.parts:
            file = pq.ParquetFile(path)
            said += repr((file.read().to_pylist(), file.metadata.metadata)).encode()
        if any(word.encode() in said for word in (STREET, BORN, repr(date.fromisoformat(BORN)))):
            found.append(str(path))
    return found


@pytest.mark.parametrize(
    ("day", "year"),
    [
        (date(1984, 2, 29), 1984), (date(2000, 2, 29), 2000), (date(1999, 12, 31), 1999), (date(2000, 1, 1), 2000),
        (date(1900, 1, 1), 1900), (date(2099, 12, 31), 2099), (date(1969, 12, 31), 1969), (None, None),
    ],
)  # fmt: skip
def test_a_date_becomes_its_year(day: date | None, year: int | None) -> None:
    made = truncated(pa.array([day], pa.date32()), Truncation.YEAR)
    assert (made.to_pylist(), made.type) == ([year], pa.int32())


def test_addresses_become_countries_however_they_are_held() -> None:
    addresses = [f"{STREET}, Sverige", None, STREET, "", f"{STREET}, Norge", f"{STREET}, Sverige"]
    plain = pa.array(addresses, pa.string())
    for held in (plain, plain.dictionary_encode(), pa.chunked_array([plain[:2], plain[2:]])):
        made = truncated(held, Truncation.COUNTRY)
        assert made.to_pylist() == ["SE", None, None, None, "NO", "SE"]
        assert not {*filter(None, made.dictionary.to_pylist())} - {"SE", "NO"}


@pytest.mark.parametrize("suffix", ["ndjson", "csv", "parquet", "pb"])
@pytest.mark.parametrize("many", [1, 300], ids=["few", "many"])
def test_year_and_country_land_and_nothing_else_of_them(lake: Lake, suffix: str, many: int) -> None:
    rows = [
        account(1), account(2, birth_date=None, address=None), account(3, address=f"{STREET}, 123 45 Provköping"),
        account(4, birth_date="1984-02-30"), account(5, birth_date="long ago"), account(6, birth_date="1850-01-01"),
        account(7, address=f"{STREET}\n123 45 Provköping\nNorway"),
    ]  # fmt: skip
    receipt = lake.land_one(f"crm/accounts/part.{suffix}", in_format(rows * many, suffix, "accounts"))
    assert (receipt.rows_landed, receipt.rows_rejected) == (4 * many, 3 * many)
    landed = lake.rows("accounts")
    assert [(row["birth_year"], row["country"]) for row in landed[:4]] == [
        (1984, "SE"), (None, None), (1984, None), (1984, "NO")
    ]  # fmt: skip
    assert len({(row["account_key"], row["birth_year"], row["country"]) for row in landed}) == 4
    assert not {"birth_date", "address"} & {*landed[0]}
    assert [(row["reason"], row["field"]) for row in lake.rejects("accounts")[:3]] == [
        ("wrong_type", "birth_date"), ("wrong_type", "birth_date"), ("out_of_range", "birth_date")
    ]  # fmt: skip
    assert said_anywhere(lake) == []
    lake.assert_whole()


@pytest.mark.parametrize("address", [5, True, {"street": STREET}, [STREET]], ids=str)
def test_an_address_that_is_no_text_is_rejected(lake: Lake, address: Any) -> None:
    receipt = lake.land_one("crm/accounts/part.ndjson", ndjson([account(1, address=address), account(2)]))
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 1)
    assert [(row["reason"], row["field"]) for row in lake.rejects("accounts")] == [("wrong_type", "address")]
    assert said_anywhere(lake) == []


def test_a_rejected_row_lands_truncated_when_it_fits(lake: Lake) -> None:
    strict = load_specs() | {"accounts": changed_spec(ACCOUNTS, "address", required=True)}
    lake.land_one("crm/accounts/part.csv", in_format([account(1, address="")], "csv", "accounts"), strict)
    (receipt,) = retry_quarantine(lake.settings).receipts
    assert receipt.rows_landed == 1
    (row,) = lake.rows("accounts")
    assert (row["birth_year"], row["country"]) == (1984, None)
    assert said_anywhere(lake) == []


def test_a_lake_that_landed_them_in_clear_is_refused_and_truncated_by_one_command(lake: Lake) -> None:
    before = with_clear()
    for number in range(2):
        rows = [account(number), account(number + 10, birth_date=None, address=STREET)]
        lake.land_one(f"crm/accounts/part-{number}.csv", in_format(rows, "csv", "accounts"), before)
    assert lake.rows("accounts")[0]["birth_date"] == date(1984, 2, 29)
    assert len(said_anywhere(lake)) >= 2
    lake.deliver("crm/accounts/later.ndjson", ndjson([account(9)]))
    lake.settings.warehouse.parent.mkdir(parents=True)
    words = r"holds accounts\.address in clear.*the contract wants it truncated; run `tidemark repartition`"
    for refused in (lake.land, lambda: enter_landings(lake.settings), lambda: compact(lake.settings)):
        with pytest.raises(TidemarkError, match=words):
            refused()
    receipts = lake.receipts()
    done = repartition(lake.settings)
    assert done is not None
    assert (done.batches, done.rows) == (2, 4)
    assert [(row["birth_year"], row["country"]) for row in lake.rows("accounts")] == [(1984, "SE"), (None, None)] * 2
    assert not {"birth_date", "address"} & {*lake.rows("accounts")[0]}
    assert said_anywhere(lake) == []
    assert [r.rows_landed for r in lake.receipts()] == [r.rows_landed for r in receipts]
    assert repartition(lake.settings) is None
    assert [r.rows_landed for r in lake.land().receipts] == [1]
    assert lake.rows("accounts")[-1]["country"] == "SE"
    lake.assert_whole()


def test_a_lake_that_never_landed_them_needs_nothing(lake: Lake) -> None:
    without = ACCOUNTS.model_copy(update={"fields": tuple(f for f in ACCOUNTS.fields if not f.truncate)})
    row = {"account_id": "k-1", "user_id": "u-1", "updated_at": "2026-01-15T20:15:04Z"}
    lake.land_one("crm/accounts/a.ndjson", ndjson([row]), load_specs() | {"accounts": without})
    assert read_layout(lake.settings.landed).truncated == {}  # type: ignore[union-attr]
    lake.land_one("crm/accounts/b.ndjson", ndjson([account(2)]))
    assert read_layout(lake.settings.landed).truncated == {"accounts": ("address", "birth_date")}  # type: ignore[union-attr]
    assert repartition(lake.settings) is None


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_dataset_laid_out_by_day_is_truncated_in_every_file(lake: Lake, is_compacted: bool) -> None:
    fields = [field_of("id", required=True), field_of("at", "timestamp", required=True)]
    country = Truncate(to=Truncation.COUNTRY, column="country", description="The country.")
    clear = small_spec([*fields, field_of("place")], day_of="at")
    coarse = small_spec([*fields, field_of("place", treatment="truncate", truncate=country)], day_of="at")
    for number in range(3):
        rows = [{"id": f"{number}-{day}", "at": f"2026-01-{day:02}T12:00:00Z", "place": f"{STREET}, Sverige"}
                for day in (1, 2)]  # fmt: skip
        lake.land_one(f"x/things/{number}.ndjson", ndjson(rows), clear)
    if is_compacted:
        compact(lake.settings, clear)
    assert said_anywhere(lake)
    assert repartition(lake.settings, coarse) is not None
    assert {(row["country"], "place" in row) for row in lake.rows("things")} == {("SE", False)}
    assert len(lake.rows("things")) == 6
    assert said_anywhere(lake) == []
    lake.assert_whole()
