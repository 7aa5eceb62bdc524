"""What is due is decided right with the clock moving: changes of the clock, downtime, data late, twice or never."""

from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from flows.orchestrate.due import ScheduleState, cron_slots, decide, files_gathered, next_due, slot_of_instant
from flows.orchestrate.job import Arrival, Cron, Requires, Success
from tests.support.schedules import EVENTS_NEEDED, ZONE, World, a_job, utc

SPRING, AUTUMN = "2026-03-29", "2026-10-25"  # the clock of Stockholm goes from 02:00 to 03:00, and from 03:00 to 02:00


def local(moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(ZONE)):%d %H:%M %z}"


def of_day(cron: str, day: str, zone: str = ZONE) -> list[datetime]:
    begins = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    return cron_slots(Cron(cron, zone), begins, begins + timedelta(days=1) - timedelta(minutes=1))


def test_a_time_that_spring_skips_runs_at_the_first_minute_after_the_gap() -> None:
    assert [local(slot) for slot in of_day("30 2 * * *", SPRING)] == ["29 03:00 +0200"]
    assert [local(slot) for slot in of_day("15,45 2 * * *", SPRING)] == ["29 03:00 +0200"]
    assert [local(slot) for slot in of_day("0 2,3 * * *", SPRING)] == ["29 03:00 +0200"]


def test_a_time_that_comes_twice_in_autumn_runs_at_the_first() -> None:
    assert [local(slot) for slot in of_day("30 2 * * *", AUTUMN)] == ["25 02:30 +0200"]


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25), ("2026-06-01", 24)])
def test_hourly_is_every_hour_that_passes(day: str, hours: int) -> None:
    slots = of_day("0 * * * *", day)
    assert len(slots) == hours
    assert {later - slot for slot, later in pairwise(slots)} == {timedelta(hours=1)}


def test_an_expression_that_begins_with_a_star_is_of_elapsed_time() -> None:
    assert len(of_day("*/30 2 * * *", SPRING)) == 0
    assert len(of_day("*/30 2 * * *", AUTUMN)) == 4


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
@pytest.mark.parametrize("cron", ["30 2 * * *", "0 * * * *", "*/20 * * * *", "0 0-23 * * *"])
def test_slots_do_not_depend_on_where_one_begins_to_ask(day: str, cron: str) -> None:
    begins = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=6)
    moments = [begins + timedelta(minutes=5 * n) for n in range(12 * 24)]
    whole = cron_slots(Cron(cron, ZONE), moments[0], moments[-1])
    for moment in moments[::7]:
        assert cron_slots(Cron(cron, ZONE), moment, moments[-1]) == [slot for slot in whole if slot >= moment]
        before = cron_slots(Cron(cron, ZONE), moments[0], moment)
        assert before == [slot for slot in whole if slot <= moment]


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
def test_both_changes_of_the_clock_begin_each_slot_once(day: str) -> None:
    jobs = [a_job("night", "30 2 * * *"), a_job("hour", "0 * * * *")]
    begins = utc(f"{day} 00:00") - timedelta(days=2, minutes=1)
    world = World(jobs, begins)
    world.step_to(begins + timedelta(days=4), timedelta(minutes=5))
    assert len(world.slots("night")) == 4
    assert [a.astimezone(ZoneInfo(ZONE)).day for a in map(datetime.fromisoformat, world.slots("night"))] == [
        int(day[-2:]) + n for n in (-2, -1, 0, 1)
    ]
    assert world.slots("hour") == [slot_of_instant(begins + timedelta(minutes=1, hours=n)) for n in range(96)]


def test_after_downtime_each_missed_slot_runs_once_and_in_order_and_of_latest_only_the_newest() -> None:
    jobs = [a_job("each", "0 6 * * *"), a_job("latest", "0 7 * * *", catch_up="latest")]
    world = World(jobs, utc("2026-11-01 12:00"))
    world.step_to(utc("2026-11-03 12:00"))
    world.now = utc("2026-11-09 12:00")
    world.run()
    assert world.slots("each") == [f"2026-11-{day:02}T05:00:00Z" for day in range(2, 10)]
    assert world.slots("latest") == [f"2026-11-{day:02}T06:00:00Z" for day in (2, 3, 9)]
    # By when they were due: nothing of the last day begins before what the days before still owe.
    assert world.started[-2:] == [("each", "2026-11-09T05:00:00Z"), ("latest", "2026-11-09T06:00:00Z")]


