"""What does not come in: files that cannot be taken, files that are not taken, and sources that have gone silent.

Each is reported to whoever can do something: the owner of the dataset, where the path names one and the delivery is at
fault, else the operator. Files are reported by folder or dataset, not each: a thousand wrong ones are one mistake.
"""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

from flows.alerts.incidents import Incident, open_incidents
from flows.alerts.notify import Problem, note
from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.land.inbox import Delivery, LeftAlone, is_settled, new_deliveries
from flows.land.receipts import Receipts
from flows.orchestrate.job import OPERATOR
from flows.orchestrate.journal import Journal
from flows.orchestrate.rhythm import Rhythms, Silence
from flows.schedule import RETIRED_SOURCES
from flows.settings import Settings
from flows.text import one_line

SCOPE = "inbox"
# A name that some program gives a file until it is whole is gone before that.
LEFT_FOR = timedelta(minutes=10)
# What lands, lands within seconds of settling.
TAKEN_WITHIN = timedelta(hours=1)
NAMED = 3


class Intake:
    """What of the inbox and the receipts a person must see to. Keep it: it reads only what landed since."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal
        self._specs = load_specs()
        self._rhythms = Rhythms()
        self._read = 0

    def observe(self, now: datetime, may_call_silent: bool = True, only_close: bool = False) -> tuple[Incident, ...]:
        """Write down what does not come in, and return what is over.

        Unless it ``may_call_silent``, silence already reported goes on and no new one is reported: whoever was away has
        not heard what came. Raises :class:`TidemarkError` where inbox, receipts or incidents cannot be read or written.
        """
        try:
            with closing(Receipts(self._settings)) as receipts:
                left: list[LeftAlone] = []
                new = list(
                    new_deliveries(
                        self._settings.inbox, self._specs, receipts.is_unchanged, left.append, now.timestamp()
                    )
                )
                self._learn(receipts)
        except (OSError, sqlite3.Error, ValueError) as error:
            raise TidemarkError(f"what comes into {self._settings.inbox} cannot be read: {error}") from error
        stuck = [one for one in left if one.stuck_since]
        left = [one for one in left if not one.stuck_since]
        settled: list[Delivery] = []
        unsettled: list[Delivery] = []
        for delivery in new:
            is_still = is_settled(delivery.stat, time.time(), self._settings.settle_seconds)
            (settled if is_still else unsettled).append(delivery)
        seen = self._journal.noticed([*(one.name for one in left), *(one.name for one in unsettled)], now)
        found = [
            *left_alone([one for one in left if now - seen[one.name] >= LEFT_FOR], seen, self._specs),
            *stuck_uploads(stuck, self._specs),
            *never_settled([d for d in unsettled if now - seen[d.name] >= TAKEN_WITHIN], seen, self._specs),
            *not_taken(settled, now),
        ]
        waiting = {(delivery.source, delivery.dataset) for delivery in new}
        reported = {incident.problem.key for incident in open_incidents(self._settings)}
        found += [
            problem
            for silence in self._rhythms.silent(now)
            if (silence.source, silence.dataset) not in waiting and silence.dataset in self._specs
            if f"{silence.source}/{silence.dataset}" not in RETIRED_SOURCES
            for problem in [silent(silence, self._specs[silence.dataset])]
            if may_call_silent or problem.key in reported
        ]
        return note(self._settings, SCOPE, found, now, only_close).recovered

    def _learn(self, receipts: Receipts) -> None:
        last = receipts.last_batch_id()
        if last < self._read:  # another lake by now
            self._rhythms, self._read = Rhythms(), 0
        self._rhythms.add(receipts.delivered_after(self._read))
        self._read = last


def left_alone(
    left: Sequence[LeftAlone], since: Mapping[str, datetime], specs: Mapping[str, DatasetSpec]
) -> Iterator[Problem]:
    """A problem for each folder with what cannot be taken, ``<source>/<dataset>`` at the most."""
    for folder, here in _by_folder(left):
        yield _of_folder("left", folder, here, "cannot be taken", min(since[one.name] for one in here), specs)


def stuck_uploads(stuck: Sequence[LeftAlone], specs: Mapping[str, DatasetSpec]) -> Iterator[Problem]:
    """A problem for each folder with files that were left under a temporary name, as an upload that broke off leaves
    them: nobody else will say that they never came."""
    for folder, here in _by_folder(stuck):
        since = min(one.stuck_since for one in here if one.stuck_since)
        yield _of_folder("stuck", folder, here, "with a temporary name: a stuck upload", since, specs)


def _by_folder(left: Sequence[LeftAlone]) -> Iterator[tuple[str, list[LeftAlone]]]:
    found: dict[str, list[LeftAlone]] = defaultdict(list)
    for one in left:
        found["/".join(one.name.split("/")[:-1][:2])].append(one)
    yield from found.items()


def _of_folder(
    kind: str, folder: str, here: Sequence[LeftAlone], what: str, since: datetime, specs: Mapping[str, DatasetSpec]
) -> Problem:
    """The problem of a folder: its dataset's owner has it, where the path names one."""
    spec = specs.get(folder.partition("/")[2])
    return Problem(
        key=f"{kind}:{folder}",
        scope=SCOPE,
        title=_title([one.name for one in here], f"below {folder or 'the inbox'}", what),
        owner=spec.owner if spec else OPERATOR,
        since=since,
        detail=_some(map(str, here)),
        rows=None,
        reproduce="tidemark status",
        link=None,
    )


