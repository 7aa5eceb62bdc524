"""What is encrypted for a day can be read with its key alone, and by nobody once that is destroyed."""

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.errors import TidemarkError
from flows.land.day_keys import DayKeys, DestroyedKeyError, name_of
from flows.settings import Settings

DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)
MASTER = "a master key of the tests, long enough to be taken"
SAID = "call me back on 07700 900123"
ROWS = pa.table({"_line": [1, 2], "text": [SAID, None]})


def of(home: Path, master: str = MASTER) -> DayKeys:
    return DayKeys(Settings(home=home, master_key=master))  # type: ignore[arg-type]


def write(path: Path, keys: DayKeys, day: date = DAY, dataset: str = "calls", store: str = "text") -> Path:
    encryption = keys.to_write(store, dataset, day, ["text"])
    with pq.ParquetWriter(path, ROWS.schema, encryption_properties=encryption) as writer:
        writer.write_table(ROWS)
    return path


def read(path: Path, keys: DayKeys) -> list[dict[str, Any]]:
    return pq.ParquetFile(path, decryption_properties=keys.to_read()).read().to_pylist()  # type: ignore[no-any-return]


def test_what_is_encrypted_is_read_again_with_the_key_and_is_not_in_the_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", of(tmp_path))
    assert read(path, of(tmp_path)) == ROWS.to_pylist()
    assert SAID.encode() not in path.read_bytes()
    (wrapped,) = tmp_path.rglob("*.json")
    assert wrapped.relative_to(tmp_path) == Path("lake/keys/text/calls/2026-03-01.json")
    assert wrapped.stat().st_mode & 0o777 == 0o600
    assert (wrapped.parent.stat().st_mode & 0o777) == 0o700


def test_without_a_key_sql_reads_the_other_columns_and_counts_and_no_more(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", of(tmp_path))
    assert duckdb.sql(f"select _line from '{path}'").fetchall() == [(1,), (2,)]
    assert pq.read_metadata(path).num_rows == 2
    with pytest.raises(duckdb.Error):
        duckdb.sql(f"select text from '{path}'").fetchall()
    with pytest.raises(OSError, match="decrypt"):
        pq.read_table(path)


def test_a_day_has_a_key_of_its_own_and_ends_with_it(tmp_path: Path) -> None:
    keys = of(tmp_path)
    gone, kept = write(tmp_path / "a.parquet", keys), write(tmp_path / "b.parquet", keys, NEXT)
    other = write(tmp_path / "c.parquet", keys, store="quarantine")
    found = {
        keys.key(name) for name in ("text/calls/2026-03-01", "text/calls/2026-03-02", "quarantine/calls/2026-03-01")
    }
    assert len(found) == 3
    assert sorted(keys.days("text", "calls")) == [DAY, NEXT]
    keys.destroy("text", "calls", DAY)
    assert [*keys.days("text", "calls")] == [NEXT]
    assert keys.is_destroyed("text", "calls", DAY)
    for reader in (keys, of(tmp_path)):
        with pytest.raises(DestroyedKeyError, match="cannot be read any more"):
            read(gone, reader)
        assert read(kept, reader) == read(other, reader) == ROWS.to_pylist()
    keys.destroy("text", "calls", DAY)  # twice is once
    for writer in (keys, of(tmp_path)):
        with pytest.raises(DestroyedKeyError):
            writer.to_write("text", "calls", DAY, ["text"])


def test_a_key_that_is_missing_was_not_destroyed_and_is_a_loss(tmp_path: Path) -> None:
    keys = of(tmp_path)
    path = write(tmp_path / "a.parquet", keys)
    (wrapped,) = tmp_path.rglob("*.json")
    assert keys.fault("text", "calls", DAY) is None
    wrapped.unlink()
    assert str(wrapped) in str(keys.fault("text", "calls", DAY))
    with pytest.raises(TidemarkError, match="is missing; restore it") as error:
        read(path, of(tmp_path))
    assert not isinstance(error.value, DestroyedKeyError)
    # One that kept it in memory makes another, and does not go on with the one that is lost.
    again = write(tmp_path / "b.parquet", keys)
    assert read(again, of(tmp_path)) == ROWS.to_pylist()


def test_a_file_of_another_day_is_not_taken_for_one_of_this(tmp_path: Path) -> None:
    keys = of(tmp_path)
    path = write(tmp_path / "a.parquet", keys)
    name = name_of("text", "calls", NEXT)
    with pytest.raises(TidemarkError, match="stands where one of text/calls/2026-03-02 should"):
        pq.ParquetFile(path, decryption_properties=keys.to_read(name)).read()


def test_another_master_key_is_an_error_that_says_which_was_expected(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", of(tmp_path))
    with pytest.raises(TidemarkError, match=r"not the one that wrapped .*restore the earlier .*TIDEMARK_MASTER_KEY"):
        read(path, of(tmp_path, MASTER + "!"))
    # Nor may it make the key of another day.
    with pytest.raises(TidemarkError, match="not the one that wrapped"):
        write(tmp_path / "b.parquet", of(tmp_path, MASTER + "!"), NEXT)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"key": "AAAA", "master_key_check": "x"}', b"[]", b"\xff"])
def test_a_damaged_key_is_an_error_that_names_its_file(tmp_path: Path, damage: bytes) -> None:
    path = write(tmp_path / "a.parquet", of(tmp_path))
    (wrapped,) = tmp_path.rglob("*.json")
    wrapped.write_bytes(damage)
    with pytest.raises(TidemarkError, match=r"2026-03-01.json"):
        read(path, of(tmp_path))


def test_encrypted_text_whose_bytes_changed_is_never_read_as_another(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", of(tmp_path))
    data = path.read_bytes()
    refused = 0
    for at in range(4, len(data) - 8, 5):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            texts = pq.ParquetFile(path, decryption_properties=of(tmp_path).to_read()).read(["text"])["text"]
        except (OSError, TidemarkError, pa.ArrowException, ValueError, KeyError):
            refused += 1
        else:
            assert texts.to_pylist() == [SAID, None]
    assert refused > 10


def test_the_master_key_may_not_be_missing_once_a_day_has_a_key(tmp_path: Path) -> None:
    unset = Settings(home=tmp_path, master_key=None)
    path = write(tmp_path / "a.parquet", DayKeys(unset))
    assert read(path, DayKeys(unset)) == ROWS.to_pylist()
    unset.key_file("master").unlink()
    with pytest.raises(TidemarkError, match="nothing that was encrypted before could be read"):
        read(path, DayKeys(unset))
    assert not unset.key_file("master").exists()