def test_a_run_is_due_at_its_second_and_not_before() -> None:
    world = World([a_job("daily", "0 6 * * *")], utc("2026-11-20 12:00"))
    world.now = utc("2026-11-21 05:00") - timedelta(microseconds=1)
    assert world.decisions() == []
    world.now = utc("2026-11-21 05:00")
    (decision,) = world.decisions()
    assert (decision.state, decision.slot, decision.due_at) == ("due", "2026-11-21T05:00:00Z", world.now)


def test_a_dataset_that_is_late_is_waited_for_and_its_slot_runs_when_it_comes() -> None:
    job = a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED, deadline=timedelta(hours=2))
    world = World([job], utc("2026-11-20 12:00"))
    world.step_to(utc("2026-11-21 07:00"))
    (decision,) = world.decisions()
    assert (decision.state, decision.waits_for, decision.is_late) == ("waits", ("events of 2026-11-20",), False)
    world.now += timedelta(microseconds=1)
    assert [d.is_late for d in world.decisions()] == [True]
    world.land("events", "2026-11-20")
    assert [(d.state, d.is_late) for d in world.decisions()] == [("due", True)]
    world.run()
    assert world.slots("daily") == ["2026-11-21T05:00:00Z"]
    assert world.decisions() == []


def test_a_dataset_that_comes_twice_gives_no_second_run() -> None:
    job = a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED)
    world = World([job, a_job("refine", Arrival(("events",)))], utc("2026-11-20 12:00"))
    world.step_to(utc("2026-11-21 04:00"))
    world.land("events", "2026-11-20")
    world.step_to(utc("2026-11-21 09:00"))
    world.land("events", "2026-11-20")
    world.step_to(utc("2026-11-21 12:00"))
    assert world.slots("daily") == ["2026-11-21T05:00:00Z"]
    assert world.slots("refine") == ["000000000001", "000000000002"]


def test_a_dataset_that_never_comes_is_late_from_the_deadline_on_and_blocks_no_other_day() -> None:
    job = a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED, deadline=timedelta(hours=2))
    world = World([job], utc("2026-11-20 12:00"))
    world.step_to(utc("2026-11-22 04:00"))
    world.land("events", "2026-11-21")
    late = []
    for _ in range(14 * 24):
        world.step_to(world.now + timedelta(hours=1))
        late += [(d.slot, d.is_late) for d in world.decisions() if d.slot == "2026-11-21T05:00:00Z"]
    assert world.slots("daily") == ["2026-11-22T05:00:00Z"]
    assert late == [("2026-11-21T05:00:00Z", True)] * 14 * 24
    assert world.decisions()[1].waits_for == ("events of 2026-11-22",)
    world.land("events", "2026-11-20")
    world.run()
    assert world.slots("daily") == ["2026-11-22T05:00:00Z", "2026-11-21T05:00:00Z"]


def test_a_gate_that_cannot_tell_stays_closed_and_says_so() -> None:
    world = World([a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED)], utc("2026-11-20 12:00"))
    world.land("events", "2026-11-20")
    world.present, world.trouble = None, "the receipts cannot be read"
    world.step_to(utc("2026-11-21 07:00"))
    (decision,) = world.decisions()
    reported = "it is not known whether events of 2026-11-20 are there: the receipts cannot be read"
    assert (decision.state, decision.waits_for) == ("waits", (reported,))


def test_a_gate_is_of_the_local_day_also_where_utc_has_another() -> None:
    job = a_job("night", "30 0 * * *", requires=(Requires("events", 0), Requires("calls", 2)))
    world = World([job], utc("2026-11-20 22:00"))
    world.now = utc("2026-11-20 23:30")
    (decision,) = world.decisions()
    assert decision.day == date(2026, 11, 21)
    assert decision.waits_for == ("events of 2026-11-21", "calls of 2026-11-19")
    other = a_job("night", Cron("0 0 * * *", "Pacific/Auckland"))
    world = World([other], utc("2026-11-20 10:00"))
    world.now = utc("2026-11-20 11:00")
    assert [d.day for d in world.decisions()] == [date(2026, 11, 21)]


