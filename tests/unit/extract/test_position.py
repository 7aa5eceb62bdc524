"""How far an extract is, by the names of its files."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.extract.position import Cursor, Kind, cursor_text, position, snapshot_name, window_name

NUMBERS = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(st.lists(NUMBERS, min_size=2, max_size=8, unique=True), st.data())
def test_it_is_the_end_of_what_is_there_without_a_gap(ends: list[int], data: st.DataObject) -> None:
    ends.sort()
    names = [window_name(None, ends[0]), *map(window_name, ends, ends[1:])]
    missing = data.draw(st.none() | st.sampled_from(range(len(names))))
    there = data.draw(st.permutations([name for at, name in enumerate(names) if at != missing]))
    expected = ends[-1] if missing is None else ends[missing - 1] if missing else None
    assert position(there, "number") == expected


@given(st.lists(NUMBERS, min_size=2, max_size=5, unique=True))
def test_windows_that_overlap_leave_no_gap(ends: list[int]) -> None:
    ends.sort()
    names = [
        window_name(None, ends[0]),
        *(window_name(after - 7, up_to) for after, up_to in pairwise(ends)),
    ]
    assert position(names, "number") == ends[-1]


@given(MOMENTS, MOMENTS)
def test_names_are_in_the_order_of_moments(one: datetime, other: datetime) -> None:
    assert (cursor_text(one) < cursor_text(other)) == (one < other)
    assert position([window_name(None, one)], "moment") == one


@pytest.mark.parametrize(
    ("names", "kind", "reached"),
    [
        ([], "number", None),
        ([window_name(None, date(2026, 1, 2))], "day", date(2026, 1, 2)),
        # Those of another cursor, of a snapshot, of somebody else.
        ([window_name(None, date(2026, 1, 2))], "number", None),
        ([window_name(None, 7)], "moment", None),
        ([snapshot_name(datetime(2026, 1, 1, tzinfo=UTC)), "by hand.parquet", "_", ""], "moment", None),
    ],
)
def test_other_files_do_not_count(names: list[str], kind: Kind, reached: Cursor | None) -> None:
    assert position(names, kind) == reached


def test_a_moment_of_another_zone_is_named_in_utc() -> None:
    at = datetime.fromisoformat("2026-01-15T10:00:00.000001+02:00")
    assert window_name(at - timedelta(days=1), at) == "20260114T080000.000001Z_20260115T080000.000001Z.parquet"
    assert window_name(None, -3) == "beginning_-0000000000000000003.parquet"
