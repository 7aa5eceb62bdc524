"""The key of pseudonyms is changed: afterwards nobody joins across, and killed anywhere it ends the same."""

import shlex
import shutil
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from flows.audit.audit import audit
from flows.build.project import Project
from flows.cli import main
from flows.contract.spec import Privacy, Treatment, load_specs
from flows.errors import TidemarkError
from flows.keys import key_check
from flows.land import rekey as rekeying
from flows.land.compact import compact
from flows.land.linking import next_column
from flows.land.receipts import Receipts
from flows.land.repartition import repartition
from flows.land.rotation import FILE, Rotations, Stage, first_day_to_finish, read_rotations, write_rotations
from flows.privacy import rotate as rotating
from flows.privacy.erase import erase
from flows.privacy.identity import Given
from flows.privacy.lake_secrets import LakeSecrets
from flows.privacy.landed import LandedRows, reading
from flows.privacy.requests import Queue
from flows.privacy.rotate import key_state, rotate
from tests.support.deliveries import field_of, in_format, ndjson, small_spec
from tests.support.lake import KEY, Lake
from tests.support.rotations import NEXT_KEY, begin, earlier_key_of, files_with_both, finish, later_key_of, noon
from tests.support.takeouts import account, seen

BEGUN = date(2026, 1, 3)
FROM = BEGUN + timedelta(days=1)
SPECS = load_specs()


@pytest.fixture(autouse=True)
def _parsed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.privacy.erase.read_project", lambda settings: project)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake that gets both keys from the environment."""
    return Lake(tmp_path / "home", pseudonym_key_next=NEXT_KEY)


def at(day: int, time: str = "12:00:00") -> str:
    return f"2026-01-{day:02d}T{time}Z"


def before(lake: Lake) -> None:
    """What lands before: two people, one with a clock that runs ahead, and three accounts."""
    rows = [seen(day, "d-anna", "u-anna", occurred_at=at(day)) for day in (1, 2, 3)]
    rows += [seen(10 + day, "d-bo", None, occurred_at=at(day)) for day in (1, 2, 3)]
    rows += [seen(20, "d-anna", "u-anna", occurred_at=at(5)), seen(21, "d-ahead", None, occurred_at=at(6))]
    lake.land_one("web/events/before.ndjson", ndjson(rows))
    accounts = [account("k-anna", "u-anna"), account("k-bo", "u-bo"), account("k-cilla", "u-cilla")]
    lake.land_one("crm/accounts/before.csv", in_format(accounts, "csv", "accounts"))


def meanwhile(lake: Lake) -> None:
    """What lands with both: the same two, on days before and after, with a session over midnight, and one account."""
    rows = [
        seen(30, "d-anna", "u-anna", occurred_at=at(3, "22:50:00"), session_id="s-1"),
        seen(31, "d-anna", "u-anna", occurred_at=at(3, "23:10:00"), session_id="s-1"),
        seen(32, "d-bo", None, occurred_at=at(5)),
        seen(33, "d-new", "u-cilla", occurred_at=at(5)),
        seen(34, "d-bo", None, occurred_at=at(1)),
    ]
    lake.land_one("web/events/meanwhile.ndjson", ndjson(rows))
    lake.land_one("crm/accounts/meanwhile.csv", in_format([account("k-anna", "u-anna")], "csv", "accounts"))


def changed(lake: Lake) -> Lake:
    """All of it, and finished."""
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    meanwhile(lake)
    finish(lake.settings, rotation)
    return lake


def keys_of(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: UUID(bytes=row[name]) if isinstance(row[name], bytes) else row[name] for name in names}


def where_each_is(lake: Lake) -> dict[int, tuple[date, UUID, UUID | None, str | None]]:
    """By the number of its event: day, device, user and session of each landed row."""
    found = {}
    for row in lake.rows():
        keys = keys_of(row, ("device_key", "user_key", "session_id"))
        found[row["event_id"][-1]] = (row["event_date"], *keys.values())
    return found