def test_while_a_slot_runs_later_ones_wait_for_it() -> None:
    world = World([a_job("hour", "0 * * * *")], utc("2026-11-20 11:30"))
    world.now = utc("2026-11-20 13:30")
    with world.under_way("hour", "2026-11-20T12:00:00Z"):
        assert [(d.slot[11:13], d.state, d.waits_for) for d in world.decisions()] == [
            ("12", "runs", ()),
            ("13", "waits", ("hour of 2026-11-20T12:00:00Z",)),
        ]
    assert [(d.slot[11:13], d.state) for d in world.decisions()] == [("13", "due")]
    world.running["hour"] = {"manual-2026-11-20T13:29:00Z"}
    assert [(d.state, d.waits_for) for d in world.decisions()] == [("waits", ("hour of manual-2026-11-20T13:29:00Z",))]


def test_of_several_due_slots_the_later_wait_for_the_first() -> None:
    world = World([a_job("hour", "0 * * * *")], utc("2026-11-20 11:30"))
    world.now = utc("2026-11-20 14:30")
    assert [d.state for d in world.decisions()] == ["due", "waits", "waits"]


def test_a_slot_between_two_tries_holds_the_later_ones_and_says_until_when() -> None:
    world = World([a_job("hour", "0 * * * *")], utc("2026-11-20 11:30"))
    world.retry_at["hour"]["2026-11-20T12:00:00Z"] = utc("2026-11-20 13:05")
    world.now = utc("2026-11-20 13:04")
    first, second = world.decisions()
    assert (first.state, first.waits_for) == ("waits", ("another try at 2026-11-20 13:05:00 UTC",))
    assert (second.state, second.waits_for) == ("waits", ("hour of 2026-11-20T12:00:00Z",))
    world.now = utc("2026-11-20 13:05")
    assert [d.state for d in world.decisions()] == ["due", "waits"]


def test_after_a_slot_that_was_given_up_later_ones_go_on() -> None:
    world = World([a_job("daily", "0 6 * * *"), a_job("after", Success(("daily",)))], utc("2026-11-20 12:00"))
    world.outcome = lambda decision: decision.slot != "2026-11-21T05:00:00Z"
    world.step_to(utc("2026-11-23 12:00"))
    assert world.slots("daily") == [f"2026-11-{day}T05:00:00Z" for day in (21, 22, 23)]
    assert world.slots("after") == [f"2026-11-{day}T05:00:00Z" for day in (22, 23)]


def test_an_arrival_gathers_all_that_landed_since_the_last_success() -> None:
    job = a_job("refine", Arrival(("events", "calls")), deadline=timedelta(hours=1))
    world = World([job], utc("2026-11-20 12:00"))
    world.land("events")
    world.now += timedelta(minutes=50)
    world.land("calls")
    world.land("calls", is_file=False)
    world.land("adverts")
    (decision,) = world.decisions()
    assert (decision.slot, decision.due_at, decision.is_late) == ("000000000003", utc("2026-11-20 12:00"), False)
    assert [files_gathered(job, world.state(), slot) for slot in ("000000000001", decision.slot)] == [1, 2]
    assert files_gathered(job, world.state(), "manual-7") is None
    world.now += timedelta(minutes=11)
    assert [d.is_late for d in world.decisions()] == [True]
    world.run()
    world.step_to(utc("2026-11-22 12:00"))
    assert world.slots("refine") == ["000000000003"]


def test_an_arrival_while_the_job_runs_is_gathered_after_it() -> None:
    world = World([a_job("refine", Arrival(("events",)))], utc("2026-11-20 12:00"))
    world.land("events")
    with world.under_way("refine", "000000000001"):
        world.now += timedelta(minutes=1)
        world.land("events")
        assert [(d.slot, d.state) for d in world.decisions()] == [("000000000001", "runs")]
    assert [(d.slot, d.state) for d in world.decisions()] == [("000000000002", "due")]
    assert world.decisions()[0].due_at == utc("2026-11-20 12:01")


def test_an_arrival_that_was_given_up_is_tried_again_with_the_next_that_lands() -> None:
    world = World([a_job("refine", Arrival(("events",)))], utc("2026-11-20 12:00"))
    world.outcome = lambda decision: decision.slot != "000000000001"
    world.land("events")
    world.step_to(utc("2026-11-20 18:00"))
    assert world.slots("refine") == ["000000000001"]
    world.land("events")
    assert [d.due_at for d in world.decisions()] == [utc("2026-11-20 12:00")]
    world.run()
    assert world.slots("refine") == ["000000000001", "000000000002"]


