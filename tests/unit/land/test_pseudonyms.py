"""No direct identifier gets past landing, and the secret that would lead back is in no file but its own."""

import hashlib
import hmac
import stat
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.keys import key_check, load_key
from flows.land.pseudonyms import Pseudonymiser, matches
from flows.settings import Settings
from tests.support.deliveries import csv_of, event, in_format, ndjson
from tests.support.lake import KEY, Lake
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER

SECRETS = {
    "device_id": "d-very-secret-device", "user_id": "u-very-secret-person", "ip_address": "203.0.113.77",
    "user_agent": "Mozilla/5.0 (very secret telephone)",
}  # fmt: skip
ACCOUNT = {
    "account_id": "a-very-secret-account", "user_id": SECRETS["user_id"], "email": "anna.svensson@example.org",
    "phone": "+46 70 123 45 67", "full_name": "Anna Svensson", "birth_date": "1990-02-28",
    "address": "Secret Street 12, 111 22 Stockholm, Sverige", "created_at": "2020-01-01T00:00:00Z",
    "updated_at": "2026-01-15T20:15:04Z",
}  # fmt: skip
QUERY = "what my very secret illness is"


def all_bytes_of(folder: Path) -> bytes:
    """Everything in the files below a folder: their bytes, and the values and metadata of Parquet."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            found += [str(path).encode(), path.read_bytes()]
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            found += [repr(table.to_pylist()).encode(), repr(table.schema.metadata).encode()]
            for row in table.to_pylist():
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row.values()]
    return b"\n".join(found)


@pytest.mark.parametrize("suffix", ["ndjson", "pb", "parquet", "csv"])
def test_no_identifier_is_left_in_what_landed(lake: Lake, suffix: str) -> None:
    rows = [event(1, **SECRETS), event(2, payload="search", body={"query": QUERY, "results_count": 1}, **SECRETS)]
    lake.land_one(f"web/events/part.{suffix}", in_format(rows, suffix))
    lake.land_one("crm/accounts/part.csv", csv_of([ACCOUNT], load_specs()["accounts"]))
    lake.land_one("crm/accounts/part.ndjson", ndjson([ACCOUNT]))
    assert len(lake.rows()) == len(lake.rows("accounts")) == 2
    left = all_bytes_of(lake.settings.landed)
    for secret in [*SECRETS.values(), *ACCOUNT.values(), QUERY, KEY]:
        if secret not in (ACCOUNT["created_at"], ACCOUNT["updated_at"]):
            assert secret.encode() not in left
            assert hashlib.sha256(secret.encode()).digest() not in left


@pytest.mark.parametrize(
    "text", ["anna.svensson@example.org,Anna Svensson,x", "a,anna.svensson@example.org,Anna Svensson"]
)
@pytest.mark.parametrize("twice", [False, True])
def test_a_table_without_its_header_leaks_nothing_into_receipts(lake: Lake, text: str, twice: bool) -> None:
    data = text + ("," + text if twice else "") + "\n"
    receipt = lake.land_one("crm/accounts/part.csv", data.encode())
    lake.assert_nothing_landed(receipt)
    left = all_bytes_of(lake.settings.landed)
    assert b"svensson" not in left.lower()


def test_rejected_rows_leave_their_values_in_quarantine_only(lake: Lake) -> None:
    fax = event(1, platform="fax", **SECRETS)
    lake.deliver("web/events/part.ndjson", ndjson([fax, event(2, **SECRETS, anna="anna's very secret note")]))
    done = lake.land()
    files = [
        path.read_bytes() for path in lake.settings.home.rglob("*") if path.is_file() and "inbox" not in path.parts
    ]
    left = b"\n".join([*files, all_bytes_of(lake.settings.landed), repr(done.examples).encode()])
    assert all(secret.encode() not in left for secret in [*SECRETS.values(), "anna's very secret note"])
    assert SECRETS["ip_address"].encode() in lake.rejects()[0]["raw"]
    assert lake.unknown()[0]["value"] == '"anna\'s very secret note"'
    for path in [lake.settings.quarantine, *lake.settings.quarantine.rglob("*")]:
        assert not path.stat().st_mode & 0o077


def test_one_person_has_one_key_in_every_dataset_and_batch(lake: Lake) -> None:
    lake.land_one("web/events/a.ndjson", ndjson([event(1, **SECRETS), event(2)]))
    lake.land_one("web/events/b.pb", in_format([event(3, **SECRETS)], "pb"))
    lake.land_one("crm/accounts/part.csv", csv_of([ACCOUNT], load_specs()["accounts"]))
    first, other, third = (row["user_key"] for row in lake.rows())
    assert first == third == lake.rows("accounts")[0]["user_key"]
    assert first != other
    assert lake.rows()[0]["device_key"] != first


def test_a_pseudonym_is_the_documented_hash_and_a_uuid_of_version_8() -> None:
    made = Pseudonymiser(KEY.encode()).one("user_key", "u-1")
    digest = hmac.digest(KEY.encode(), b"user_key\0u-1", "sha256")[:16]
    uuid = UUID(bytes=made)
    assert (uuid.version, uuid.variant) == (8, "specified in RFC 4122")
    fixed = (0xF << 76) | (0x3 << 62)
    assert uuid.int & ~fixed == UUID(bytes=digest).int & ~fixed


def test_pseudonyms_differ_by_column_value_and_secret() -> None:
    one, two = Pseudonymiser(KEY.encode()), Pseudonymiser(KEY.encode() + b"!")
    values = {one.one("user_key", "a"), one.one("device_key", "a"), one.one("user_key", "b"), two.one("user_key", "a")}
    assert len(values) == 4


def test_columns_of_pseudonyms_keep_order_nulls_and_empty_chunks() -> None:
    p = Pseudonymiser(KEY.encode())
    chunks = pa.chunked_array([pa.array(["a", None, "b"]), pa.array([], pa.string()), pa.array(["b", "a"])])
    made = p.column("user_key", chunks).to_pylist()
    assert made == [p.one("user_key", v) if v else None for v in chunks.to_pylist()]
    assert p.column("user_key", pa.chunked_array([], pa.string())).to_pylist() == []
    assert p.column("user_key", pa.chunked_array([pa.nulls(2, pa.string())])).to_pylist() == [None, None]


def test_forgetting_remembered_values_changes_no_pseudonym(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.land.pseudonyms.REMEMBERED_VALUES", 2)
    p = Pseudonymiser(KEY.encode())
    values = pa.chunked_array([[str(i % 7) for i in range(50)]])
    assert p.column("k", values).to_pylist() == p.column("k", values).to_pylist()


def test_a_flag_ignores_case_and_reads_null_as_no() -> None:
    values = pa.chunked_array([["GoogleBOT/2", None, "person"], []], pa.string())
    assert matches(values, r"bot\b").to_pylist() == [True, False, False]


# --- the secret ------------------------------------------------------------------------------------------------------


def test_the_secret_is_made_once_in_a_file_of_its_owner(tmp_path: Path) -> None:
    lake = Lake(tmp_path, pseudonym_key=None)
    lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    path = lake.settings.key_file("pseudonym")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    secret = path.read_bytes().strip()
    assert len(secret) >= 32
    lake.land_one("web/events/b.ndjson", ndjson([event(2)]))
    assert path.read_bytes().strip() == secret
    assert len({row["device_key"] for row in lake.rows()}) == 1
    others = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert not [p for p in others if secret in p.read_bytes()]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_secret_from_the_environment_is_in_no_file(lake: Lake) -> None:
    lake.land_one("web/events/a.ndjson", ndjson([event(1), event(2, platform="fax")]))
    assert not [p for p in lake.settings.home.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]
    assert not lake.settings.key_file("pseudonym").exists()
    assert KEY not in repr(lake.settings)


def test_a_short_secret_is_an_error_that_does_not_repeat_it(tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="too short") as error:
        load_key(Settings(home=tmp_path, pseudonym_key="hunter2"), "pseudonym", must_exist=False)  # type: ignore[arg-type]
    assert "hunter2" not in str(error.value)


def test_a_missing_secret_is_an_error_once_batches_have_landed(tmp_path: Path) -> None:
    lake = Lake(tmp_path, pseudonym_key=None)
    lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    lake.settings.key_file("pseudonym").unlink()
    lake.deliver("web/events/b.ndjson", ndjson([event(2)]))
    with pytest.raises(TidemarkError, match="restore it"):
        lake.land()
    assert not lake.settings.key_file("pseudonym").exists()
    assert len(lake.rows()) == 1
    lake.assert_whole()


def test_a_truncated_secret_is_an_error(tmp_path: Path) -> None:
    lake = Lake(tmp_path, pseudonym_key=None)
    lake.settings.key_file("pseudonym").parent.mkdir(parents=True)
    lake.settings.key_file("pseudonym").write_bytes(b"abc\n")
    lake.settings.key_file("pseudonym").chmod(0o600)
    lake.deliver("web/events/b.ndjson", ndjson([event(2)]))
    with pytest.raises(TidemarkError, match="damaged"):
        lake.land()
    lake.assert_whole()


@pytest.mark.parametrize("forget_index", [False, True])
def test_another_secret_is_an_error_that_says_what_to_do(lake: Lake, forget_index: bool) -> None:
    lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    if forget_index:
        (lake.settings.landed / "index.sqlite").unlink()
    other = Lake(lake.settings.home, pseudonym_key=KEY + " changed")
    other.deliver("web/events/b.ndjson", ndjson([event(2)]))
    with pytest.raises(TidemarkError, match=r"restore the earlier .*pseudonym.key or TIDEMARK_PSEUDONYM_KEY") as error:
        other.land()
    assert KEY not in str(error.value)
    assert len(lake.rows()) == 1
    lake.assert_whole()
    assert [r.rows_landed for r in lake.land().receipts] == [1]


def test_the_check_value_tells_secrets_apart_and_is_kept_with_each_batch(lake: Lake) -> None:
    receipt = lake.land_one("web/events/a.ndjson", ndjson([event(1)]))
    assert receipt.key_check == key_check(KEY.encode()) != key_check(KEY.encode() + b"!")


def _make(home: Path, gate: Any, found: Any) -> None:
    gate.wait()
    found.put(load_key(Settings(home=home, pseudonym_key=None), "pseudonym", must_exist=False))


def test_a_secret_made_by_several_processes_at_once_is_one(tmp_path: Path) -> None:
    gate, found = FORKSERVER.Barrier(4), FORKSERVER.Queue()
    makers = [FORKSERVER.Process(target=_make, args=(tmp_path, gate, found)) for _ in range(4)]
    for maker in makers:
        maker.start()
    keys = {found.get(timeout=PATIENCE_SECONDS) for _ in makers}
    for maker in makers:
        maker.join()
    assert len(keys) == 1
    assert [p.name for p in (tmp_path / "secrets").iterdir()] == ["pseudonym.key"]
