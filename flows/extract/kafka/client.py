"""A Kafka client that begins where it is asked to, or says that it cannot: no group, no committed offsets.

Partitions are assigned by hand, one at a time, so nobody else's coming or going takes one away. What a broker has is
asked from the answers to fetches, since that is what is delivered.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from flows.errors import TidemarkError
from flows.extract.errors import MayPassError

# Seconds that a cluster may take to answer a question; and to say a topic's id, without which it is read, too.
ANSWER_SECONDS, ID_SECONDS = 30.0, 5.0
# Seconds without a message where there are more, and where all brokers are gone.
QUIET_SECONDS, DOWN_SECONDS = 60.0, 5.0
# Seconds after which a partition that ends before it was read to does so for good: a new leader may be behind.
BEHIND_SECONDS = 5.0
# Seconds after which what comes next is known to be of an open transaction.
OPEN_SECONDS = 1.0
# What is taken from the client at once: so many messages, or as many as hold so many bytes, within so many seconds.
BATCH_MESSAGES, BATCH_BYTES, BATCH_SECONDS = 10_000, 16 << 20, 0.1

REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
# The client tries again by itself; or it is of the group, which nothing here needs.
PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._RESOLVE,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}


# The settings that are not a consumer's alone.
OF_ALL_CLIENTS = (
    "bootstrap.",
    "security.",
    "sasl.",
    "ssl.",
    "socket.",
    "broker.",
    "client.",
    "reconnect.",
    "enable.ssl",
    "https.",
)
NO_IDS = ("None", "", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA==")


T = TypeVar("T")


class UnreachableError(MayPassError):
    """The cluster as a whole does not answer."""


class OffsetsGoneError(Exception):
    """The broker has not what it was asked for; ``high`` is where the partition ends, if that is known."""

    def __init__(self, high: int | None = None) -> None:
        super().__init__()
        self.high = high


@dataclass(frozen=True)
class Batch:
    """Messages of a partition in their order, and the offset up to which all is read with them.

    ``hidden`` offsets after it are there and cannot be read yet: a transaction is open. After a ``failure`` there is
    no more.
    """

    messages: list[Message]
    end: int
    hidden: int = 0
    failure: Exception | None = None


class Client:
    """A connection to a cluster."""

    def __init__(self, settings: Mapping[str, str | int | bool]) -> None:
        # The last error of each kind since the cluster answered.
        self._errors: dict[int, KafkaError] = {}
        heard: dict[str, Any] = {"error_cb": self._hear, "log_level": 0}
        self._consumer = Consumer({**settings, **heard})
        of_all = {name: value for name, value in settings.items() if name.startswith(OF_ALL_CLIENTS)}
        self._admin = AdminClient({**of_all, **heard})

    def _hear(self, error: KafkaError) -> None:
        self._errors[error.code()] = error

    def close(self) -> None:
        """Close it."""
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic. Raises :class:`TidemarkError` where there is none of this name."""
        found = self._asked(lambda seconds: self._consumer.list_topics(topic, timeout=seconds).topics[topic])
        if found.error is None:
            return sorted(found.partitions)
        if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TidemarkError(f"there is no topic {topic}, or this user may not see it")
        raise _understood(found.error)

    def id_of(self, topic: str) -> str | None:
        """What tells a topic from another one of its name, before or after it; None where the cluster does not say."""
        try:
            asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ID_SECONDS)
            given = str(asked[topic].result().topic_id)
        except KafkaException:
            return None
        return None if given in NO_IDS else hashlib.sha256(given.encode()).hexdigest()[:8]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The earliest offset that the broker has, and about where it ends: what a fetch says of that is exact."""
        at = TopicPartition(topic, partition)
        bounds = self._asked(lambda seconds: self._consumer.get_watermark_offsets(at, timeout=seconds))
        if bounds is None:
            raise MayPassError("the broker does not say which offsets it has")
        return bounds

    def read(self, topic: str, partition: int, first: int, before: int | None) -> Iterator[Batch]:
        """What a partition has from an offset on: up to another, or as far as it goes when the reading begins.

        Raises :class:`OffsetsGoneError` where the broker cannot begin there, or cannot go on.
        """
        at = TopicPartition(topic, partition, first)
        with _understanding():
            self._consumer.assign([at])
        reached, stop, most, ends_at = first, before, 100, -1
        is_bounded = False
        began = heard = time.monotonic()
        while stop is None or reached < stop:
            with _understanding():
                received = self._consumer.consume(most, timeout=BATCH_SECONDS)
                _, high = self._consumer.get_watermark_offsets(at, cached=True) or (-1, -1)
            quiet = time.monotonic() - heard
            if not is_bounded and high >= first:
                is_bounded, stop = True, high if before is None else min(high, before)
            elif not is_bounded and high >= 0 and time.monotonic() - began > BEHIND_SECONDS:
                raise OffsetsGoneError(high)
            batch, at_end = _in_order(received, at, reached, stop)
            ends_at = at_end if at_end is not None else ends_at
            is_heard = bool(batch.messages) or at_end is not None
            if is_heard:
                self._errors.clear()
            elif 0 <= ends_at <= reached and quiet > OPEN_SECONDS:
                yield Batch([], reached, hidden=(stop or reached) - reached)
                return
            else:
                self._raise_if_refused()
                if self._is_down() and quiet > DOWN_SECONDS:
                    raise self._unreachable()
                if quiet > QUIET_SECONDS:
                    raise MayPassError(f"the broker stopped to answer at offset {reached} ({self._said()})")
            if batch.end > reached:
                yield batch
                reached = batch.end
            if batch.failure:
                raise batch.failure
            if is_heard:
                longest = max(map(len, received[::16]))
                most = max(1, min(BATCH_MESSAGES, 2 * most, BATCH_BYTES // max(longest, 1)))
                heard = time.monotonic()

    def _asked(self, ask: Callable[[float], T]) -> T:
        """The answer to a question, which is asked again while a connection is made."""
        began, seconds = time.monotonic(), 1.0
        while True:
            try:
                answer = ask(seconds)
            except KafkaException as error:
                self._consumer.poll(0)  # what happened meanwhile is heard now
                self._raise_if_refused()
                code, seconds_passed = error.args[0].code(), time.monotonic() - began
                if self._is_down() and seconds_passed > DOWN_SECONDS:
                    raise self._unreachable(error.args[0]) from error
                is_final = _is_refusal(error.args[0]) or code == KafkaError.UNKNOWN_TOPIC_OR_PART
                if is_final or seconds_passed > ANSWER_SECONDS:
                    raise _understood(error.args[0]) from error
                time.sleep(BATCH_SECONDS)
                seconds *= 2
            else:
                self._errors.clear()
                return answer

    def _raise_if_refused(self) -> None:
        for error in self._errors.values():
            if _is_refusal(error):
                raise _understood(error)

    def _unreachable(self, error: KafkaError | None = None) -> UnreachableError:
        return UnreachableError(f"the cluster does not answer ({self._said(error)})")

    def _is_down(self) -> bool:
        return KafkaError._ALL_BROKERS_DOWN in self._errors

    def _said(self, error: KafkaError | None = None) -> str:
        """What was heard of errors, each once."""
        heard = [*([error] if error else []), *self._errors.values()]
        return "; ".join(dict.fromkeys(each.str() for each in heard)) or "nothing was said of it"


def _in_order(
    received: Iterable[Message], at: TopicPartition, reached: int, stop: int | None
) -> tuple[Batch, int | None]:
    """What was received of a partition from an offset on, and where it ends if that was said.

    Between two messages there may be offsets without one; what was read before, or is of another partition, is left
    out.
    """
    messages: list[Message] = []
    end, ends_at = reached, None
    for message in received:
        offset, error = message.offset(), message.error()
        is_here = message.partition() == at.partition and message.topic() == at.topic
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            if is_here and offset is not None:
                ends_at = offset
                end = max(end, offset if stop is None else min(offset, stop))
        elif error is not None and error.code() in GONE:
            return Batch(messages, end, failure=OffsetsGoneError()), ends_at
        elif error is not None and error.code() not in PASSING:
            return Batch(messages, end, failure=_understood(error)), ends_at
        elif error is None and is_here and offset is not None and offset >= end:
            if stop is not None and offset >= stop:
                return Batch(messages, stop), ends_at
            messages.append(message)
            end = offset + 1
    return Batch(messages, end), ends_at


@contextmanager
def _understanding() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise _understood(error.args[0]) from error


def _is_refusal(error: KafkaError) -> bool:
    """Whether a cluster said no, and did not go away while it was asked."""
    return error.code() in REFUSED and "transport failure" not in error.str()


def _understood(error: KafkaError) -> TidemarkError:
    """An error as one that may pass, or will not."""
    if _is_refusal(error):
        return TidemarkError(
            f"the cluster does not let this user in ({error.str()}); correct the address, or the rights"
        )
    return MayPassError(error.str())
