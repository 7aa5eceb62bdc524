"""Who is erased, and the earlier pseudonyms of a key that was changed, are at the object store no more either."""

import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flows.build.project import Project
from flows.cli import main
from flows.errors import TidemarkError
from flows.land.compact import compact
from flows.land.pseudonyms import Kind
from flows.land.rotation import Stage, read_rotations
from flows.land.send import send_landed
from flows.land.sent import zone_record_path
from flows.privacy.erase import erase
from flows.privacy.identity import Given
from flows.privacy.requests import Queue
from flows.settings import Settings
from tests.support.deliveries import in_format, ndjson
from tests.support.erased import places_of
from tests.support.lake import KEY, Lake
from tests.support.object_store import ObjectStore, refusal, served_object_store
from tests.support.rotations import NEXT_KEY, begin, finish, later_key_of
from tests.support.takeouts import account, key_of, seen

ANNA = ("user:u-anna", "account:k-anna", "account:k-anna-2", "device:d-phone")


@pytest.fixture(autouse=True)
def _parsed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.privacy.erase.read_project", lambda settings: project)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with served_object_store() as served:
        for name, value in served.variables.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def lake(store: ObjectStore, tmp_path: Path) -> Lake:
    """A lake that is sent to the store, and gets both keys from the environment."""
    return Lake(tmp_path / "home", landed_url=f"{store.url}/lake", pseudonym_key_next=NEXT_KEY)


def places_there(store: ObjectStore, folder: Path, keys: set[UUID], ids: set[bytes]) -> list[str]:
    """The objects in which any of these stands: in bytes, or in a value of a Parquet file."""
    for key, data in store.objects().items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return places_of(Settings(home=folder), keys, ids)


def places_of_anna(store: ObjectStore, folder: Path) -> list[str]:
    keys = {key_of(*one.split(":")) for one in ANNA}
    return places_there(store, folder, keys, {b"u-anna", b"k-anna", b"d-phone"})


def ask(lake: Lake) -> None:
    Queue(lake.settings).receive([(Given(Kind("user"), "u-anna"),)], False)


@pytest.mark.parametrize("is_compacted", [False, True], ids=["as it landed", "compacted"])
def test_who_is_erased_is_in_no_object(is_compacted: bool, peopled: Lake, store: ObjectStore, tmp_path: Path) -> None:
    peopled.land_one("web/events/odd.ndjson", ndjson([seen(90, "d-phone", "u-anna", platform="a toaster")]))
    if is_compacted:
        compact(peopled.settings)
    assert send_landed(peopled.settings) is None
    there = places_of_anna(store, tmp_path / "before")
    assert any("/events/" in place for place in there) and any("/accounts/" in place for place in there)
    ask(peopled)
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
    with pytest.raises(TidemarkError, match="SlowDown"):
        erase(peopled.settings)
    assert [request.is_open for request in Queue(peopled.settings).all()] == [True]
    store.heal()
    assert places_of_anna(store, tmp_path / "meanwhile")
    (done,) = erase(peopled.settings)
    assert not done.is_open
    assert places_of_anna(store, tmp_path / "after") == []
    # Everybody else is there still.
    assert places_there(store, tmp_path / "others", {key_of("user", "u-bo"), key_of("device", "d-cilla")}, set())


def test_an_erasure_is_not_done_where_what_was_sent_is_out_of_reach(
    peopled: Lake, store: ObjectStore, tmp_path: Path
) -> None:
    assert send_landed(peopled.settings) is None
    ask(peopled)
    for wrong, said in (
        (None, "TIDEMARK_LANDED_URL is not set"),
        (f"{store.url}/other", "TIDEMARK_LANDED_URL is s3://"),
    ):
        with pytest.raises(TidemarkError, match=said):
            erase(peopled.settings.model_copy(update={"landed_url": wrong}))
        assert [request.is_open for request in Queue(peopled.settings).all()] == [True]
    (done,) = erase(peopled.settings)
    assert not done.is_open and places_of_anna(store, tmp_path / "after") == []


def test_where_all_of_it_was_deleted_there_an_erasure_goes_on(peopled: Lake, store: ObjectStore) -> None:
    assert send_landed(peopled.settings) is None
    for key in store.objects():
        store.delete(key)
    zone_record_path(peopled.settings).unlink()
    ask(peopled)
    (done,) = erase(peopled.settings.model_copy(update={"landed_url": None}))
    assert not done.is_open and store.objects() == {}


def test_expire_has_rows_gone_there_or_fails(peopled: Lake, store: ObjectStore) -> None:
    settings = peopled.settings
    assert send_landed(settings) is None
    variables = {"TIDEMARK_HOME": str(settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY, "COLUMNS": "300"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flows.privacy.retention.last_day_to_end", lambda days, today: date(2026, 1, 3))
        said = CliRunner().invoke(main, ["expire"], env=variables)
    assert said.exit_code == 1 and "TIDEMARK_LANDED_URL is not set" in said.output, said.output
    assert any("event_date=2026-01-03" in key for key in store.objects())
    said = CliRunner().invoke(main, ["expire"], env=variables | {"TIDEMARK_LANDED_URL": settings.landed_url or ""})
    assert said.exit_code == 0, said.output
    assert not [key for key in store.objects() if "event_date=2026-01-03" in key]
    assert any("event_date=2026-01-04" in key for key in store.objects())


def test_the_earlier_pseudonyms_are_gone_there_before_the_key_is_destroyed(
    lake: Lake, store: ObjectStore, tmp_path: Path
) -> None:
    begun = date(2026, 1, 3)
    lake.land_one("crm/accounts/a.csv", in_format([account("k-anna", "u-anna")], "csv", "accounts"))
    lake.land_one("web/events/a.ndjson", ndjson([seen(1, "d-anna", "u-anna", occurred_at="2026-01-05T12:00:00Z")]))
    rotation = begin(lake.settings, begun)
    lake.land_one("web/events/b.ndjson", ndjson([seen(2, "d-anna", "u-anna", occurred_at="2026-01-06T12:00:00Z")]))
    lake.land_one("crm/accounts/b.csv", in_format([account("k-anna", "u-anna")], "csv", "accounts"))
    assert send_landed(lake.settings) is None
    keys = {key_of("user", "u-anna"), key_of("device", "d-anna"), key_of("account", "k-anna")}
    assert places_there(store, tmp_path / "before", keys, set())
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
    with pytest.raises(TidemarkError, match="SlowDown"):
        finish(lake.settings, rotation)
    last = read_rotations(lake.settings).last
    assert last and last.stage is Stage.FINISHING
    store.heal()
    finish(lake.settings, rotation)
    assert places_there(store, tmp_path / "after", keys, set()) == []
    assert send_landed(lake.settings) is None
    assert b'"stage":"finished"' in store.objects()["lake/landed/current.json"]
    assert places_there(store, tmp_path / "later", {later_key_of("user", "u-anna")}, set())
    columns = {
        name
        for key, data in store.objects().items()
        if key.endswith(".parquet")
        for name in pq.read_schema(io.BytesIO(data)).names
    }
    assert not [name for name in columns if name.endswith("_next")]
