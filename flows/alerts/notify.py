"""Alerts: who observes problems says all that hold now; their owners are alerted once of each, and when it is over.

What is to be sent is written down together with the incident, then sent. What could not be sent is tried again at the
next observation, whoever makes it. So a message arrives at least once; twice only where a process was killed, or an
answer lost, between a channel taking the message and our writing that down.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from filelock import FileLock, Timeout

from flows.alerts.channels import Channels, load_channels, owners_in, unknown_owners
from flows.alerts.incidents import Incident, Incidents, Problem, Queued, open_incidents, opened, unsent
from flows.alerts.messages import Message, fit
from flows.clock import duration, local_day, minute
from flows.errors import TidemarkError
from flows.settings import Settings
from flows.text import cut, one_line

__all__ = [
    "Incident",
    "Observed",
    "Problem",
    "deliver",
    "digest",
    "note",
    "observe",
    "open_incidents",
    "send_test",
    "send_unnoted",
    "unsent",
]

# Who observes is held up no longer by slow services; what is left goes with the next observation.
SENDING_SECONDS = 60.0
# A channel that failed and took longer than SLOW is left alone for REST: each try holds up who observes, and the
# watcher does so several times in half a minute.
SLOW_SECONDS = 1.0
REST_SECONDS = 300.0
LOGGED_CHARACTERS = 4000

log = logging.getLogger(__name__)
# By address, when by the monotonic clock a channel last kept this process waiting in vain.
_kept_waiting: dict[str, float] = {}


@dataclass(frozen=True)
class Observed:
    """What an observation changed: incidents it opened and ended, how many went on, and messages left unsent."""

    opened: tuple[Incident, ...]
    recovered: tuple[Incident, ...]
    held: int
    unsent: int


def observe(settings: Settings, scope: str, problems: Sequence[Problem], now: datetime) -> Observed:
    """Take note of all problems that hold now in a scope, and alert their owners to what is new and what is over.

    As :func:`note`, and then :func:`deliver`.
    """
    noted = note(settings, scope, problems, now)
    return replace(noted, unsent=deliver(settings, now))


def note(
    settings: Settings,
    scope: str,
    problems: Sequence[Problem],
    now: datetime,
    only_close: bool = False,
    fixed_by: str | None = None,
) -> Observed:
    """Take note of all problems that hold now in a scope; what is to be sent is written down, and not sent yet.

    ``problems`` is complete: an open incident of the scope that is not among them has recovered. So observe only after
    looking at everything, and one after the other. A key that comes twice is one problem, as described last. A problem
    that turns from a warning to a failure is a new incident, and the other way round. With ``only_close`` no incident
    is opened: for who looks whether what is known is over, and leaves it to others to say what is new. ``fixed_by`` is
    the page of the run that ended what is over.

    Raises :class:`TidemarkError` where incidents cannot be written, ValueError for a problem of another scope or a time
    without zone.
    """
    if strange := [p.key for p in problems if p.scope != scope]:
        raise ValueError(f"problems of another scope than {scope}: {', '.join(strange)}")
    hold = {(p.key, p.is_warning): p for p in problems}
    with opened(settings) as store, store.transaction():
        open_before = store.held(scope)
        began = []
        for identity, problem in hold.items():
            if known := open_before.get(identity):
                if known.problem != replace(problem, since=known.problem.since):
                    store.renew(known, problem)
            elif not only_close:
                incident = store.begin(problem, now)
                began.append(incident)
                if not problem.is_warning:
                    store.queue(problem.owner, alert_message(incident), [incident], now)
        over = [replace(i, recovered_at=now) for identity, i in open_before.items() if identity not in hold]
        for incident in over:
            store.end(incident, now)
            if not incident.problem.is_warning:
                warns = (incident.problem.key, True) in hold
                message = recovery_message(incident, now, warns, fixed_by)
                store.queue(incident.problem.owner, message, [incident], now, after=store.alert_of(incident))
        store.prune(now)
        return Observed(tuple(began), tuple(over), len(open_before) - len(over), len(store.to_send()))


def deliver(settings: Settings, now: datetime) -> int:
    """Send what is to be sent, and return how many messages are left.

    A channel that fails is logged and tried again the next time; it raises nothing. Raises :class:`TidemarkError` where
    incidents cannot be written.
    """
    with opened(settings) as store:
        return _deliver(settings, store, now)


def digest(settings: Settings, now: datetime) -> int:
    """Send each owner of warnings one message: those that are open, and those that recovered since the last digest.

    Once per day of the organisation's time zone; where there is nothing to report, nothing is sent. Returns how many
    owners' messages arrived; the others go with the next observation. Raises as :func:`observe` does.
    """
    day = local_day(now)
    with opened(settings) as store:
        with store.transaction():
            queued = [] if store.has_digest(day) else _queue_digests(store, day, now)
        _deliver(settings, store, now)
        return store.are_sent(queued)


def _queue_digests(store: Incidents, day: date, now: datetime) -> list[int]:
    by_owner: dict[str, list[Incident]] = defaultdict(list)
    for incident in store.digest_warnings():
        for owner in owners_in(incident.problem.owner):
            by_owner[owner].append(incident)
    failing = {(i.problem.scope, i.problem.key) for i in store.open() if not i.problem.is_warning}
    queued = []
    for owner, incidents in by_owner.items():
        queued.append(store.queue(owner, digest_message(incidents, failing, now), incidents, now))
        store.mark_delivered(i for i in incidents if i.recovered_at)
    if queued:
        store.note_digest(day)
    return queued


def send_test(settings: Settings, owner: str) -> list[tuple[str, str | None]]:
    """Send a test message to each of the owner's channels: the channel's label, and why it did not take it or None.

    Raises :class:`TidemarkError` where there is no such owner, the owner has none, or the channels file is wrong.
    """
    if wrong := unknown_owners(owners_in(owner)):
        raise TidemarkError(wrong)
    channels = load_channels(settings)
    if missing := _without_channel(owner, channels):
        raise TidemarkError("; ".join(missing))
    message = Message(f"test message to {owner}", ("Alerts of Tidemark reach you here. Nothing is wrong.",))
    return [(channel.label, channel.send(message)) for channel in channels.of(owner)]


def send_unnoted(settings: Settings, owner: str, headline: str, detail: str) -> None:
    """Send without writing anything down, for when nothing can be written, as on a full disk. Raises nothing.

    Nobody remembers that it was sent: how often, is the caller's to know.
    """
    message = Message(
        one_line(headline), _lines(("owner", owner), ("detail", cut(detail, LOGGED_CHARACTERS))), kind="failure"
    )
    try:
        for channel in load_channels(settings).of(owner):
            if error := channel.send(message):
                log.error("not sent to %s by %s: %s", owner, channel.label, error)
    except TidemarkError as error:
        log.error("not sent to %s: %s", owner, error)


def alert_message(incident: Incident) -> Message:
    """What is wrong, whose it is, since when, how many rows, how to see it again, and what fixes it."""
    problem = incident.problem
    return Message(
        one_line(problem.title),
        _lines(
            ("owner", problem.owner),
            ("since", f"{minute(problem.since)}, {duration(incident.opened_at - problem.since)} when noticed"),
            ("rows", None if problem.rows is None else f"{problem.rows:,}"),
            ("detail", problem.detail),
            ("reproduce", problem.reproduce),
            ("remedy", problem.remedy),
            ("link", problem.link),
        ),
        kind="failure",
    )


def recovery_message(incident: Incident, now: datetime, still_warns: bool, fixed_by: str | None = None) -> Message:
    """What is over, and after how long. It links to the run that fixed it, and never to the one that failed."""
    problem = incident.problem
    after = f"recovered after {duration(now - problem.since)}"
    return Message(
        f"{after}: {one_line(problem.title)}",
        _lines(
            ("owner", problem.owner),
            ("since", minute(problem.since)),
            ("until", minute(now)),
            ("still", "a warning, which is in the daily digest" if still_warns else None),
            ("fixed by", fixed_by),
        ),
        kind="success",
    )


def digest_message(incidents: Iterable[Incident], failing: set[tuple[str, str]], now: datetime) -> Message:
    """Open warnings, then those that recovered or, where their scope and key are in ``failing``, became failures."""
    held, over = [], []
    for incident in incidents:
        problem = incident.problem
        if incident.recovered_at is None:
            since = f"{minute(problem.since)} ({duration(now - problem.since)})"
            rows = None if problem.rows is None else f"{problem.rows:,}"
            lines = _lines(("since", since), ("rows", rows), ("reproduce", problem.reproduce), ("link", problem.link))
            held.append("\n  ".join((f"warning: {problem.title}", *lines)))
        else:
            what = "became a failure" if (problem.scope, problem.key) in failing else "recovered"
            over.append(f"{what} after {duration(incident.recovered_at - problem.since)}: {problem.title}")
    return Message(
        f"open warnings: {len(held):,}; over since the last digest: {len(over):,}",
        (*held, *over),
        "warnings",
        kind="warning" if held else "success",
    )


def _lines(*named: tuple[str, str | None]) -> tuple[str, ...]:
    return tuple(f"{name}: {text.strip()}" for name, text in named if text and text.strip())


def _without_channel(owner: str, channels: Channels) -> list[str]:
    """What to say of each of the owners who has no channel, or of all where there is no channels file."""
    if not channels.path.exists():
        return [
            f"{channels.path} does not exist, so nobody is alerted: write it, `chmod 600` it, and say in it where "
            "alerts go, as in `default: [mailtos://user:password@example.org?to=team@example.org]`; "
            "docs/guides/alerts.md has more addresses, and how to name owners"
        ]
    return [
        f"{channels.path} has no channel for owner {name} and no `default`: add one, docs/guides/alerts.md says how"
        for name in owners_in(owner)
        if not channels.of(name)
    ]


def _deliver(settings: Settings, store: Incidents, now: datetime) -> int:
    """Send what is to be sent, unless another process is at it; returns how many messages are left.

    One process sends at a time, by a lock that ends with the process. It looks again once it has given up the lock:
    whoever wrote a message meanwhile found the lock taken, and relies on that.
    """
    until = time.monotonic() + SENDING_SECONDS
    down: set[str] = set()
    while newest := store.newest_unsent():
        try:
            with FileLock(settings.incidents.with_name(".alerts.lock"), timeout=0):
                _send_all(settings, store, now, until, down)
        except Timeout:
            break
        if store.newest_unsent() <= newest or time.monotonic() > until:
            break
    return len(store.to_send())


def _send_all(settings: Settings, store: Incidents, now: datetime, until: float, down: set[str]) -> None:
    """One attempt at every message. A channel that fails once is ``down``, and the other messages do not try it again:
    not the twenty others of a bad night, and not the recovery, which comes after its alert in the queue. One that kept
    us waiting is not tried by the next observations either."""
    queue = store.to_send()
    try:
        channels = load_channels(settings)
    except TidemarkError as error:
        for queued in queue:
            _fail(store, queued, str(error))
        return
    for queued in queue:
        _send(store, queued, channels, now, down)
        if time.monotonic() > until:
            log.warning("sending alerts takes over %d s; the rest goes with the next observation", SENDING_SECONDS)
            return


def _send(store: Incidents, queued: Queued, channels: Channels, now: datetime, down: set[str]) -> None:
    is_complete = True
    errors = _without_channel(queued.owner, channels)
    for channel in channels.of(queued.owner):
        if channel.label in queued.taken_by:
            continue
        began = time.monotonic()
        if channel.address in down or _rests(channel.address, began):
            is_complete = False
        elif error := channel.send(queued.message):
            down.add(channel.address)
            if time.monotonic() - began > SLOW_SECONDS:
                _kept_waiting[channel.address] = began
            errors.append(f"{channel.label}: {error}")
        else:
            store.note_taken(queued, channel.label)
    if errors:
        _fail(store, queued, "; ".join(errors))
    elif is_complete:
        store.note_sent(queued, now)


def _rests(address: str, now: float) -> bool:
    kept_waiting = _kept_waiting.get(address)
    return kept_waiting is not None and now - kept_waiting < REST_SECONDS


def _fail(store: Incidents, queued: Queued, error: str) -> None:
    """Note it; the log has the whole message, once for each thing that goes wrong with it."""
    if error != queued.last_error:
        text = fit(queued.message, LOGGED_CHARACTERS)
        log.error("not sent to %s, will be tried again: %s\n%s", queued.owner, error, text)
    store.note_failed(queued, error)