def test_what_landed_before_the_job_was_first_seen_is_its_first_slot() -> None:
    world = World([a_job("refine", Arrival(("events",)))], utc("2026-11-20 12:00"))
    world.now = utc("2026-11-19 12:00")
    world.land("events")
    world.now = utc("2026-11-20 13:00")
    assert [(d.slot, d.due_at, d.state) for d in world.decisions()] == [
        ("000000000001", utc("2026-11-20 12:00"), "due")
    ]


def test_a_chain_follows_slot_by_slot_also_when_it_catches_up() -> None:
    jobs = [
        a_job("third", Success(("second",))),
        a_job("second", Success(("first",))),
        a_job("first", "0 6 * * *"),
        a_job("newest", Success(("first",)), catch_up="latest"),
    ]
    world = World(jobs, utc("2026-11-01 12:00"))
    world.step_to(utc("2026-11-02 12:00"))
    world.now = utc("2026-11-06 12:00")
    world.run()
    slots = [f"2026-11-{day:02}T05:00:00Z" for day in range(2, 7)]
    assert world.slots("first") == world.slots("second") == world.slots("third") == slots
    for earlier, later in (("first", "second"), ("second", "third")):
        for slot in slots:
            assert world.started.index((earlier, slot)) < world.started.index((later, slot))
    assert world.slots("newest")[-1] == slots[-1]


def test_success_of_several_waits_for_all_of_the_same_slot() -> None:
    jobs = [
        a_job("left", "0 6 * * *"),
        a_job("right", "0 6 * * *", requires=EVENTS_NEEDED),
        a_job("both", Success(("left", "right")), deadline=timedelta(hours=1)),
    ]
    world = World(jobs, utc("2026-11-20 12:00"))
    world.step_to(utc("2026-11-22 12:00"))
    assert world.slots("both") == []
    world.land("events", "2026-11-21")
    world.run()
    assert world.slots("both") == ["2026-11-22T05:00:00Z"]


def test_a_job_that_follows_past_midnight_still_stands_for_the_day_of_its_slot() -> None:
    jobs = [a_job("first", "50 23 * * *"), a_job("second", Success(("first",)), requires=EVENTS_NEEDED)]
    world = World(jobs, utc("2026-11-20 12:00"))
    world.now = utc("2026-11-21 00:30")  # 01:30 the next day, in Stockholm
    world.run()
    (decision,) = world.of("second")
    assert (decision.due_at, decision.day) == (world.now, date(2026, 11, 20))
    assert decision.waits_for == ("events of 2026-11-19",)


def test_a_run_by_hand_is_no_slot_that_others_follow_and_no_success_of_an_arrival() -> None:
    jobs = [a_job("first", "0 6 * * *"), a_job("second", Success(("first",))), a_job("refine", Arrival(("events",)))]
    world = World(jobs, utc("2026-11-20 12:00"))
    world.land("events")
    for name in ("first", "refine"):
        world.finished[name]["manual-2026-11-20T12:00:00Z"] = world.now
    assert [(d.job, d.slot) for d in world.decisions()] == [("refine", "000000000001")]


def test_a_new_job_makes_up_nothing_from_before_it_was_seen() -> None:
    first = a_job("first", "0 6 * * *")
    world = World([first], utc("2026-11-01 12:00"))
    world.step_to(utc("2026-11-10 12:00"))
    world.jobs = (first, a_job("new", "0 7 * * *"), a_job("second", Success(("first",))))
    assert world.decisions() == []  # not noted as seen yet
    world.first_seen |= {"new": world.now, "second": world.now}
    world.run()
    assert world.slots("new") == world.slots("second") == []
    world.step_to(utc("2026-11-11 12:00"))
    assert world.slots("new") == ["2026-11-11T06:00:00Z"]
    assert world.slots("second") == ["2026-11-11T05:00:00Z"]


def test_a_changed_cron_counts_from_its_change() -> None:
    world = World([a_job("daily", "0 6 * * *")], utc("2026-11-01 12:00"))
    world.step_to(utc("2026-11-10 12:00"))
    world.jobs, world.first_seen = (a_job("daily", "30 7 * * *"),), {"daily": world.now}
    world.step_to(utc("2026-11-12 12:00"))
    assert world.slots("daily")[-3:] == ["2026-11-10T05:00:00Z", "2026-11-11T06:30:00Z", "2026-11-12T06:30:00Z"]