def test_rows_land_with_both_once_it_has_begun(lake: Lake) -> None:
    before(lake)
    begin(lake.settings, BEGUN)
    meanwhile(lake)
    rows = [row for row in lake.rows() if next_column("device_key") in row]
    assert len(rows) == 5
    for row, device in zip(rows, ("d-anna", "d-anna", "d-bo", "d-new", "d-bo"), strict=True):
        assert row["device_key"] == earlier_key_of("device", device).bytes
        assert row["device_key_next"] == later_key_of("device", device).bytes
    assert rows[2]["user_key_next"] is None
    assert rows[0]["session_id"] == "s-1" != rows[0]["session_id_next"]
    receipt = lake.receipts()[-2]
    assert (receipt.key_check, receipt.next_key_check) == (key_check(KEY.encode()), key_check(NEXT_KEY.encode()))
    assert audit(lake.settings).findings == []


def test_days_from_the_beginning_have_the_later_ones_and_earlier_days_their_own(lake: Lake) -> None:
    changed(lake)
    found = where_each_is(lake)
    for number, (device, user) in {
        1: ("d-anna", "u-anna"), 2: ("d-anna", "u-anna"), 11: ("d-bo", None), 30: ("d-anna", "u-anna"),
    }.items():  # fmt: skip
        assert found[number][1:3] == (earlier_key_of("device", device), user and earlier_key_of("user", user))
    for number, (device, user) in {
        20: ("d-anna", "u-anna"), 31: ("d-anna", "u-anna"), 32: ("d-bo", None), 33: ("d-new", "u-cilla"),
    }.items():  # fmt: skip
        assert found[number][1:3] == (later_key_of("device", device), user and later_key_of("user", user))
    assert found[34][1] == earlier_key_of("device", "d-bo")
    assert [*files_with_both(lake.settings)] == []
    assert audit(lake.settings).findings == []


def test_whoever_was_not_met_again_is_a_stranger(lake: Lake) -> None:
    changed(lake)
    ahead = where_each_is(lake)[21][1]
    assert ahead not in {earlier_key_of("device", "d-ahead"), later_key_of("device", "d-ahead")}
    accounts = [keys_of(row, ("account_key", "user_key")) for row in lake.rows("accounts")]
    anna, bo, cilla, again = accounts
    assert (
        anna == again == {"account_key": later_key_of("account", "k-anna"), "user_key": later_key_of("user", "u-anna")}
    )
    assert cilla["user_key"] == later_key_of("user", "u-cilla")  # seen in events
    strangers = {bo["account_key"], bo["user_key"], cilla["account_key"]}
    known = {make(kind, id_) for make in (earlier_key_of, later_key_of) for kind, id_ in
             (("account", "k-bo"), ("user", "u-bo"), ("account", "k-cilla"))}  # fmt: skip
    assert len(strangers) == 3
    assert strangers.isdisjoint(known)


def test_a_session_of_the_clients_own_does_not_lead_across(lake: Lake) -> None:
    changed(lake)
    found = where_each_is(lake)
    assert (found[30][3], found[31][3] == "s-1") == ("s-1", False)
    again = [seen(40, "d-anna", "u-anna", occurred_at=at(7), session_id="s-1")]
    lake.land_one("web/events/after.ndjson", ndjson(again))
    assert where_each_is(lake)[40][3] == found[31][3]


