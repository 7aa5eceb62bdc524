"""What is declared of a REST API and of the lists of rows that it answers with."""

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal
from urllib.parse import parse_qsl, quote, unquote

from pydantic import Field

from flows.contract.spec import DatasetSpec
from flows.extract.columns import Columns, faults_of_columns
from flows.extract.lengths import Overlap
from flows.extract.source import Connection, Extract, Source, Strict, Variable

# What a value of JSON can be. `null` with another says that the API may leave the value out of all rows.
JSON_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
FILE_ROWS = 100_000
ANSWER_SECONDS = 60.0
# What is shorter stands in messages for other reasons: `v=2`.
SIGNATURE_CHARACTERS = 8
# Pages of so many rows can be asked for by other sizes, too, so that each begins within the one before it: for any
# number of rows up to the least common multiple of these sizes, which is more than 200 million.
LEAST_VARIED_SIZE = 20

Name = Annotated[str, Field(min_length=1)]


class Bearer(Strict):
    """A token that does not change."""

    kind: Literal["bearer"]
    token_from: Variable


class Header(Strict):
    """A header of the API's own, such as ``X-Api-Key``."""

    kind: Literal["header"]
    name: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    value_from: Variable


class OAuth(Strict):
    """OAuth 2.0 with the client's own credentials (RFC 6749, 4.4): tokens are fetched, and again once they expire."""

    kind: Literal["oauth"]
    token_url_from: Variable
    client_id_from: Variable
    client_secret_from: Variable
    scope: str | None = None


Auth = Annotated[Bearer | Header | OAuth, Field(discriminator="kind")]


class Api(Connection):
    """An API: its address, who asks, and in how many seconds an answer must be there, to the last byte."""

    kind: Literal["api"]
    url_from: Variable
    auth: Auth | None = None
    timeout: float = Field(ANSWER_SECONDS, gt=0, le=3600)

    def variables(self) -> tuple[str, ...]:
        """The variables of its address and of who asks."""
        return (self.url_from, *_variables_of(self.auth))

    def secrets(self) -> Iterator[str]:
        """Tokens and secrets, and of addresses what stands before the host and in the query."""
        public = self.auth.client_id_from if isinstance(self.auth, OAuth) else None
        for name in self.variables():
            value = os.environ.get(name)
            if not value or name == public:
                continue
            is_address = name == self.url_from or name == getattr(self.auth, "token_url_from", None)
            if not is_address:
                yield value
            elif hidden := hidden_parts(value):
                yield value
                yield from {form for part in hidden for form in (part, unquote(part), quote(part, safe=""))}


def hidden_parts(address: str) -> list[str]:
    """The password of an address, or a user without one, who is a key; and of its query what is long enough for one."""
    _, _, rest = address.partition("://")
    user, _, password = rest.rpartition("@")[0].partition(":")
    signed = [value for _, value in parse_qsl(rest.partition("?")[2]) if len(value) >= SIGNATURE_CHARACTERS]
    return [part for part in (password or user, *signed) if part]


def _variables_of(auth: Bearer | Header | OAuth | None) -> tuple[str, ...]:
    if isinstance(auth, Bearer):
        return (auth.token_from,)
    if isinstance(auth, Header):
        return (auth.value_from,)
    return (auth.token_url_from, auth.client_id_from, auth.client_secret_from) if auth else ()


class NoPaging(Strict):
    """All rows stand in one answer."""

    kind: Literal["none"]


class CursorPaging(Strict):
    """An answer says what to send for the next one: it stands at ``next``, and is sent as ``parameter``."""

    kind: Literal["cursor"]
    next: Name
    parameter: Name


class LinkPaging(Strict):
    """An answer has the address of the next one: in its header ``Link`` (RFC 8288), or at ``next`` in it."""

    kind: Literal["link"]
    next: Name | None = None


class OffsetPaging(Strict):
    """Each page is asked for by how many rows are before it."""

    kind: Literal["offset"]
    parameter: Name
    size_parameter: Name
    size: int = Field(ge=2)