@pytest.mark.parametrize("back", [timedelta(seconds=90), timedelta(hours=3), timedelta(days=3)])
def test_a_clock_that_goes_back_begins_nothing_twice_and_loses_nothing(back: timedelta) -> None:
    world = World([a_job("hour", "0 * * * *"), a_job("after", Success(("hour",)))], utc("2026-11-01 11:30"))
    world.step_to(utc("2026-11-08 12:00"), timedelta(minutes=20))
    world.now -= back
    world.step_to(utc("2026-11-10 12:00"), timedelta(minutes=20))
    hours = [slot_of_instant(utc("2026-11-01 12:00") + timedelta(hours=n)) for n in range(9 * 24 + 1)]
    assert world.slots("hour") == world.slots("after") == hours


def test_of_latest_a_newer_slot_takes_the_place_of_one_that_waits() -> None:
    job = a_job("daily", "0 6 * * *", requires=EVENTS_NEEDED, catch_up="latest")
    world = World([job], utc("2026-11-20 12:00"))
    world.step_to(utc("2026-11-22 12:00"))
    assert [d.waits_for for d in world.decisions()] == [("events of 2026-11-21",)]
    with world.under_way("daily", "2026-11-21T05:00:00Z"):
        assert [d.state for d in world.decisions()] == ["runs", "waits"]


def test_decisions_come_by_when_they_were_due_then_as_the_jobs_are_listed() -> None:
    jobs = [a_job("b", "0 6 * * *"), a_job("a", "0 6 * * *"), a_job("c", "0 5 * * *")]
    world = World(jobs, utc("2026-11-20 12:00"))
    world.now = utc("2026-11-21 12:00")
    assert [d.job for d in world.decisions()] == ["c", "b", "a"]


def test_the_next_slot_is_known_for_crons_only() -> None:
    state = ScheduleState(first_seen={"daily": utc("2026-11-01 00:00"), "new": utc("2026-12-01 00:00")})
    now = utc("2026-11-20 05:00")
    assert next_due(a_job("daily", "0 6 * * *"), state, now) == utc("2026-11-21 05:00")
    assert next_due(a_job("unseen", "0 6 * * *"), state, now) == utc("2026-11-21 05:00")
    assert next_due(a_job("new", "0 6 * * *"), state, now) == utc("2026-12-01 05:00")
    assert next_due(a_job("night", "30 2 * * *"), state, utc(f"{AUTUMN} 00:45")) == utc("2026-10-26 01:30")
    assert next_due(a_job("after", Success(("daily",))), state, now) is None
    assert next_due(a_job("refine", Arrival(("events",))), state, now) is None


def test_deciding_changes_nothing_and_gives_the_same_twice() -> None:
    world = World([a_job("daily", "0 6 * * *")], utc("2026-11-01 12:00"))
    world.now = utc("2026-11-05 12:00")
    state = world.state()
    before = deepcopy(state)  # which shares nothing with the world
    assert decide(world.jobs, state, world.now, ZONE) == decide(world.jobs, state, world.now, ZONE)
    assert state == before


@pytest.mark.parametrize(
    ("down", "is_late"),
    [
        ([("06:00", "06:30")], False),
        ([("06:00", "06:10"), ("06:20", "06:41")], False),
        ([("06:00", "06:29")], True),
        ([("03:00", "04:00")], True),
        ([("03:00", "05:31")], False),
        ([], True),
    ],
    ids=["at once", "in parts", "not long enough", "before it was due", "over when it was due", "none"],
)
def test_a_deadline_stands_still_while_nothing_is_served(down: list[tuple[str, str]], is_late: bool) -> None:
    job = a_job("daily", Cron("0 5 * * *", "UTC"), deadline=timedelta(hours=2))
    moments = tuple((utc(f"2026-11-22 {began}"), utc(f"2026-11-22 {ended}")) for began, ended in down)
    state = ScheduleState({job.name: utc("2026-11-22 00:00")}, downtimes=moments)
    (found,) = decide([job], state, utc("2026-11-22 07:30"), "UTC")
    assert found.is_late is is_late
