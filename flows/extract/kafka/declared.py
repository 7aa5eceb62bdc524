"""What is declared of a Kafka cluster and its topics."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from flows.contract.spec import DatasetSpec
from flows.extract.kafka.address import secrets_of
from flows.extract.kafka.spans import Span
from flows.extract.source import Connection, Extract, Source, Variable

# So much is held until it is written; a page ends at PAGE_BYTES, too (flows/extract/kafka/pages.py).
PAGE_ROWS = 1_000_000


def _span(given: Any) -> Any:
    found = re.fullmatch(r"(\d+)-(\d+)", given) if isinstance(given, str) else None
    if found and int(found[1]) <= int(found[2]):
        return Span(int(found[1]), int(found[2]) + 1)
    raise ValueError("write the first and the last offset, such as 12000-14999")


Offsets = Annotated[Span, BeforeValidator(_span)]


class Cluster(Connection):
    """A Kafka cluster, and the environment variable that holds its address with the password."""

    kind: Literal["kafka"]
    url_from: Variable

    def variables(self) -> tuple[str, ...]:
        """The variable of the address."""
        return (self.url_from,)

    def secrets(self) -> Iterator[str]:
        """The address, and the passwords in it."""
        for url in super().secrets():
            yield from secrets_of(url)


class Topic(Extract):
    """A topic whose messages are rows of a dataset, as the contract has them.

    With ``framing: registry`` a schema registry's header stands before each message; ``schemas`` are the ids that are
    known, and ``message`` says which message of the schema is meant. ``lost`` names offsets by partition that the
    broker has no more and that people know of. A greater ``restart`` begins from the earliest offset, in another
    folder.
    """

    decides: ClassVar = frozenset({"topic", "format", "framing", "message", "restart"})

    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    format: Literal["json", "protobuf"]
    framing: Literal["none", "registry"] = "none"
    schemas: tuple[int, ...] = ()
    message: tuple[int, ...] = (0,)
    lost: dict[int, tuple[Offsets, ...]] = Field({})
    restart: int = Field(0, ge=0)
    page_rows: int = Field(PAGE_ROWS, ge=1)

    def faults(self, spec: DatasetSpec) -> Iterator[str]:
        """What is wrong with it as rows of this dataset."""
        if self.schemas and self.framing != "registry":
            yield "schemas: ids stand before messages with `framing: registry` alone"
        if self.message != (0,) and (self.framing != "registry" or self.format != "protobuf"):
            yield "message: this stands before messages with `framing: registry` and `format: protobuf` alone"


class KafkaSource(Source):
    """The topics that are extracted from one cluster."""

    reader: ClassVar = "flows.extract.kafka.topics"
    delivers_as_is: ClassVar = True

    connection: Cluster
    extracts: dict[str, Topic] = Field(min_length=1)