def test_what_comes_later_than_that_is_of_nobody_on_earlier_days(lake: Lake) -> None:
    """A copy of an event must not show which earlier pseudonym is whose, nor take the place of the one that counts; and
    whether consent was withdrawn would not be found."""
    changed(lake)
    rows = [seen(1, "d-anna", "u-anna", occurred_at=at(1)), seen(50, "d-anna", "u-anna", occurred_at=at(2)),
            seen(31, "d-anna", "u-anna", occurred_at=at(3, "23:10:00"), session_id="s-1")]  # fmt: skip
    receipt = lake.land_one("web/events/after.ndjson", ndjson(rows))
    copy, late, same = lake.rows()[-3:]
    columns = ("device_key", "user_key", "session_id")
    found = tuple(keys_of(same, columns).values())
    assert found == where_each_is(lake)[31][1:]
    assert None not in found
    assert [row[name] for row in (copy, late) for name in columns] == [None] * 6
    assert not copy["has_analytics_consent"]
    assert receipt.rows_withheld == 2


def test_consent_holds_on_both_sides_and_no_record_leads_across(lake: Lake) -> None:
    """Somebody who withdrew before is withdrawn on days before and since; the moment is on one side alone."""

    def record(number: int, granted: bool, when: str, **whose: str) -> bytes:
        return ndjson([{"consent_id": f"0191f3c2-8a44-7c1e-9d3b-{number:012x}", "purpose": "analytics", **whose,
                        "is_granted": granted, "valid_from": when, "received_at": when}])  # fmt: skip

    lake.deliver("cmp/consents/anna.ndjson", record(1, False, at(2), user_id="u-anna"))
    lake.deliver("cmp/consents/unmet.ndjson", record(2, False, at(2), user_id="u-unmet"))
    lake.land()
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    meanwhile(lake)
    lake.deliver("cmp/consents/bo.ndjson", record(3, False, at(6), device_id="d-bo"))
    lake.deliver("cmp/consents/new.ndjson", record(4, False, at(6), device_id="d-new"))
    lake.land()
    finish(lake.settings, rotation)
    records = {
        (keys["device_key"] or keys["user_key"], row["valid_from"], row["is_granted"])
        for row in lake.rows("consents")
        for keys in [keys_of(row, ("device_key", "user_key"))]
        if row["purpose"] == "analytics"
    }
    boundary, sixth = datetime(2026, 1, 3, 23), datetime(2026, 1, 6, 12)  # the boundary in Stockholm, by UTC
    assert records == {
        # Under the earlier pseudonym at a moment of the person's own events, under the later one from the boundary on.
        (earlier_key_of("user", "u-anna"), datetime(2026, 1, 2, 12), False),
        (later_key_of("user", "u-anna"), boundary - timedelta(microseconds=1), False),
        (earlier_key_of("device", "d-bo"), datetime(2026, 1, 3, 12), False),
        (later_key_of("device", "d-bo"), sixth, False),
        (later_key_of("device", "d-new"), sixth, False),
        # The records themselves, with the ids that a consent platform delivers again, are nobody's.
        (None, boundary, False),
    }
    assert audit(lake.settings).findings == []


