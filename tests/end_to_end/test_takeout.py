"""A takeout of the sample: the marts of a person, as they are published."""

import csv
import json
import re
from pathlib import Path

import duckdb
import pytest

from flows.build.build import Build
from flows.land.land import Landing
from flows.land.pseudonyms import Kind
from flows.privacy.identity import Given
from flows.privacy.takeout import export_person
from flows.publish.publish import Publication
from flows.settings import Settings

Run = tuple[Settings, Landing, Build, Publication]
# How people of the sample are named.
IN_CLEAR = re.compile(rb"\b[uk]-\d+\b|\bd-[0-9a-f]{11}\b|@example\.org|Mozilla|192\.0\.2\.")


@pytest.mark.parametrize("kind", [Kind.USER, Kind.ACCOUNT])
def test_what_was_worked_out_of_a_person_is_in_their_takeout(sample_run: Run, tmp_path: Path, kind: Kind) -> None:
    settings, *_, publication = sample_run
    # In the sample, account k-3 is that of user u-3.
    id_ = f"{'u' if kind is Kind.USER else 'k'}-3"
    done = export_person(settings, (Given(kind, id_),), tmp_path / "out")
    assert done.version == publication.manifest.version
    (user,) = done.person.keys[Kind.USER]
    said = json.loads((tmp_path / "out" / "person.json").read_text())
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as marts:
        for name, count in done.published.items():
            of_user = marts.execute(f"select count(*) from {name} where user_key = ?", [user]).fetchall()
            assert of_user == [(count.own,)], name
            with (tmp_path / "out" / f"{name}.csv").open(newline="") as file:
                assert {row["user_key"] for row in csv.DictReader(file)} <= {str(user)}
            assert len(said["rows"][name]) == count.own
    assert {name for name, count in done.published.items() if count.own} >= {"dim_accounts", "fct_sessions"}
    assert done.warehouse_note is None
    assert {name: done.warehouse[name] for name in done.published} == done.published
    marts_explained = {table["name"]: table["fields"] for table in said["tables"] if table["how"] == "worked out"}
    assert {*marts_explained} == {*done.published}
    assert all(field["description"] and field["privacy"] for fields in marts_explained.values() for field in fields)
    in_clear = {found for path in (tmp_path / "out").iterdir() for found in IN_CLEAR.findall(path.read_bytes())}
    assert in_clear == {id_.encode()}
