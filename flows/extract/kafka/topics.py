"""Messages of Kafka topics, as files: each has the messages of a span of offsets, which no other file has.

How far a topic is extracted is in the names of its files (:mod:`flows.extract.kafka.spans`); the broker keeps nothing
of it. A run takes what is missing, up to where each partition ends when it comes to it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaException

from flows.errors import TidemarkError
from flows.extract.declared import DeclaredSource
from flows.extract.delivery import Delivered, Folder
from flows.extract.errors import MayPassError
from flows.extract.kafka.address import AddressError, client_settings
from flows.extract.kafka.client import Client, OffsetsGoneError, UnreachableError
from flows.extract.kafka.declared import Cluster, Topic
from flows.extract.kafka.messages import (
    HIDDEN,
    NO_ROWS,
    OTHER_MESSAGE,
    TOO_LONG,
    UNFRAMED,
    WITHOUT_VALUE,
    Encoder,
    Seen,
    beginning,
)
from flows.extract.kafka.pages import Page, pages
from flows.extract.kafka.spans import Covered, Span, covered, file_name, missing, overlaps
from flows.land.readers.limits import MAX_RECORD_BYTES
from flows.settings import Settings

NOTES = {
    WITHOUT_VALUE: "{n:,} messages of {topic} have no value, so they are no rows (the first: {first})",
    UNFRAMED: "{n:,} messages of {topic} have no header of a registry, and were delivered as they came (the first: "
    "{first})",
    OTHER_MESSAGE: "{n:,} messages of {topic} are another message of their schema than {message}, and were delivered "
    "as they came, to be rejected (the first: {first}); `message` in extracts/ says which one is meant",
    TOO_LONG: f"{{n:,}} messages of {{topic}} are longer than {MAX_RECORD_BYTES >> 20} MiB; each is in a file of its "
    "own, which landing may refuse (the first: {first})",
    HIDDEN: "{n:,} offsets of {topic} are of a transaction that is still open, or come after it (from {first}); they "
    "are delivered once it is over",
}
NEW_SCHEMA = (
    "{n:,} messages of {topic} have schema {what}, which extracts/ does not name (the first: {first}); see what it "
    "changes, and add it to `schemas`"
)


def deliver(
    settings: Settings, declared: DeclaredSource, datasets: Sequence[str], note: Callable[[str], None]
) -> Iterator[Delivered]:
    """Deliver what is missing of these, a file at a time. What fails is raised once all others have been delivered."""
    failed: list[TidemarkError] = []
    with connected(declared) as client:
        for dataset in datasets:
            topic = declared.source.extracts[dataset]
            assert isinstance(topic, Topic)
            folder = Folder(settings, declared.name, dataset, topic)
            name = f"{declared.name}.{dataset}"
            try:
                yield from extract_topic(client, folder, name, topic, note, failed)
            except UnreachableError:
                raise
            except TidemarkError as error:
                failed.append(type(error)(f"{name}: topic {topic.topic}: {error}"))
    if failed:
        may_pass = any(isinstance(error, MayPassError) for error in failed)
        raise (MayPassError if may_pass else TidemarkError)("; ".join(map(str, failed)))


@contextmanager
def connected(declared: DeclaredSource) -> Iterator[Client]:
    """A client of the source. Raises :class:`TidemarkError` where its address is not set, or is none."""
    connection = declared.source.connection
    assert isinstance(connection, Cluster)
    url = connection.value(declared.name, connection.url_from)
    try:
        client = Client(client_settings(url))
    except AddressError as error:
        raise TidemarkError(f"{declared.name}: {connection.url_from} {error}") from None
    except (KafkaException, TypeError) as error:
        raise TidemarkError(f"{declared.name}: {connection.url_from} has settings that do not fit: {error}") from None
    try:
        yield client
    finally:
        client.close()


def extract_topic(
    client: Client, folder: Folder, name: str, topic: Topic, note: Callable[[str], None], failed: list[TidemarkError]
) -> Iterator[Delivered]:
    """Deliver what is missing of a topic. A partition that fails stops no other: it is put to what ``failed``."""
    found = client.partitions(topic.topic)
    before = covered(folder.names())
    topic_id = _same_topic(client, name, topic, before)
    for gone in sorted(before.spans.keys() - set(found)):
        failed.append(
            TidemarkError(f"{name}: topic {topic.topic} has no partition {gone} any more; {_restart(name, topic)}")
        )
    seen = Seen()
    extract = _Extract(client, folder, name, topic, topic_id, Encoder(topic, seen), seen, note)
    is_more = False
    try:
        for partition in found:
            seen.partition = partition
            try:
                for done in extract.partition(partition, before.spans.get(partition, ())):
                    is_more = True
                    yield done
            except UnreachableError:
                raise
            except TidemarkError as error:
                failed.append(type(error)(f"{name}: topic {topic.topic}, partition {partition}: {error}"))
    finally:
        _note_seen(name, topic, seen, note)
    if is_more:
        _note_overlaps(name, before, covered(folder.names()), note)


@dataclass(frozen=True)
class _Extract:
    """What the partitions of a topic have in common."""

    client: Client
    folder: Folder
    name: str
    topic: Topic
    topic_id: str | None
    encode: Encoder
    seen: Seen
    note: Callable[[str], None]

    def partition(self, partition: int, files: Sequence[Span]) -> Iterator[Delivered]:
        """Deliver what is missing of a partition of which there are files with these spans."""
        spans = [*files, *self.topic.lost.get(partition, ())]
        low, _ = self.client.bounds(self.topic.topic, partition)
        for gap in missing(spans):
            first, before = (gap.first, gap.end) if isinstance(gap, Span) else (gap, None)
            if not spans:  # nothing of it was ever extracted, so it begins where it can
                begin = low
            elif low > first:
                raise self._lost(partition, Span(first, low if before is None else min(low, before)), low)
            else:
                begin = first
            reached = first
            batches = self.client.read(self.topic.topic, partition, begin, before)
            try:
                for page in pages(batches, first, self.encode, self.topic.page_rows, self.seen):
                    if begin > reached:
                        self.note(
                            f"{self.name}: partition {partition} of {self.topic.topic} begins at offset {begin}: what "
                            "was before had gone when it was first extracted"
                        )
                    begin = reached = page.end
                    if done := self._delivered(partition, page):
                        yield done
            except OffsetsGoneError as error:
                raise self._gone(partition, reached, error.high, bool(spans)) from error

    def _delivered(self, partition: int, page: Page) -> Delivered | None:
        is_json = self.topic.format == "json"
        if page.rows:
            suffix = "ndjson" if is_json else "pb"
            pieces = [beginning(page.pieces[0], is_json), *page.pieces[1:]]
        else:
            suffix, pieces = "json", [NO_ROWS]
        return self.folder.create(file_name(partition, page.span, self.topic_id, suffix), pieces, page.rows)

    def _gone(self, partition: int, reached: int, high: int | None, was_begun: bool) -> TidemarkError:
        """What it means that the broker has no message at an offset, nor one after it."""
        low, end = self.client.bounds(self.topic.topic, partition)
        if low > reached and was_begun:
            return self._lost(partition, Span(reached, low), low)
        if low > reached:
            return MayPassError(f"offset {reached} went as it was to be read: the broker begins at {low} now")
        return TidemarkError(
            f"it ends at offset {end if high is None else high}, and was extracted up to {reached}: the topic was made "
            f"again, or lost messages; nothing of the partition was delivered; {_restart(self.name, self.topic)}"
        )

    def _lost(self, partition: int, lost: Span, low: int) -> TidemarkError:
        known = {**self.topic.lost, partition: (*self.topic.lost.get(partition, ()), lost)}
        lines = ", ".join(f"{number}: [{', '.join(map(str, spans))}]" for number, spans in sorted(known.items()))
        return TidemarkError(
            f"offsets {lost} are lost: they were not extracted, and the broker begins at {low} now; nothing after them "
            "was delivered. Have the topic kept longer, or extract it more often. To go on without them, write to "
            f"{_place(self.name)}: lost: {{{lines}}}"
        )


def _same_topic(client: Client, name: str, topic: Topic, before: Covered) -> str | None:
    """The id of the topic. Raises :class:`TidemarkError` where files are of another one that had its name."""
    topic_id = client.id_of(topic.topic)
    if before.topics and topic_id is None:
        raise MayPassError("the cluster does not say which topic of this name it has; the files are of one that it did")
    if any(each != topic_id for each in before.topics):
        raise TidemarkError(f"it was deleted and made again; {_restart(name, topic)}")
    return topic_id


def _restart(name: str, topic: Topic) -> str:
    return (
        "what was not extracted of it before is lost. To begin with what is there now, write to "
        f"{_place(name)}: restart: {topic.restart + 1}"
    )


def _place(name: str) -> str:
    source, _, dataset = name.partition(".")
    return f"extracts.{dataset} in extracts/{source}.yml"


def _note_seen(name: str, topic: Topic, seen: Seen, note: Callable[[str], None]) -> None:
    for what, n in seen.counts.items():
        text = NEW_SCHEMA if isinstance(what, int) else NOTES[what]
        of = {"topic": topic.topic, "first": seen.first[what], "what": what, "message": [*topic.message]}
        note(f"{name}: {text.format(n=n, **of)}")


def _note_overlaps(name: str, before: Covered, now: Covered, note: Callable[[str], None]) -> None:
    for partition, spans in now.spans.items():
        for span in sorted({*overlaps(spans)} - {*overlaps(before.spans.get(partition, ()))}):
            note(
                f"{name}: offsets {span} of partition {partition} are in several files, since several extracts ran at "
                "once; marts count each message once"
            )
