"""By which columns rows are one person's, and that days of before a change of the key keep pseudonyms of their own."""

from datetime import date
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from flows.contract.spec import DatasetSpec, Privacy, Treatment, load_specs
from flows.land.linking import EarlierDays, keyed, linking_columns, next_columns
from flows.land.pseudonyms import Pseudonymiser
from tests.support.deliveries import field_of, small_spec
from tests.support.lake import KEY

BOUNDARIES = (date(2026, 1, 3), date(2026, 2, 1))
KEYS = {"privacy": Privacy.IDENTIFIER, "treatment": Treatment.PSEUDONYMISE}
SPEC = small_spec(
    [
        field_of("occurred_at", "timestamp", required=True),
        field_of("device_id", **KEYS),
        field_of("visit_id", "uuid", privacy=Privacy.BEHAVIOUR),
        field_of("tab_id", privacy=Privacy.BEHAVIOUR),
        field_of("article_id"),
        field_of("mood", privacy=Privacy.BEHAVIOUR),
    ],
    day_of="occurred_at",
)["things"]
DAYS = [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3), date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 2)]


def rows() -> pa.Table:
    """The same device, visit and tab on each of some days; of the last day, nothing is known."""
    known = [True] * (len(DAYS) - 1) + [False]
    return pa.table(
        {
            "device_key": pa.array([b"d" * 16 if is_one else None for is_one in known], pa.binary(16)),
            "visit_id": pa.array([b"v" * 16 if is_one else None for is_one in known], pa.binary(16)),
            "tab_id": pa.array(["t" if is_one else None for is_one in known]).dictionary_encode(),
            "article_id": ["a"] * len(DAYS),
            "event_date": pa.array(DAYS, pa.date32()),
        }
    )


def test_ids_that_clients_make_link_rows_as_pseudonyms_do() -> None:
    assert [*linking_columns(SPEC)] == ["device_key", "visit_id", "tab_id"]
    assert [*linking_columns(load_specs()["events"])] == ["device_key", "user_key", "session_id"]
    assert linking_columns(load_specs()["contents"]) == {}
    assert next_columns(SPEC, ["device_key", "device_key_next", "mood_next"]) == ["device_key_next"]


@pytest.mark.parametrize("name", ["device_key", "visit_id", "tab_id"])
def test_each_time_between_two_changes_has_its_own_and_today_is_as_it_was(name: str) -> None:
    before, after = rows(), EarlierDays(KEY.encode(), reversed(BOUNDARIES)).of_day(SPEC, rows())
    assert after.schema == before.schema
    assert after["article_id"].to_pylist() == before["article_id"].to_pylist()
    first, second, third, fourth, *since = after[name].to_pylist()
    assert first == second
    assert third == fourth
    assert len({first, third, since[0]}) == 3
    assert since == before[name].to_pylist()[4:]


def test_they_come_after_all_others_and_are_known_by_the_key_alone() -> None:
    earlier = EarlierDays(KEY.encode(), BOUNDARIES)
    made = earlier.of_day(SPEC, rows())["device_key"].to_pylist()
    forms = earlier.forms("device_key", UUID(bytes=b"d" * 16))
    assert [form.bytes for form in forms] == [made[0], made[2]]
    assert all(form.version == 8 and form > UUID("fffffffe-ffff-8fff-bfff-ffffffffffff") for form in forms)
    assert EarlierDays(KEY.encode() + b"!", BOUNDARIES).forms("device_key", UUID(bytes=b"d" * 16)) != forms
    assert earlier.forms("user_key", UUID(bytes=b"d" * 16)) != forms


def without_days() -> DatasetSpec:
    return SPEC.model_copy(update={"day_of": None})


def test_where_there_are_no_days_or_no_changes_nothing_is_other() -> None:
    assert EarlierDays(KEY.encode(), ()).of_day(SPEC, rows()).equals(rows())
    assert EarlierDays(KEY.encode(), BOUNDARIES).of_day(without_days(), rows()).equals(rows())
    assert EarlierDays(KEY.encode(), BOUNDARIES).of_day(SPEC, rows().slice(0, 0)).num_rows == 0


@pytest.mark.parametrize(
    ("name", "values", "spelt"),
    [
        ("device_key", pa.chunked_array([["d-1", None], ["d-1"]]), "d-1"),
        ("tab_id", pa.array(["t-1", None, "t-1"]).dictionary_encode(), "t-1"),
        ("visit_id", pa.array([b"v" * 16, None, b"v" * 16], pa.binary(16)), str(UUID(bytes=b"v" * 16))),
    ],
)
def test_each_column_is_keyed_in_the_type_in_which_it_lands(name: str, values: Any, spelt: str) -> None:
    pseudonymiser = Pseudonymiser(KEY.encode())
    made = keyed(pseudonymiser, linking_columns(SPEC)[name], values).to_pylist()
    one = pseudonymiser.one(name, spelt)
    wanted = str(UUID(bytes=one)) if name == "tab_id" else one
    assert made == [wanted, None, wanted]
