"""All that is held of a person is in their takeout, and nothing of anybody else."""

import copy
import os
import random
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flows.build.project import Project
from flows.build.warehouse import open_warehouse, warehouse_held
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.compact import compact
from flows.land.pseudonyms import Kind
from flows.privacy import takeout
from flows.privacy.holdings import Count, count_warehouse, modelled
from flows.privacy.identity import Given, Person
from flows.privacy.takeout import export_person
from tests.support.deliveries import in_format, ndjson
from tests.support.lake import KEY, Lake
from tests.support.takeouts import Export, account, consent, document, key_of, places, seen, sheet

PEOPLE = (
    "u-anna",
    "u-bo",
    "u-cilla",
    "k-anna",
    "k-anna-2",
    "k-bo",
    "k-cilla",
    "d-phone",
    "d-tablet",
    "d-cilla",
    "d-nobody",
)


def rows_with(lake: Lake, dataset: str, **keys: UUID | None) -> set[tuple[int, int]]:
    """The landed rows that hold these keys, by looking at each."""
    wanted = {column: key and key.bytes for column, key in keys.items()}
    return places(row for row in lake.rows(dataset) if all(row[column] == key for column, key in wanted.items()))


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


ANNA = {"user_key": key_of("user", "u-anna")}


@pytest.mark.parametrize("ids", [{"account": "k-anna"}, {"account": "k-anna-2"}, {"user": "u-anna"}], ids=str)
def test_every_row_of_the_person_is_there_and_no_other(peopled: Lake, export: Export, ids: dict[str, str]) -> None:
    done, folder = export(**ids)
    events = sheet(folder, "events")
    assert places(events) == rows_with(peopled, "events", **ANNA)
    assert len(events) == 12  # of four files, each with two events and a copy
    by_device = sheet(folder, "events_by_device")
    assert places(by_device) == rows_with(peopled, "events", device_key=key_of("device", "d-phone"), user_key=None)
    assert len(by_device) == 8
    nobody_on_tablet = rows_with(peopled, "events", device_key=key_of("device", "d-tablet"), user_key=None)
    assert done.landed["events"] == Count(12, 8, len(nobody_on_tablet))
    accounts = rows_with(peopled, "accounts", **ANNA)
    cillas_by_mistake = rows_with(peopled, "accounts", **ANNA, account_key=key_of("account", "k-cilla"))
    assert places(sheet(folder, "accounts")) == accounts - cillas_by_mistake
    assert done.landed["accounts"].withheld == len(cillas_by_mistake) == 1


def test_json_and_csv_say_the_same(export: Export) -> None:
    _, folder = export(user="u-anna")
    said = document(folder)
    assert {path.stem for path in folder.glob("*.csv")} - {"fields", "mentions"} == {*said["rows"]}
    for name, rows in said["rows"].items():
        as_words = [
            {column: value if isinstance(value, str) else str(value).lower() for column, value in row.items()}
            for row in rows
        ]
        assert [{c: v for c, v in row.items() if v != ""} for row in sheet(folder, name)] == as_words, name
    assert said["rows"]["events"][0]["occurred_at"] == "2026-01-01T12:00:00.000000Z"


def test_rows_that_a_later_delivery_replaced_are_marked(export: Export) -> None:
    _, folder = export(account="k-bo")
    assert [row["_is_superseded"] for row in sheet(folder, "accounts")] == ["true", "false"]


def test_nobody_else_is_in_any_byte(export: Export) -> None:
    _, folder = export(account="k-anna")
    said = every_byte(folder)
    mine = {
        ("user", "u-anna"),
        ("account", "k-anna"),
        ("account", "k-anna-2"),
        ("device", "d-phone"),
        ("device", "d-tablet"),
    }
    kinds = {"u": "user", "k": "account", "d": "device"}
    for id_ in PEOPLE:
        kind = kinds[id_[0]]
        found = str(key_of(kind, id_)).encode() in said
        assert found == ((kind, id_) in mine), id_
    in_clear = [id_ for id_ in PEOPLE if f'"{id_}"'.encode() in said or f",{id_},".encode() in said]
    assert in_clear == ["k-anna"]
    assert KEY.encode() not in said


