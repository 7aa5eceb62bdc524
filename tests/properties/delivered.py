"""What was delivered so far, and what must have landed of it: the test's own account of a lake."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.properties.oracle import Event, deduplicated
from tests.properties.oracle_consent import Record, consented, in_use, told_by
from tests.properties.unfolded import Statement, as_sent

# Every event, one of each, with what landed of it; and every record of consent that counts.
Landed = tuple[list[Event], list[Record]]


@dataclass(frozen=True)
class Said:
    """A file of statements: its rows, and the records that they come to."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


def files_of(statements: Iterable[Statement]) -> dict[str, Said]:
    """The files that hold these statements."""
    files: dict[str, Said] = {}
    for statement in statements:
        said = files.setdefault(statement.file, Said())
        said.rows.append(statement.row)
        said.records.extend(statement.records)
    return files


@dataclass
class Delivered:
    """Events by the bytes of their files, which land once, whatever their names; records of consent by the names of
    theirs, of which the newest counts; and what accounts told, which stays told."""

    events: dict[bytes, tuple[str, list[Event]]] = field(default_factory=dict)
    consents: dict[str, Said] = field(default_factory=dict)
    told: list[Record] = field(default_factory=list)

    def take(self, name: str, said: Said) -> None:
        """A file of statements is delivered."""
        if "/accounts/" in name:
            self.told += said.records
        else:
            self.consents[name] = said

    def landed(self) -> Landed:
        """What must have landed of all this."""
        told = [record for event in self._sent() for record in told_by(event)]
        declared = [record for said in self.consents.values() for record in said.records]
        return deduplicated(self.copies()), [*told, *declared, *self.told]

    def copies(self) -> list[Event]:
        """Every copy of an event, with what must have landed of it."""
        return [consented(event) for event in self._sent()]

    def _sent(self) -> list[Event]:
        return [as_sent(copy) for _, copies in self.events.values() for copy in copies]


def changes(before: Landed, now: Landed) -> Counter[str]:
    """Of the events before, how many are used for fewer purposes by what is known of consent now, and how many for
    more."""
    events, known = before
    used = [
        ({*old["consent"]}, {*new["consent"]})
        for old, new in zip(in_use(events, known), in_use(events, now[1]), strict=True)
    ]
    return Counter(
        {
            "withdrawn": sum(not old <= new for old, new in used),
            "in use again": sum(not new <= old for old, new in used),
        }
    )
