"""Rows of people who were erased do not land again, however and whenever they are delivered; all others do."""

from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner

from flows.audit.audit import audit
from flows.cli import main
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.pseudonyms import Kind
from flows.land.receipt import Status
from flows.land.retry import retry_quarantine
from flows.land.tombstones import Tombstone, Tombstones, list_of
from flows.settings import Settings
from tests.support.contracts import changed_spec
from tests.support.deliveries import ABSENT, event, in_format, ndjson
from tests.support.lake import KEY, Lake
from tests.support.takeouts import account, key_of, seen

UNTIL = datetime(2026, 1, 20)


def erase(lake: Lake, **ids: str) -> None:
    Tombstones(lake.settings).add(Tombstone(Kind(kind), key_of(kind, id_).bytes, UNTIL) for kind, id_ in ids.items())


def numbers(lake: Lake) -> list[int]:
    return [row["_line"] for row in lake.rows()]


@pytest.mark.parametrize("suffix", ["ndjson", "csv", "parquet", "pb", "ndjson.gz"])
def test_rows_of_the_erased_do_not_land_in_any_format(lake: Lake, suffix: str) -> None:
    erase(lake, user="u-anna", device="d-phone")
    rows = [
        seen(1, "d-phone", "u-anna"), seen(2, "d-phone", None), seen(3, "d-tablet", "u-anna"),
        seen(4, "d-phone", "u-bo"), seen(5, "d-bo", "u-bo"), seen(6, "d-nobody", None),
    ]  # fmt: skip
    receipt = lake.land_one(f"web/events/a.{suffix}", in_format(rows, suffix))
    assert (receipt.status, receipt.rows_read, receipt.rows_landed, receipt.rows_removed) == (Status.LANDED, 6, 3, 3)
    assert {row["user_key"] for row in lake.rows()} == {None, key_of("user", "u-bo").bytes}
    assert audit(lake.settings).findings == []


def test_what_happens_later_is_anybodys(lake: Lake) -> None:
    erase(lake, user="u-anna")
    times = ["2026-01-19T23:59:59Z", "2026-01-20T00:00:00Z", "2026-01-20T00:00:01Z"]
    rows = [seen(i, "d-1", "u-anna", occurred_at=at) for i, at in enumerate(times)]
    lake.land_one("web/events/a.ndjson", ndjson(rows))
    assert [row["occurred_at"] for row in lake.rows()] == [datetime(2026, 1, 20, 0, 0, 1)]


def test_a_row_that_names_somebody_else_too_stays_theirs(lake: Lake) -> None:
    erase(lake, account="k-anna")
    old, new = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    rows = [account("k-anna", "u-anna", updated_at=old), account("k-bo", "u-bo", updated_at=old)]
    receipt = lake.land_one("crm/accounts/a.csv", in_format(rows, "csv", "accounts"))
    assert receipt.rows_removed == 0  # the row of k-anna names a user who was not erased
    erase(lake, user="u-anna")
    rows = [account("k-anna", "u-anna", updated_at=old), account("k-anna", "u-anna", updated_at=new)]
    receipt = lake.land_one("crm/accounts/b.csv", in_format(rows, "csv", "accounts"))
    assert (receipt.rows_landed, receipt.rows_removed) == (1, 1)


def test_what_was_quarantined_does_not_land_when_it_is_retried(lake: Lake) -> None:
    specs = load_specs()
    strict = {**specs, "events": changed_spec(specs["events"], "product", accepted_values=("sport",))}
    receipt = lake.land_one("web/events/a.ndjson", ndjson([seen(1, "d-1", "u-anna"), seen(2, "d-2", None)]), strict)
    assert receipt.rows_rejected == 2
    erase(lake, user="u-anna")
    (again,) = retry_quarantine(lake.settings).receipts
    assert (again.rows_read, again.rows_landed, again.rows_removed, again.rows_rejected) == (2, 1, 1, 0)
    assert audit(lake.settings).findings == []


def test_unknown_keys_of_their_rows_are_not_kept(lake: Lake) -> None:
    erase(lake, user="u-anna")
    rows = [seen(1, "d-1", "u-anna", address="Provgatan 1"), seen(2, "d-2", None, address="Provgatan 2")]
    receipt = lake.land_one("web/events/a.ndjson", ndjson(rows))
    assert receipt.unknown_keys == 1
    assert [row["value"] for row in lake.unknown()] == ['"Provgatan 2"']


def test_a_file_of_nobody_else_is_no_file_of_which_nothing_fits(lake: Lake) -> None:
    erase(lake, device="d-1")
    receipt = lake.land_one("web/events/a.ndjson", ndjson([seen(1, "d-1", None), event(2, device_id=ABSENT)]))
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.rows_removed) == (0, 1, 1)
    assert not receipt.has_no_fit
    assert receipt.reason is None


def test_the_list_says_nothing_of_whom_it_is_and_is_for_its_owner_alone(lake: Lake) -> None:
    erase(lake, user="u-anna", device="d-phone")
    erase(lake, user="u-bo")
    text = list_of(lake.settings).read_bytes()
    for kind, id_ in (("user", "u-anna"), ("device", "d-phone"), ("user", "u-bo")):
        key = key_of(kind, id_)
        assert not any(form in text for form in (id_.encode(), key.bytes, str(key).encode(), key.hex.encode()))
    assert list_of(lake.settings).stat().st_mode & 0o077 == 0
    assert len(Tombstones(lake.settings)) == 3


def test_the_later_moment_counts(lake: Lake) -> None:
    key = key_of("user", "u-anna").bytes
    for until in (datetime(2026, 1, 20), datetime(2026, 3, 1), datetime(2026, 2, 1)):
        Tombstones(lake.settings).add([Tombstone(Kind.USER, key, until)])
    lake.land_one("web/events/a.ndjson", ndjson([seen(1, "d-1", "u-anna", occurred_at="2026-02-15T12:00:00Z")]))
    assert lake.rows() == []


def test_another_master_key_or_a_damaged_list_lands_nothing(lake: Lake, tmp_path: Path) -> None:
    erase(lake, user="u-anna")
    lake.deliver("web/events/a.ndjson", ndjson([seen(1, "d-1", "u-anna")]))
    other = Settings(home=lake.settings.home, settle_seconds=0, master_key=f"another secret {uuid4()}")
    with pytest.raises(TidemarkError, match="people who were erased would land again"):
        Tombstones(other)
    list_of(lake.settings).write_text('{"master_key_check": "x"}\n{"of"')
    with pytest.raises(TidemarkError, match="is damaged"):
        lake.land()
    assert not [*lake.settings.landed.glob("events/batch-*")]


def test_landing_says_how_many_rows_did_not_land(lake: Lake) -> None:
    erase(lake, user="u-anna")
    lake.deliver("web/events/a.ndjson", ndjson([seen(1, "d-1", "u-anna"), seen(2, "d-1", "u-anna"), event(3)]))
    env = {"TIDEMARK_HOME": str(lake.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY, "TIDEMARK_SETTLE_SECONDS": "0"}
    done = CliRunner(env=env).invoke(main, ["land"])
    assert done.exit_code == 0, done.output
    assert "1 row, 2 of people who were erased" in done.output
    assert "2 rows of people who were erased" in " ".join(done.output.split())