class PagePaging(Strict):
    """Pages are counted from ``first``. Where their size can be asked for, ``size_parameter`` says how."""

    kind: Literal["page"]
    parameter: Name
    first: int = Field(1, ge=0)
    size_parameter: Name | None = None
    size: int | None = Field(None, ge=2)

    @property
    def is_varied(self) -> bool:
        """Whether pages can be asked for by other sizes, and so begin within the one before."""
        return self.size_parameter is not None and self.size is not None and self.size >= LEAST_VARIED_SIZE


Paging = Annotated[NoPaging | CursorPaging | LinkPaging | OffsetPaging | PagePaging, Field(discriminator="kind")]


class Endpoint(Extract):
    """A list of rows that an API answers with, and what of it becomes rows of a dataset.

    ``columns`` are by their paths in a row, with the JSON types that they may have. Rows come by ``cursor``, a column
    that grows with each change: ``since`` is the parameter that takes the value after which rows are wanted. Without a
    cursor each run takes all rows. ``order`` is the one by the cursor in which the API gives them: ascending ones are
    delivered as they come, ``file_rows`` a file; all others once the last page was read.
    """

    decides: ClassVar = frozenset({"path", "parameters", "rows", "columns", "cursor", "order"})

    path: str = Field(pattern=r"^[^?#:]*$")
    parameters: Mapping[str, str | int | bool] = {}
    rows: str = ""
    columns: Columns
    ignored: tuple[str, ...] = ()
    paging: Paging
    cursor: str | None = None
    since: Name | None = None
    overlap: Overlap | None = None
    order: Literal["ascending", "descending"] | None = None
    file_rows: int = Field(FILE_ROWS, ge=1)

    def types(self, column: str) -> tuple[str, ...]:
        """The JSON types that a column may have."""
        return tuple(part.strip() for part in self.columns[column].type.split("|"))

    def faults(self, spec: DatasetSpec) -> Iterator[str]:
        """What is wrong with it as rows of this dataset."""
        yield from faults_of_columns(self.columns, self.ignored, spec)
        for column in self.columns:
            if unknown := [type_ for type_ in self.types(column) if type_ not in JSON_TYPES]:
                yield f"columns.{column}: {', '.join(unknown)} is no type of JSON ({', '.join(JSON_TYPES)})"
        if isinstance(self.paging, PagePaging) and (self.paging.size_parameter is None) != (self.paging.size is None):
            yield "paging.size: say with `size_parameter`, and only with it, how many rows a page is to have"
        given = {name for name in ("cursor", "since", "overlap") if getattr(self, name) is not None}
        if given and len(given) < 3:
            yield (
                "cursor: say together with `since`, the parameter that takes it, and `overlap`, how much later than "
                "it a row may be seen, such as 15 min"
            )
        if self.order is not None and self.cursor is None:
            yield "order: it is by the cursor, and there is none"
        if self.cursor is not None:
            yield from self._faults_of_cursor(self.cursor)

    def _faults_of_cursor(self, cursor: str) -> Iterator[str]:
        if cursor not in self.columns:
            yield f"cursor: {cursor!r} is not among the columns"
        elif (types := self.types(cursor)) not in (("string",), ("integer",)):
            yield f"cursor: {cursor!r} is {' or '.join(types)}; string (a moment or a day) or integer is needed"
        elif types == ("integer",):
            if self.order is None:
                yield "order: with a cursor of numbers say in which one rows come, ascending or descending"
            if isinstance(self.overlap, timedelta):
                yield f"overlap: the cursor {cursor!r} is a number; write a whole number"
        elif isinstance(self.overlap, int) and self.overlap:
            yield f"overlap: the cursor {cursor!r} is a moment or a day; write a length of time, such as 15 min"


class ApiSource(Source):
    """The lists of rows that are extracted from one API."""

    reader: ClassVar = "flows.extract.api.rest"

    connection: Api
    extracts: dict[str, Endpoint] = Field(min_length=1)
