"""Incidents and the messages about them, in SQLite: what holds, since when, and what was sent to whom.

An incident is one unbroken time in which a problem holds. Its messages are written in the transaction that opens or
ends it, and sent afterwards: a process killed in between leaves them to the next one. Details of an incident may quote
values, so the file is readable by its owner only, and what is over is deleted after ``KEPT_DAYS``.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from filelock import FileLock

from flows.alerts.messages import Message
from flows.errors import TidemarkError
from flows.rights import PRIVATE, make_private
from flows.settings import Settings
from flows.sqlite import moment_of, open_to_read, text_of, transaction
from flows.text import cut

KEPT_DAYS = 400
# dbt's messages hold counts and compiled SQL, but a database's error can quote a value of a row.
DETAIL_CHARACTERS = 500
# Of the tables below. Those of version 1 did not say what kind a message is, those of version 2 had no remedies.
VERSION = 3
REMEDIES = 3
FROM_VERSION_2 = "alter table incidents add column remedy text;"
FROM_VERSION_1 = "alter table messages add column kind text not null default 'info';" + FROM_VERSION_2

SCHEMA = """
create table incidents (
    id integer primary key autoincrement, scope text not null, key text not null,
    is_warning integer not null, title text not null, owner text not null, since text not null,
    detail text not null, rows integer, reproduce text, remedy text, link text,
    opened_at text not null, recovered_at text, is_told integer not null default 0
);
create unique index incidents_open on incidents (scope, key, is_warning)
    where recovered_at is null;
create table messages (
    id integer primary key autoincrement, owner text not null, headline text not null, items text not null,
    unit text not null, kind text not null default 'info', after integer references messages (id) on delete set null,
    queued_at text not null, sent_at text, attempts integer not null default 0, last_error text
);
create index messages_unsent on messages (id) where sent_at is null;
create table messages_incidents (
    message_id integer not null references messages (id) on delete cascade,
    incident_id integer not null references incidents (id) on delete cascade,
    primary key (message_id, incident_id)
);
create index messages_by_incident on messages_incidents (incident_id);
create table taken (
    message_id integer not null references messages (id) on delete cascade, channel text not null,
    primary key (message_id, channel)
);
create table digests (day text primary key);
"""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now, as whoever observes it describes it.

    ``key`` makes it the same incident next time: ``test:test.tidemark.x``. ``scope`` is who observes it completely:
    ``build``, ``schedule``, ``landing``, ``flow``. ``remedy`` is what fixes it, in words and commands; ``reproduce`` is
    a command that shows it again, or fixes it where there is no remedy. ``link`` is a URL.
    """

    key: str
    scope: str
    title: str
    owner: str
    since: datetime
    detail: str
    rows: int | None
    reproduce: str | None
    link: str | None
    is_warning: bool = False
    remedy: str | None = None


@dataclass(frozen=True)
class Incident:
    """A problem from when it was first observed until it was no longer.

    ``attempts`` and ``last_error`` are of its messages that were not sent yet: how often that was tried in vain, and
    what went wrong last.
    """

    id: int
    problem: Problem
    opened_at: datetime
    recovered_at: datetime | None
    attempts: int = 0
    last_error: str | None = None


@dataclass(frozen=True)
class Queued:
    """A message on its way. ``taken_by`` are the labels of the channels that have it already."""

    id: int
    owner: str
    message: Message
    attempts: int
    last_error: str | None
    taken_by: frozenset[str]