def test_compacted_and_laid_out_again_in_between_it_is_the_same(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = changed(Lake(tmp_path / "plain", pseudonym_key_next=NEXT_KEY))
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    meanwhile(lake)
    with monkeypatch.context() as patch:
        patch.setattr("flows.land.layout.organisation_timezone", lambda: "Pacific/Auckland")
        assert repartition(lake.settings) is not None
    assert repartition(lake.settings) is not None
    compact(lake.settings)
    finish(lake.settings, rotation)
    compact(lake.settings)
    assert where_each_is(lake) == where_each_is(plain)
    assert [*files_with_both(lake.settings)] == []
    assert audit(lake.settings).findings == []
    with monkeypatch.context() as patch:
        patch.setattr("flows.land.layout.organisation_timezone", lambda: "Pacific/Auckland")
        assert repartition(lake.settings) is not None
    assert read_rotations(lake.settings).boundaries == (FROM,)


def test_columns_that_the_contract_has_no_more_have_the_later_ones_too(lake: Lake) -> None:
    ids = {"privacy": Privacy.IDENTIFIER, "treatment": Treatment.PSEUDONYMISE}
    kept = [field_of("seen_at", "timestamp", required=True), field_of("device_id", **ids)]
    wide = small_spec([*kept, field_of("member_id", **ids)], day_of="seen_at")
    row = {"seen_at": at(5), "device_id": "d-1", "member_id": "m-1"}
    lake.land_one("web/things/a.ndjson", ndjson([row]), wide)
    rotate(lake.settings, wide, now=noon(BEGUN))
    lake.land_one("web/things/b.ndjson", ndjson([row]) + b"\n", wide)
    narrow = small_spec(kept, day_of="seen_at")
    rotate(lake.settings, narrow, now=noon(date(2026, 2, 1)))
    first, second = lake.rows("things")
    assert first["device_key"] == second["device_key"] == later_key_of("device", "d-1").bytes
    # Nobody can say any more what the first of it stood beside.
    assert (first["member_key"], second["member_key"]) == (None, later_key_of("member", "m-1").bytes)
    assert [*files_with_both(lake.settings)] == []


# --- the keys --------------------------------------------------------------------------------------------------------


def test_it_is_not_finished_too_early(lake: Lake) -> None:
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    assert first_day_to_finish(rotation) == date(2026, 2, 1)
    with pytest.raises(TidemarkError, match="before 2026-02-01"):
        rotate(lake.settings, now=noon(date(2026, 1, 31)))
    assert key_state(lake.settings).may_finish_from == date(2026, 2, 1)
    finish(lake.settings, rotation)
    assert key_state(lake.settings).may_finish_from is None


def test_keys_in_files_change_places_and_the_earlier_one_is_gone(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "home", pseudonym_key=None)
    before(lake)
    earlier = lake.settings.key_file("pseudonym").read_bytes()
    rotation = begin(lake.settings, BEGUN)
    later = lake.settings.key_file("pseudonym_next").read_bytes()
    assert earlier != later
    meanwhile(lake)
    assert finish(lake.settings, rotation).to_do is None
    assert lake.settings.key_file("pseudonym").read_bytes() == later
    assert [path.name for path in lake.settings.key_file("pseudonym").parent.iterdir()] == ["pseudonym.key"]
    lake.land_one("web/events/after.ndjson", ndjson([seen(60, "d-anna", None, occurred_at=at(9))]))
    again = begin(lake.settings, date(2026, 3, 1))
    assert again.before == rotation.after
    assert lake.settings.key_file("pseudonym_next").exists()


def test_keys_of_the_environment_are_taken_by_what_they_are_until_they_are_moved(lake: Lake) -> None:
    before(lake)
    done = finish(lake.settings, begin(lake.settings, BEGUN))
    assert done.to_do is not None and "unset TIDEMARK_PSEUDONYM_KEY_NEXT" in done.to_do
    lake.land_one("web/events/after.ndjson", ndjson([seen(60, "d-anna", None, occurred_at=at(9))]))
    with pytest.raises(TidemarkError, match="TIDEMARK_PSEUDONYM_KEY to the secret of TIDEMARK_PSEUDONYM_KEY_NEXT"):
        rotate(lake.settings)
    moved = Lake(lake.settings.home, pseudonym_key=NEXT_KEY)
    moved.land_one("web/events/moved.ndjson", ndjson([seen(61, "d-anna", None, occurred_at=at(9))]))
    assert len({row["device_key"] for row in moved.rows() if row["event_date"] == date(2026, 1, 9)}) == 1
    stale = Lake(lake.settings.home)
    stale.deliver("web/events/stale.ndjson", ndjson([seen(62, "d-anna", None)]))
    with pytest.raises(TidemarkError, match="is not the one that landed the batches before"):
        stale.land()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pseudonym_key": KEY}, "is to be in TIDEMARK_PSEUDONYM_KEY_NEXT"),
        ({"pseudonym_key": KEY, "pseudonym_key_next": KEY}, "in use before"),
        ({"pseudonym_key": KEY, "pseudonym_key_next": "short"}, "TIDEMARK_PSEUDONYM_KEY_NEXT is too short"),
    ],
)
def test_a_next_key_that_will_not_do_begins_nothing(lake: Lake, given: dict[str, str], said: str) -> None:
    before(lake)
    other = Lake(lake.settings.home, **given)
    with pytest.raises(TidemarkError, match=said) as error:
        rotate(other.settings, now=noon(BEGUN))
    assert KEY not in str(error.value)
    assert read_rotations(lake.settings).last is None