def test_what_was_on_a_shared_device_is_added_where_asked_for(peopled: Lake, export: Export) -> None:
    done, folder = export(user="u-anna", with_shared=True)
    by_device = places(sheet(folder, "events_by_device"))
    assert by_device >= rows_with(peopled, "events", device_key=key_of("device", "d-tablet"), user_key=None)
    assert done.landed["events"] == Count(12, 12, 0)
    assert str(key_of("user", "u-bo")).encode() not in every_byte(folder)


def test_a_device_alone_gives_what_nobody_did_on_it(peopled: Lake, export: Export) -> None:
    done, folder = export(device="d-phone")
    assert done.landed["events"] == Count(0, 8, 0)
    assert str(key_of("user", "u-anna")).encode() not in every_byte(folder)


def test_compaction_changes_nothing(peopled: Lake, export: Export) -> None:
    before, _ = export(user="u-anna")
    assert compact(peopled.settings).days
    after, folder = export(user="u-anna", to="after")
    assert after.landed == before.landed
    assert places(sheet(folder, "events")) == rows_with(peopled, "events", **ANNA)


def test_an_account_of_which_only_replaced_rows_are_held_is_found(peopled: Lake, export: Export) -> None:
    peopled.land_one("crm/accounts/a.csv", in_format([account("k-bo", "u-bo")], "csv", "accounts"))
    done, folder = export(account="k-cilla")
    # Anna's by mistake in the first delivery, Cilla's in the second; none is in force, and the last counts.
    assert [row["_is_superseded"] for row in sheet(folder, "accounts")] == ["true"]
    assert done.landed["accounts"] == Count(own=1, withheld=1)
    assert done.person.keys[Kind.USER] == {key_of("user", "u-cilla")}


def test_each_table_and_field_is_explained(export: Export) -> None:
    _, folder = export(user="u-anna")
    explained = {(row["table"], row["field"]): row for row in sheet(folder, "fields")}
    for name in ("accounts", "events"):
        with (folder / f"{name}.csv").open() as file:
            columns = file.readline().strip().split(",")
        assert {(name, column) for column in columns} == {key for key in explained if key[0] == name}
    assert all(
        row["meaning"] and row["privacy"] and row["purposes"] and row["retention_days"] for row in explained.values()
    )
    birth = explained["accounts", "birth_year"]
    assert (birth["privacy"], birth["purposes"], birth["retention_days"]) == ("quasi_identifier", "analytics", "400")
    assert (
        explained["events", "has_analytics_consent"]["purposes"] == "advertising analytics operations personalisation"
    )
    said = document(folder)
    assert {table["name"]: table["not_kept"] for table in said["tables"]}["accounts"] == ["email", "phone", "full_name"]
    assert {table["name"]: table["truncated"] for table in said["tables"] if table["truncated"]} == {
        "accounts": {"birth_date": "birth_year", "address": "country"}
    }
    assert [one["name"] for one in said["not_linked"]] == ["adverts", "calls", "contents", "text_topics", "topics"]
    assert said["contract"] == {name: spec.version for name, spec in load_specs().items()}


def test_where_the_id_stands_in_clear_is_named_without_what_else_stands_there(peopled: Lake, export: Export) -> None:
    bad = [seen(900, "d-x", "u-anna", platform="fax"), seen(901, "d-x", "u-annabel", platform="fax")]
    receipt = peopled.land_one("web/events/bad.ndjson", in_format(bad, "ndjson"))
    peopled.land_one("web/events/odd.ndjson", in_format([seen(902, "d-x", "u-x", odd="see u-anna")], "ndjson"))
    peopled.deliver("web/events/broken.csv.gz", b"\x1f\x8bno")
    done, folder = export(user="u-anna")
    found = {(row["store"], row["file"], row["line"], row["batch_id"]) for row in sheet(folder, "mentions")}
    both = {("inbox", ""), ("quarantine", str(receipt.batch_id))}
    assert {
        (store, batch) for store, file, line, batch in found if (file, line) == ("web/events/bad.ndjson", "1")
    } == both
    assert {store for store, file, *_ in found if file == "web/events/odd.ndjson"} == {"inbox", "quarantine"}
    assert not [1 for _, file, line, _ in found if file == "web/events/bad.ndjson" and line == "2"]
    for suffix, first in (("ndjson", 1), ("pb", 1), ("parquet", 1), ("csv.gz", 2)):
        lines = {int(line) for _, file, line, _ in found if file == f"web/events/all.{suffix}"}
        assert lines == {first, first + 2, first + 8}, suffix
    assert [one.file for one in done.unsearched] == ["web/events/broken.csv.gz"]
    assert b"annabel" not in every_byte(folder)