class Incidents:
    """The store; several processes may use it at once. Changes belong into :meth:`transaction`.

    One that is ``read_only`` must be there already and is not changed.
    """

    def __init__(self, settings: Settings, read_only: bool = False) -> None:
        path = settings.incidents
        if read_only:
            self._database = open_to_read(path)
            self._remedy = "i.remedy" if self._version() >= REMEDIES else "null"
            return
        self._remedy = "i.remedy"
        make_private(path.parent)
        path.touch(mode=PRIVATE.file)
        self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._database.executescript("pragma synchronous = full; pragma foreign_keys = on;")
        # Processes that make the store at once, or turn it to WAL, would fail each other: SQLite does not wait there.
        if self._version() < VERSION:
            with FileLock(path.with_name(".incidents.lock")):
                if (made_as := self._version()) < VERSION:
                    self._database.execute("pragma journal_mode = wal")
                    changes = {0: SCHEMA, 1: FROM_VERSION_1, 2: FROM_VERSION_2}[made_as]
                    self._database.executescript(f"begin; {changes} pragma user_version = {VERSION}; commit;")

    def close(self) -> None:
        """Close the store."""
        self._database.close()

    def _version(self) -> int:
        """The version of its tables; 0 where they are not made yet."""
        return int(self._database.execute("pragma user_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; another process that changes something waits."""
        with transaction(self._database):
            yield

    def held(self, scope: str) -> dict[tuple[str, bool], Incident]:
        """The open incidents of a scope by key and whether they only warn."""
        found = self._select("where i.scope = ? and i.recovered_at is null", scope)
        return {(i.problem.key, i.problem.is_warning): i for i in found}

    def open(self) -> list[Incident]:
        """Every open incident, the oldest first."""
        return self._select("where i.recovered_at is null")

    def unsent(self) -> list[Incident]:
        """Incidents, open or over, of which a message was not yet taken by every channel, the oldest first."""
        return self._select("where m.id is not null")

    def begin(self, problem: Problem, now: datetime) -> Incident:
        """Open an incident."""
        cursor = self._database.execute(
            """
            insert into incidents
                (scope, key, is_warning, title, owner, since, detail, rows, reproduce, remedy, link, opened_at)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (
                problem.scope,
                problem.key,
                problem.is_warning,
                problem.title,
                problem.owner,
                text_of(problem.since),
                cut(problem.detail, DETAIL_CHARACTERS),
                problem.rows,
                problem.reproduce,
                problem.remedy,
                problem.link,
                text_of(now),
            ),
        )
        return self._select("where i.id = ?", cursor.lastrowid)[0]

    def renew(self, incident: Incident, problem: Problem) -> None:
        """What is now known of an open incident. Who was alerted also gets the recovery: that owner stays. A link stays
        where there is no newer one, as after work by hand."""
        self._database.execute(
            """
            update incidents
            set title = ?, owner = iif(is_warning, ?, owner), detail = ?, rows = ?, reproduce = ?,
                remedy = ?, link = coalesce(?, link)
            where id = ?
            """,
            (
                problem.title,
                problem.owner,
                cut(problem.detail, DETAIL_CHARACTERS),
                problem.rows,
                problem.reproduce,
                problem.remedy,
                problem.link,
                incident.id,
            ),
        )

    def end(self, incident: Incident, now: datetime) -> None:
        """The problem is gone."""
        self._database.execute("update incidents set recovered_at = ? where id = ?", (text_of(now), incident.id))

    def digest_warnings(self) -> list[Incident]:
        """Warnings that are open, and those that recovered and no digest has said so, the oldest first."""
        return self._select("where i.is_warning and (i.recovered_at is null or not i.is_told)")

    def mark_delivered(self, incidents: Iterable[Incident]) -> None:
        """A digest says that these recovered."""
        self._database.executemany("update incidents set is_told = 1 where id = ?", [(i.id,) for i in incidents])

    def has_digest(self, day: date) -> bool:
        """Whether a digest was written on this local day."""
        return bool(self._database.execute("select 1 from digests where day = ?", (day.isoformat(),)).fetchone())

    def note_digest(self, day: date) -> None:
        """A digest is written on this local day."""
        self._database.execute("insert into digests values (?)", (day.isoformat(),))

    def queue(
        self, owner: str, message: Message, incidents: Iterable[Incident], now: datetime, after: int | None = None
    ) -> int:
        """A message to send, ``after`` another of that id where given. Returns its own id."""
        cursor = self._database.execute(
            "insert into messages (owner, headline, items, unit, kind, after, queued_at) values (?, ?, ?, ?, ?, ?, ?)",
            (owner, message.headline, json.dumps(message.items), message.unit, message.kind, after, text_of(now)),
        )
        made = cursor.lastrowid
        assert made is not None
        about = [(made, i.id) for i in incidents]
        self._database.executemany("insert into messages_incidents values (?, ?)", about)
        return made

    def alert_of(self, incident: Incident) -> int | None:
        """The id of the first message about an incident; None where there is none."""
        query = "select min(message_id) from messages_incidents where incident_id = ?"
        found: int | None = self._database.execute(query, (incident.id,)).fetchone()[0]
        return found

    def to_send(self) -> list[Queued]:
        """Messages not yet taken by every channel. Those that failed least come first, so that one that is always
        refused holds up no other; but a message never comes before the one it is ``after``."""
        rows = self._database.execute(
            """
            select m.id, m.owner, m.headline, m.items, m.unit, m.kind, m.attempts, m.last_error,
                (select json_group_array(channel) from taken where message_id = m.id)
            from messages as m
            left join messages as b on b.id = m.after and b.sent_at is null
            where m.sent_at is null
            order by max(m.attempts, coalesce(b.attempts, 0)), m.id
            """
        ).fetchall()
        return [
            Queued(
                id=id_,
                owner=owner,
                message=Message(headline, tuple(json.loads(items)), unit, kind),
                attempts=attempts,
                last_error=error,
                taken_by=frozenset(json.loads(taken)),
            )
            for id_, owner, headline, items, unit, kind, attempts, error, taken in rows
        ]

    def note_taken(self, queued: Queued, channel: str) -> None:
        """This channel has taken the message."""
        self._database.execute("insert or ignore into taken values (?, ?)", (queued.id, channel))

    def note_sent(self, queued: Queued, now: datetime) -> None:
        """Every channel has taken the message."""
        self._database.execute(
            "update messages set sent_at = ?, last_error = null where id = ?", (text_of(now), queued.id)
        )

    def note_failed(self, queued: Queued, error: str) -> None:
        """The message was tried and not taken by every channel."""
        self._database.execute(
            "update messages set attempts = attempts + 1, last_error = ? where id = ?", (error, queued.id)
        )

    def newest_unsent(self) -> int:
        """The id of the newest message not yet sent; 0 where all are."""
        (newest,) = self._database.execute("select max(id) from messages where sent_at is null").fetchone()
        return int(newest or 0)

    def are_sent(self, ids: Iterable[int]) -> int:
        """How many of these messages every channel has taken."""
        query = "select count(*) from messages where id = ? and sent_at is not null"
        return sum(self._database.execute(query, (id_,)).fetchone()[0] for id_ in ids)

    def prune(self, now: datetime) -> None:
        """Delete what has been over for long and was delivered to the end."""
        self._database.execute(
            """
            delete from incidents
            where recovered_at < ? and (is_told or not is_warning)
                and not exists (
                    select 1 from messages_incidents as l join messages as m on m.id = l.message_id
                    where l.incident_id = incidents.id and m.sent_at is null
                )
            """,
            (text_of(now - timedelta(days=KEPT_DAYS)),),
        )
        self._database.execute(
            """
            delete from messages
            where sent_at is not null and id not in (select message_id from messages_incidents)
            """
        )

    def _select(self, where: str, *values: object) -> list[Incident]:
        found = self._database.execute(
            f"""
            select i.id, i.key, i.scope, i.title, i.owner, i.since, i.detail, i.rows, i.reproduce, i.link, i.is_warning,
                {self._remedy}, i.opened_at, i.recovered_at, coalesce(sum(m.attempts), 0), max(m.last_error)
            from incidents as i
            left join messages_incidents as l on l.incident_id = i.id
            left join messages as m on m.id = l.message_id and m.sent_at is null
            {where}
            group by i.id
            order by i.id
            """,
            values,
        ).fetchall()
        return [
            Incident(
                id=id_,
                problem=Problem(
                    key, scope, title, owner, moment_of(since), detail, rows, reproduce, link, bool(is_warning), remedy
                ),
                opened_at=moment_of(opened),
                recovered_at=moment_of(recovered) if recovered else None,
                attempts=attempts,
                last_error=error,
            )
            for id_, key, scope, title, owner, since, detail, rows, reproduce, link, is_warning, *rest in found
            for remedy, opened, recovered, attempts, error in (rest,)
        ]


def open_incidents(settings: Settings) -> list[Incident]:
    """Every problem that held when it was last looked at, warnings too, the oldest first."""
    return _read(settings, Incidents.open)


def unsent(settings: Settings) -> list[Incident]:
    """Incidents, open or over, of which a message has not reached every channel of its owner, the oldest first."""
    return _read(settings, Incidents.unsent)


def _read(settings: Settings, query: Callable[[Incidents], list[Incident]]) -> list[Incident]:
    if not settings.incidents.exists():
        return []
    with opened(settings, read_only=True) as store:
        return query(store)


@contextmanager
def opened(settings: Settings, read_only: bool = False) -> Iterator[Incidents]:
    """The store, closed again afterwards.

    Raises :class:`TidemarkError` where it cannot be read or written.
    """
    try:
        store = Incidents(settings, read_only)
        try:
            yield store
        finally:
            store.close()
    except (OSError, sqlite3.Error) as error:
        raise TidemarkError(
            f"the incidents in {settings.incidents} cannot be read or written: {error}; see to disk space and rights. "
            "Where the file is damaged, move it away: what is wrong then is reported again"
        ) from error
