"""What is declared of a database and its tables."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar, Literal
from urllib.parse import unquote

from pydantic import Field

from flows.contract.spec import DatasetSpec, load_specs
from flows.extract.columns import Columns, faults_of_columns
from flows.extract.lengths import Length, Overlap
from flows.extract.source import Connection, Extract, Source, Variable

# A source that is declared once a day loses little when a page of it is made again, and holds little in one file.
PAGE_ROWS = 1_000_000
# In a URL before the host, in its query, or in a list of words, as PostgreSQL takes them.
PASSWORD = re.compile(r"(?<=:)[^:@/]+(?=@)|(?<=password=)[^\s&]+")


class Database(Connection):
    """A database: which kind it is, and the environment variable that holds its URL with the password.

    A query that takes longer than ``longest_query`` is given up.
    """

    kind: Literal["postgres", "mysql"]
    url_from: Variable
    longest_query: Length = timedelta(hours=1)

    def variables(self) -> tuple[str, ...]:
        """The variable of the URL."""
        return (self.url_from,)

    def secrets(self) -> Iterator[str]:
        """The URL, and the password in it, however that is written."""
        for url in super().secrets():
            yield url
            for password in PASSWORD.findall(url):
                yield from {password, unquote(password)}


class Table(Extract):
    """A table or view of a database, and what of it becomes rows of a dataset.

    ``columns`` are by their names in the source; a type alone stands for a column whose field has the same name.
    ``ignored`` columns are known and not wanted. Rows come by ``cursor``, a column that grows with each change, in
    pages of ``page_rows`` at least, and each run begins so much before the last one's end as ``overlap`` says, since
    what was written before may be committed later. Without a cursor each run takes all rows.

    So often as ``compare_keys`` says, a list of all keys is delivered, too: what is not in it was deleted.
    ``most_deleted`` is the share of what landed that may be gone at once; where more is, a person is asked.
    """

    decides: ClassVar = frozenset({"table", "cursor", "columns"})

    table: str = Field(pattern=r"[^.\s]+\.[^.\s]+")
    columns: Columns
    ignored: tuple[str, ...] = ()
    cursor: str | None = None
    overlap: Overlap | None = None
    page_rows: int = Field(PAGE_ROWS, ge=1)
    compare_keys: Length | None = None
    most_deleted: float = Field(0.1, ge=0, le=1)

    def faults(self, spec: DatasetSpec) -> Iterator[str]:
        """What is wrong with it as rows of this dataset."""
        yield from faults_of_columns(self.columns, self.ignored, spec)
        if (self.cursor is None) != (self.overlap is None):
            yield (
                "overlap: say with `cursor`, and only with it, how much later than it a row "
                "may be committed, such as 15 min; 0 where that cannot be"
            )
        if self.cursor is not None and self.cursor not in self.columns:
            yield f"cursor: {self.cursor!r} is not among the columns"
        if self.compare_keys and not any(other.keys_of == spec.name for other in load_specs().values()):
            yield f"compare_keys: the contract has no dataset of lists of keys of {spec.name}; add one, with `keys_of`"


class DatabaseSource(Source):
    """The tables that are extracted from one database."""

    reader: ClassVar = "flows.extract.databases.postgres"
    options: ClassVar = frozenset({"accept_deletes", "from_the_beginning"})

    connection: Database
    extracts: dict[str, Table] = Field(min_length=1)


class MySqlSource(DatabaseSource):
    """The same for MySQL and MariaDB."""

    reader: ClassVar = "flows.extract.databases.mysql"