def test_an_id_is_found_however_its_letters_are_spelt(lake: Lake, project: Project, tmp_path: Path) -> None:
    lake.land_one("web/events/a.ndjson", in_format([seen(1, "d", "u-åsa")], "ndjson"))
    lake.land_one("web/events/b.pb", in_format([seen(2, "d", "u-åsa")], "pb"))
    done = export_person(lake.settings, (Given(Kind.USER, "u-åsa"),), tmp_path / "out", project=project)
    assert (done.mentions, done.landed["events"].own) == ({"inbox": 2}, 2)


@pytest.mark.parametrize("seed", range(3))
def test_of_any_lives_each_row_goes_to_whom_it_names(lake: Lake, project: Project, tmp_path: Path, seed: int) -> None:
    """Few people and devices, so that they share much; against the rules as they are written, row by row."""
    life = random.Random(seed)
    users, devices = [f"u-{n}" for n in range(5)], [f"d-{n}" for n in range(7)]
    number = 0
    for part in range(4):
        told: dict[str, Any] = {"consent": ["analytics"], "consent_updated_at": "2026-01-01T00:00:00Z"}
        of = [account(f"k-{life.randrange(8)}", life.choice(users), **told) for _ in range(3)]
        lake.land_one(f"crm/accounts/{part}.ndjson", in_format(of, "ndjson", "accounts"))
        rows = []
        for _ in range(12):
            number += life.random() < 0.8  # else a copy
            device = life.choice(devices)
            user = life.choice([None, users[devices.index(device) % 5], life.choice(users)])
            agreed = life.choice([["analytics"], ["analytics", "advertising"], []])
            at = f"2026-01-{1 + number % 28:02d}T12:00:00Z"
            rows.append(seen(number, device, user, occurred_at=at, consent=agreed))
        suffix = ["ndjson", "pb", "parquet", "csv"][part]
        lake.land_one(f"web/events/{part}.{suffix}", in_format(rows, suffix))
        persons = [{"device_id": life.choice(devices)}, {"user_id": life.choice(users)}]
        persons.append({name: id_ for person in persons for name, id_ in person.items()})
        records = [consent(10 * part + n, **person) for n, person in enumerate(persons)]
        lake.land_one(f"cmp/consents/{part}.ndjson", ndjson(records))
    accounts, events, consents = (lake.rows(dataset) for dataset in ("accounts", "events", "consents"))
    assert {row["stated_in"] for row in consents} == {"accounts", "events", None}
    for user in users:
        key = key_of("user", user).bytes
        done = export_person(lake.settings, (Given(Kind.USER, user),), tmp_path / user, project=project)
        on = {row["device_key"] for row in [*events, *consents] if row["user_key"] == key} - {None}
        shared = {row["device_key"] for row in [*events, *consents] if row["user_key"] not in (None, key)} & on
        expected = {
            "accounts": places(row for row in accounts if row["user_key"] == key),
            "events": places(row for row in events if row["user_key"] == key),
            "events_by_device": places(
                row for row in events if row["user_key"] is None and row["device_key"] in on - shared
            ),
            "consents": places(row for row in consents if row["user_key"] == key),
            "consents_by_device": places(
                row for row in consents if row["user_key"] is None and row["device_key"] in on - shared
            ),
        }
        rows_of = document(tmp_path / user)["rows"] if done.path else {}
        assert {name: places(rows) for name, rows in rows_of.items()} == {
            n: r for n, r in expected.items() if r or n in rows_of
        }
        said = every_byte(tmp_path / user) if done.path else b""
        assert not [other for other in users if other != user and str(key_of("user", other)).encode() in said]


def test_nothing_is_written_where_nothing_is_held(export: Export, tmp_path: Path) -> None:
    done, folder = export(account="k-anna-3")
    assert done.is_empty and done.path is None
    assert not folder.exists()
    assert not [*tmp_path.glob("*.partial")]


def test_the_folder_is_for_its_owner_alone(export: Export) -> None:
    before = os.umask(0)
    try:
        _, folder = export(user="u-anna")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("step", ["write_rows", "count_warehouse", "lines_of"])