def test_without_the_next_key_nothing_lands_and_nothing_is_finished(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "home", pseudonym_key=None)
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    lake.settings.key_file("pseudonym_next").unlink()
    lake.deliver("web/events/after.ndjson", ndjson([seen(60, "d-anna", None)]))
    with pytest.raises(TidemarkError, match="is not the one that landed"):
        lake.land()
    with pytest.raises(TidemarkError, match="is not the one that landed"):
        finish(lake.settings, rotation)
    assert read_rotations(lake.settings).rotations[-1].stage is Stage.OVERLAP


def test_keys_of_a_command_are_taken_by_what_they_are_until_they_are_moved(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "pseudonym").write_text(KEY)
    (keys / "pseudonym_next").write_text(NEXT_KEY)
    program = f"import pathlib, sys; print(pathlib.Path({str(keys)!r}, sys.argv[-1]).read_text())"
    lake = Lake(tmp_path / "home", pseudonym_key=None, key_command=shlex.join([sys.executable, "-c", program]))
    before(lake)
    done = finish(lake.settings, begin(lake.settings, BEGUN))
    assert done.to_do is not None and "print for `pseudonym` what it prints for `pseudonym_next`" in done.to_do
    lake.land_one("web/events/a.ndjson", ndjson([seen(60, "d-anna", None, occurred_at=at(9))]))
    (keys / "pseudonym_next").rename(keys / "pseudonym")
    lake.land_one("web/events/b.ndjson", ndjson([seen(61, "d-anna", None, occurred_at=at(9))]))
    found = where_each_is(lake)
    assert found[60][1] == found[61][1] == later_key_of("device", "d-anna")


def test_a_key_of_a_file_and_a_next_one_of_the_environment_are_refused(tmp_path: Path) -> None:
    before(Lake(tmp_path / "home", pseudonym_key=None))
    mixed = Lake(tmp_path / "home", pseudonym_key=None, pseudonym_key_next=NEXT_KEY)
    with pytest.raises(TidemarkError, match="unset TIDEMARK_PSEUDONYM_KEY_NEXT"):
        rotate(mixed.settings, now=noon(BEGUN))


def test_a_contract_that_has_a_column_of_that_name_is_refused(lake: Lake) -> None:
    before(lake)
    named = small_spec([field_of("device_id", treatment=Treatment.PSEUDONYMISE), field_of("device_key_next")])
    with pytest.raises(TidemarkError, match=r"things\.device_key_next"):
        rotate(lake.settings, named, now=noon(BEGUN))
    assert read_rotations(lake.settings).last is None


def test_the_earlier_key_stays_as_long_as_a_file_has_both(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "home", pseudonym_key=None)
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    earlier = lake.settings.key_file("pseudonym").read_bytes()
    meanwhile(lake)
    left = lake.settings.landed / "events" / "left-by-somebody.parquet"
    shutil.copy(next(files_with_both(lake.settings)), left)
    with pytest.raises(TidemarkError, match=r"left-by-somebody\.parquet .* still have the pseudonyms of both"):
        finish(lake.settings, rotation)
    assert lake.settings.key_file("pseudonym").read_bytes() == earlier
    left.unlink()
    finish(lake.settings, rotation)
    lake.settings.key_file("pseudonym").write_bytes(earlier)
    with pytest.raises(TidemarkError, match="is not the one that landed"):
        rotate(lake.settings)


