"""A lake with people in it, and takeouts of them."""

from pathlib import Path

import pytest

from flows.build.dbt import read_project
from flows.build.project import Project
from flows.land.pseudonyms import Kind
from flows.privacy.identity import Given
from flows.privacy.takeout import Takeout, export_person
from flows.settings import Settings
from tests.support.deliveries import in_format
from tests.support.lake import Lake
from tests.support.takeouts import Export, account, seen


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as dbt reads it, once for all."""
    return read_project(Settings(home=tmp_path_factory.mktemp("parsed")))


@pytest.fixture
def peopled(lake: Lake) -> Lake:
    """Anna has two accounts, a telephone of her own and a tablet that Bo uses too; Cilla has nothing to do with them.

    Their events come in every format, some twice. The file of accounts is delivered again: by mistake the first one
    gave Cilla's account to Anna's user.
    """
    wrong = [account("k-anna", "u-anna"), account("k-bo", "u-bo"), account("k-cilla", "u-anna")]
    right = [account("k-anna", "u-anna"), account("k-bo", "u-bo"), account("k-cilla", "u-cilla")]
    lake.land_one("crm/accounts/a.csv", in_format(wrong, "csv", "accounts"))
    lake.land_one("crm/accounts/a.csv", in_format(right, "csv", "accounts"))
    lake.land_one("crm/accounts/b.ndjson", in_format([account("k-anna-2", "u-anna")], "ndjson", "accounts"))
    number = 0
    for suffix in ("ndjson", "pb", "parquet", "csv.gz"):
        rows = []
        for day, (device, user) in enumerate(
            [
                ("d-phone", "u-anna"), ("d-phone", None), ("d-tablet", "u-anna"), ("d-tablet", "u-bo"),
                ("d-tablet", None), ("d-cilla", "u-cilla"), ("d-cilla", None), ("d-nobody", None),
            ],
            1,
        ):  # fmt: skip
            number += 1
            rows.append(seen(number, device, user, occurred_at=f"2026-01-{day:02d}T12:00:00Z"))
        lake.land_one(f"web/events/all.{suffix}", in_format([*rows, rows[0], rows[1]], suffix))
    return lake


@pytest.fixture
def export(peopled: Lake, project: Project, tmp_path: Path) -> Export:
    """Export the person with these ids, by kind."""

    def made(with_shared: bool = False, to: str = "out", **ids: str) -> tuple[Takeout, Path]:
        given = tuple(Given(Kind(kind), one) for kind, words in ids.items() for one in words.split())
        target = tmp_path / to
        return export_person(peopled.settings, given, target, with_shared, project=project), target

    return made