def test_killed_half_way_it_leaves_nothing_at_the_target(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(takeout, step, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        child = os.fork()
        if not child:
            export(user="u-anna")
            os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert not (tmp_path / "out").exists()
    left = tmp_path / ".out.partial"
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    done, folder = export(user="u-anna")
    assert done.path == folder
    assert not left.exists()


def test_an_error_half_way_leaves_nothing_at_all(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Iterator[Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(takeout, "lines_of", full)
    with pytest.raises(OSError, match="No space"):
        export(user="u-anna")
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_a_model_that_is_added_with_a_pseudonym_is_found(peopled: Lake, project: Project) -> None:
    """By its columns in the manifest alone: nobody has to enter it anywhere."""
    names = [holding.name for holding in modelled(project)]
    manifest = copy.copy(project.manifest)
    node: Any = copy.deepcopy(next(n for n in manifest.nodes.values() if n.name == "agg_content_daily"))
    node.name = "fct_added"
    node.columns["anything"] = copy.deepcopy(next(iter(node.columns.values())))
    manifest.nodes = {**manifest.nodes, "model.tidemark.fct_added": node}
    assert [h.name for h in modelled(Project(manifest, "", project.folder))] == names
    keyed = copy.deepcopy(next(n for n in manifest.nodes.values() if n.name == "dim_accounts")).columns["user_key"]  # type: ignore[union-attr]
    node.columns["user_key"] = keyed
    added = Project(manifest, "", project.folder)
    (found,) = (h for h in modelled(added) if h.name == "fct_added")
    assert found.keys == ("user_key",)
    node.config.materialized = "view"
    assert [h.name for h in modelled(added)] == names
    node.config.materialized = "table"
    peopled.settings.warehouse.parent.mkdir(parents=True)
    with open_warehouse(peopled.settings) as warehouse:
        warehouse.execute(f"create schema {found.schema}; create table {found.schema}.fct_added (user_key uuid)")
        warehouse.execute(f"insert into {found.schema}.fct_added values (?), (?)", [ANNA["user_key"], UUID(int=1)])
    counts, note = count_warehouse(peopled.settings, modelled(added), PERSON, False)
    assert (counts, note) == ({"fct_added": Count(own=1)}, None)


PERSON = Person({kind: frozenset({ANNA["user_key"]} if kind is Kind.USER else ()) for kind in Kind}, frozenset())


def test_a_table_of_which_nobody_has_an_id_is_named(project: Project) -> None:
    manifest = copy.copy(project.manifest)
    node: Any = copy.deepcopy(next(n for n in manifest.nodes.values() if n.name == "dim_accounts"))
    node.columns = {"household_key": node.columns["user_key"]}
    manifest.nodes = {**manifest.nodes, node.unique_id: node}
    found = {holding.name: holding.keys for holding in modelled(Project(manifest, "", project.folder))}
    assert found["dim_accounts"] == ()
    assert all(keys for name, keys in found.items() if name != "dim_accounts")


def test_a_busy_warehouse_is_not_waited_for(peopled: Lake, export: Export) -> None:
    peopled.settings.warehouse.parent.mkdir(parents=True)
    with open_warehouse(peopled.settings):
        pass
    with warehouse_held(peopled.settings, "building"):
        done, folder = export(user="u-anna")
    assert done.warehouse == {}
    assert "building" in str(done.warehouse_note)
    assert done.landed["events"].own == 12
    assert document(folder)["warehouse_note"] == done.warehouse_note


def test_what_cannot_be_looked_through_is_refused(lake: Lake, project: Project, tmp_path: Path) -> None:
    given = (Given(Kind.USER, "u-anna"),)

    def refused(words: str, **changes: Any) -> None:
        with pytest.raises(TidemarkError, match=words):
            export_person(lake.settings.model_copy(update=changes), given, tmp_path / "out", project=project)
        assert {path.name for path in tmp_path.iterdir()} <= {"home"}

    refused("nothing has landed")
    lake.land_one("web/events/a.ndjson", in_format([seen(1, "d", "u-anna")], "ndjson"))
    refused("the pseudonym key .* is missing", pseudonym_key=None)
    other = Lake(tmp_path / "home", pseudonym_key=KEY + "!").settings.pseudonym_key
    refused("is not the one that landed", pseudonym_key=other)
