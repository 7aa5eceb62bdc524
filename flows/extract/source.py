"""What every kind of source declares; each kind adds what it needs (:mod:`flows.extract.kinds`)."""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError

# The name of an environment variable: what is secret stands in one, and nowhere else.
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Strict(BaseModel):
    """A part of a declaration: it has no other names than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Connection(Strict):
    """How a source is reached. What is secret of it is in environment variables."""

    kind: str

    @abstractmethod
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it needs."""

    def secrets(self) -> Iterator[str]:
        """What of the values of its variables must be in no message: all of them, unless a kind knows better."""
        for name in self.variables():
            if value := os.environ.get(name):
                yield value

    def value(self, source: str, name: str) -> str:
        """The value of a variable. Raises :class:`TidemarkError` where it is not set. ``source`` is for the message."""
        if value := os.environ.get(name):
            return value
        raise TidemarkError(f"{source}: {name} is not set; the connection in extracts/{source}.yml says that it is")


class Extract(Strict):
    """What becomes rows of one dataset."""

    # What its files follow from: where one of these is declared otherwise, all comes again, in another folder.
    decides: ClassVar[frozenset[str]]

    def mark(self) -> str:
        """A short name of what is declared."""
        declared = self.model_dump_json(include={*self.decides})
        return hashlib.sha256(declared.encode()).hexdigest()[:8]

    @abstractmethod
    def faults(self, spec: DatasetSpec) -> Iterator[str]:
        """What is wrong with it as rows of this dataset of the contract, each with its place in it."""


class Source(Strict):
    """A file of ``extracts/``: the datasets that come from one source, when, and for whom."""

    # The module whose ``deliver`` reads it. It is imported in the process of the extract alone.
    reader: ClassVar[str]
    # What of the options of `tidemark extract` it knows.
    options: ClassVar[frozenset[str]] = frozenset()
    # Whether its files are as others wrote them, so that they may have the shape of a feed (flows/land/feeds.py).
    delivers_as_is: ClassVar[bool] = False

    connection: Connection
    schedule: str | None = None
    owner: str | None = None
    extracts: Mapping[str, Extract] = Field(min_length=1)