def test_a_damaged_note_of_the_keys_lands_nothing(lake: Lake) -> None:
    before(lake)
    begin(lake.settings, BEGUN)
    (lake.settings.landed / FILE).write_text('{"format": 2, "rotations": []}')
    lake.deliver("web/events/after.ndjson", ndjson([seen(60, "d-anna", None)]))
    with pytest.raises(TidemarkError, match="restore the file from a backup"):
        lake.land()


def test_each_time_between_two_changes_is_apart_from_every_other(lake: Lake) -> None:
    changed(lake)
    third = Lake(
        lake.settings.home, pseudonym_key=NEXT_KEY, pseudonym_key_next="a third secret, long enough, as the others"
    )
    rotation = begin(third.settings, date(2026, 3, 1))
    finish(third.settings, rotation)
    rows = [seen(number, "d-anna", "u-anna", occurred_at=f"2026-0{month}-02T12:00:00Z")
            for number, month in ((80, 1), (81, 2), (82, 3))]  # fmt: skip
    third.land_one("web/events/late.ndjson", ndjson(rows))
    found = where_each_is(third)
    assert len({found[number][1] for number in (1, 31, 82)}) == 3
    assert [found[number][1:] for number in (80, 81)] == [(None, None, None)] * 2
    ask(third, user="u-anna")
    erase(third.settings)
    assert 82 not in where_each_is(third)
    assert {1, 31} <= where_each_is(third).keys()


