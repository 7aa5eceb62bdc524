"""How old a table's rows became, by the versions that are kept."""

from datetime import UTC, datetime, timedelta

import pytest

from flows.publish.manifest import Manifest, PublishedTable
from flows.site.history import kept_versions, measured_age

START = datetime(2026, 1, 1, tzinfo=UTC)


def a_manifest(hour: float, as_of: float | None, name: str = "agg_a") -> Manifest:
    moment = START + timedelta(hours=hour)
    table = PublishedTable(
        name=name, day_column=None, files=(), as_of=None if as_of is None else START + timedelta(hours=as_of)
    )
    return Manifest(
        version=f"{hour:05}",
        created_at=moment,
        git_revision=None,
        warehouse_id="w",
        batch_high_water=0,
        change_high_water=0,
        project_fingerprint="p",
        tables=(table,),
    )


@pytest.mark.parametrize(
    ("versions", "hours"),
    [
        pytest.param([(0, 0), (24, 24), (50, 50)], 26, id="the longest wait for the next"),
        pytest.param([(50, 50), (0, 0), (24, 24)], 26, id="in any order"),
        pytest.param([(0, 0), (24, 0), (48, 48)], 48, id="stale in between: older than the version"),
        pytest.param([(0, None), (5, None)], 5, id="versions of before tables said so"),
    ],
)
def test_the_age_is_the_most_before_the_next_version(versions: list[tuple[float, float]], hours: float) -> None:
    age = measured_age(kept_versions([a_manifest(*version) for version in versions], "agg_a"))
    assert age is not None and age.hours == hours and age.publications == len(versions) and age.since == START


def test_one_version_measures_nothing() -> None:
    assert measured_age(kept_versions([a_manifest(0, 0), a_manifest(1, 1, "agg_b")], "agg_a")) is None