def never_settled(
    unsettled: Sequence[Delivery], since: Mapping[str, datetime], specs: Mapping[str, DatasetSpec]
) -> Iterator[Problem]:
    """A problem for each dataset with files that are written to without an end."""
    for dataset, here in _by_dataset(unsettled):
        yield Problem(
            key=f"unsettled:{dataset}",
            scope=SCOPE,
            title=_title([d.name for d in here], f"of {dataset}", "never settled"),
            owner=specs[dataset].owner,
            since=min(since[d.name] for d in here),
            detail=f"{_some(d.name for d in here)}: still written to; a file lands once it has not changed for a "
            "while: write it elsewhere, or under a name that begins with a dot, and rename it when it is whole",
            rows=None,
            reproduce="tidemark status",
            link=None,
        )


def not_taken(settled: Sequence[Delivery], now: datetime) -> Iterator[Problem]:
    """A problem for each dataset with files that should have landed long ago."""
    for dataset, here in _by_dataset(settled):
        # A copy may carry any time of writing; that of its last change is this machine's own.
        since = {d.name: datetime.fromtimestamp(d.stat.st_ctime, UTC) for d in here}
        if overdue := [name for name, changed in since.items() if now - changed >= TAKEN_WITHIN]:
            yield Problem(
                key=f"waiting:{dataset}",
                scope=SCOPE,
                title=_title(overdue, f"of {dataset}", "not taken for over an hour"),
                owner=OPERATOR,
                since=min(since[name] for name in overdue),
                detail=f"{_some(overdue)}: settled, and not landed for over an hour; landing fails, cannot read them "
                "or is too slow: the log of the watcher says which",
                rows=None,
                reproduce="tidemark land",
                link=None,
            )


def silent(silence: Silence, spec: DatasetSpec) -> Problem:
    """The problem of a source that has gone silent."""
    name = f"{silence.source}/{silence.dataset}"
    return Problem(
        key=f"silent:{name}",
        scope=SCOPE,
        title=f"source {one_line(name)} is silent",
        owner=spec.owner,
        since=silence.last_at,
        detail=f"nothing came since {silence.last_at:%Y-%m-%d %H}:59 UTC; at the same time of the {silence.times} "
        f"weeks or longer before, it delivered in at least {silence.usual_hours} hours; ask the source. One that has "
        "ended for good: name it in RETIRED_SOURCES of flows/schedule.py",
        rows=None,
        reproduce="tidemark status",
        link=None,
    )


def _by_dataset(deliveries: Iterable[Delivery]) -> Iterator[tuple[str, list[Delivery]]]:
    found: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        found[delivery.dataset].append(delivery)
    yield from sorted(found.items())


def _title(names: Sequence[str], where: str, what: str) -> str:
    return f"file {one_line(names[0])} {what}" if len(names) == 1 else f"{len(names):,} files {where} {what}"


def _some(texts: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    lines = [one_line(text) for text in texts]
    more = f" and {len(lines) - NAMED:,} more" if len(lines) > NAMED else ""
    return "; ".join(lines[:NAMED]) + more