def test_the_command_says_how_it_stands_and_no_key(lake: Lake) -> None:
    env = {
        "TIDEMARK_HOME": str(lake.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY, "TIDEMARK_MASTER_KEY": KEY,
        "TIDEMARK_PSEUDONYM_KEY_NEXT": NEXT_KEY, "TIDEMARK_SETTLE_SECONDS": "0",
    }  # fmt: skip

    def said(*arguments: str, answer: str = "", code: int = 0) -> str:
        done = CliRunner(env=env).invoke(main, ["keys", *arguments], input=answer)
        assert done.exit_code == code, done.output
        assert KEY not in done.output
        assert NEXT_KEY not in done.output
        return " ".join(done.output.split())

    checks = [key_check(key.encode()) for key in (KEY, NEXT_KEY)]
    assert "nothing has landed" in said()
    assert "nothing has landed" in said("rotate", code=1)
    before(lake)
    assert said() == f"keys rows land with the pseudonyms of {checks[0]}"
    assert f"of {checks[0]} and of {checks[1]}" in said("rotate")
    assert "cannot be finished before" in said("rotate", code=1)
    assert "rows land with both; may be finished from" in said("status")
    last = read_rotations(lake.settings).rotations[-1]
    write_rotations(lake.settings, Rotations(rotations=(last.model_copy(update={"from_day": FROM}),)))
    assert "nobody can join what happened before 2026-01-04" in said("rotate", answer="n\n", code=1)
    assert read_rotations(lake.settings).rotations[-1].stage is Stage.OVERLAP
    finished = said("rotate", "--yes")
    assert f"finished rows land with the pseudonyms of {checks[1]}" in finished
    assert "3 of account_key in accounts did not come again" in finished
    assert "set TIDEMARK_PSEUDONYM_KEY to the secret of" in finished
    assert f"{checks[0]} until 2026-01-04, {checks[1]} since: finished" in said()


def test_where_nothing_landed_there_is_nothing_to_change(lake: Lake) -> None:
    with pytest.raises(TidemarkError, match="nothing has landed"):
        rotate(lake.settings)


# --- killed ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As a process that is gone."""


def steps() -> Iterator[Any]:
    for place, name in (
        (rotating, "write_rotations"), (rotating, "rekey"), (rekeying, "removal_receipt"), (Receipts, "commit"),
        (rotating, "renew"), (rotating, "_check_nothing_left"), (rotating, "put_next_in_place"),
    ):  # fmt: skip
        for call in (1, 2):
            for is_after in (False, True):
                yield pytest.param(place, name, call, is_after, id=f"{name}-{call}-{'after' if is_after else 'before'}")


@pytest.mark.parametrize(("place", "name", "call", "is_after"), [*steps()])
def test_killed_between_any_two_steps_the_next_call_ends_the_same(
    tmp_path: Path, place: Any, name: str, call: int, is_after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "home", pseudonym_key=None)
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    earlier, later = (lake.settings.key_file(key).read_bytes() for key in ("pseudonym", "pseudonym_next"))
    meanwhile(lake)
    real, calls = getattr(place, name), 0

    def killed(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not is_after:
            raise Killed
        done = real(*arguments, **more)
        if calls == call:
            raise Killed
        return done

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        try:
            finish(lake.settings, rotation)
        except Killed:
            # Nothing lands that anybody could join by, whatever it was killed at.
            lake.land_one("web/events/killed.ndjson", ndjson([seen(1, "d-anna", "u-anna", occurred_at=at(1))]))
    last = read_rotations(lake.settings).rotations[-1]
    if last.stage is not Stage.FINISHED:
        assert lake.settings.key_file("pseudonym").read_bytes() == earlier
    if last.stage is not Stage.FINISHED or lake.settings.key_file("pseudonym_next").exists():
        finish(lake.settings, rotation)
    assert lake.settings.key_file("pseudonym").read_bytes() == later
    assert not lake.settings.key_file("pseudonym_next").exists()
    assert [*files_with_both(lake.settings)] == []
    assert audit(lake.settings).findings == []
    wanted = Lake(
        tmp_path / "wanted", pseudonym_key=earlier.decode().strip(), pseudonym_key_next=later.decode().strip()
    )
    changed(wanted)
    rows = [row for row in lake.rows() if row["device_key"]]
    of_day_one = [row for row in rows if row["event_date"] == date(2026, 1, 1)]
    assert {row["device_key"] for row in of_day_one} == {
        row["device_key"] for row in wanted.rows() if row["event_date"] == date(2026, 1, 1)
    }
    assert (
        where_each_is(lake).items() >= {key: value for key, value in where_each_is(wanted).items() if key != 1}.items()
    )
    assert [{**row, "_batch_id": 0} for row in lake.rows("accounts")] == [
        {**row, "_batch_id": 0} for row in wanted.rows("accounts")
    ]


# --- people who are erased -------------------------------------------------------------------------------------------


def ask(lake: Lake, **ids: str) -> None:
    given = tuple(Given(kind, one) for kind, one in ids.items())  # type: ignore[arg-type]
    Queue(lake.settings).receive([given], with_shared=False)


def forms(lake: Lake, kind: str, id_: str) -> set[UUID]:
    with reading(lake.settings, lake.settings.lake / ".spills") as database:
        landed = LandedRows(lake.settings, SPECS, database)
        return {*LakeSecrets(lake.settings, landed).all(f"{kind}_key", id_)}


def devices(lake: Lake) -> set[UUID]:
    names = ("device_key", next_column("device_key"))
    return {UUID(bytes=row[name]) for row in lake.rows() for name in names if row.get(name)}


def test_whoever_is_erased_meanwhile_does_not_come_back_by_either(lake: Lake) -> None:
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    meanwhile(lake)
    files = {path.name: path.read_bytes() for path in lake.settings.inbox.rglob("*.ndjson")}
    assert forms(lake, "device", "d-anna") == {earlier_key_of("device", "d-anna"), later_key_of("device", "d-anna")}
    ask(lake, user="u-anna")
    (done,) = erase(lake.settings)
    assert done.found["pseudonyms"] == {"account": 1, "user": 1, "device": 1, "shared_devices": 0}
    gone = {make("device", "d-anna") for make in (earlier_key_of, later_key_of)}
    assert gone.isdisjoint(devices(lake))
    for name, data in files.items():
        receipt = lake.land_one(f"web/events/again-{name}", data + b"\n")
        assert receipt.rows_removed > 0
    assert gone.isdisjoint(devices(lake))
    finish(lake.settings, rotation)
    for name, data in files.items():
        receipt = lake.land_one(f"web/events/after-{name}", data + b"\n\n")
        assert receipt.rows_removed > 0
    assert (gone | forms(lake, "device", "d-anna")).isdisjoint(devices(lake))


def test_a_device_that_leads_to_them_is_gone_by_the_later_key_and_a_shared_one_is_not(lake: Lake) -> None:
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    rows = [
        seen(40, "d-phone", "u-anna", occurred_at=at(5)), seen(41, "d-phone", None, occurred_at=at(5)),
        seen(42, "d-tablet", "u-anna", occurred_at=at(5)), seen(43, "d-tablet", "u-bo", occurred_at=at(5)),
        seen(44, "d-tablet", None, occurred_at=at(5)),
    ]  # fmt: skip
    lake.land_one("web/events/shared.ndjson", ndjson(rows))
    ask(lake, user="u-anna")
    (done,) = erase(lake.settings)
    assert done.found["pseudonyms"] == {"account": 1, "user": 1, "device": 3, "shared_devices": 1}
    finish(lake.settings, rotation)
    rows = [seen(50, device, None, occurred_at=at(6)) for device in ("d-phone", "d-tablet")]
    rows += [seen(51, device, None, occurred_at=at(2)) for device in ("d-phone", "d-tablet")]
    receipt = lake.land_one("web/events/after.ndjson", ndjson(rows))
    assert (receipt.rows_landed, receipt.rows_removed) == (2, 2)
    assert where_each_is(lake)[50][1] == later_key_of("device", "d-tablet")


def test_a_person_erased_before_is_known_by_the_later_key_once_they_were_met(lake: Lake) -> None:
    before(lake)
    ask(lake, user="u-anna")
    ask(lake, device="d-bo")
    erase(lake.settings)
    rotation = begin(lake.settings, BEGUN)
    assert lake.land_one(
        "web/events/meanwhile.ndjson", ndjson([seen(1, "d-anna", None, occurred_at=at(1))])
    ).rows_removed
    finish(lake.settings, rotation)
    rows = [seen(1, "d-anna", None, occurred_at=at(2)), seen(2, "d-bo", None, occurred_at=at(2))]
    receipt = lake.land_one("web/events/after.ndjson", ndjson(rows))
    assert (receipt.rows_removed, receipt.rows_landed) == (1, 1)  # nothing of d-bo came meanwhile


def test_it_is_not_finished_while_people_wait_to_be_erased(lake: Lake) -> None:
    before(lake)
    rotation = begin(lake.settings, BEGUN)
    ask(lake, user="u-anna")
    with pytest.raises(TidemarkError, match="run `tidemark erase`"):
        finish(lake.settings, rotation)
    erase(lake.settings)
    finish(lake.settings, rotation)


def test_after_that_a_person_is_found_on_days_since_and_in_what_came_late(lake: Lake) -> None:
    changed(lake)
    late = [seen(70, "d-anna", "u-anna", occurred_at=at(1)), seen(71, "d-anna", None, occurred_at=at(2))]
    lake.land_one("web/events/late.ndjson", ndjson(late))
    ask(lake, account="k-anna")
    (done,) = erase(lake.settings)
    assert done.found["pseudonyms"] == {"account": 1, "user": 1, "device": 1, "shared_devices": 0}
    assert {later_key_of("device", "d-anna"), *forms(lake, "device", "d-anna")}.isdisjoint(devices(lake))
    left = where_each_is(lake)
    # Nobody can tell any more whose these are, nor of those that came late.
    assert {1, 2, 3, 30, 70, 71} <= left.keys()
    assert left[70][1:] == left[71][1:] == (None, None, None)
    assert {20, 31}.isdisjoint(left)
