"""Feeds: deliveries of somebody else's tracker, in its own shape, that SQL maps to the rows of a dataset.

A feed is two files in ``feeds/``: ``<name>.yml`` says what a delivered row has, ``<name>.sql`` what becomes of it.
Files in the inbox below ``<source>/<name>/`` are read so (:mod:`flows.land.feed_mapping`), and land as rows of its
dataset: from there on the contract decides, as of every other file.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.contract.spec import PROJECT, CsvDialect, DatasetSpec, FieldSpec, Redelivery, load_specs
from flows.errors import TidemarkError

FOLDER = PROJECT / "feeds"
# The macros that all feeds may use.
SHARED = "shared"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Table(_Strict):
    """How a feed's files of one format are written, where that is not as all others are.

    ``columns`` are their names where files have no header. Unless ``quoted``, a quote is a character as any other.
    """

    columns: tuple[str, ...] = ()
    quoted: bool = True


class Beside(_Strict):
    """Rows that say more of a row, in files of their own in the folder ``<source>/<folder>/<table>/``.

    Those whose ``of`` is a row's ``row`` are of it.
    """

    folder: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    of: str
    row: str


class Feed(_Strict):
    """What a row of a feed has, and how it becomes a row of ``dataset``.

    In SQL each of ``columns`` is text; JSON where it is nested, NULL where the delivery has none or one of ``nulls``.
    Those whose names match one of ``more`` stand together in one, ``more``: a JSON object.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    dataset: str
    columns: tuple[str, ...] = Field(min_length=1)
    more: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    formats: dict[str, Table] = {}
    beside: Beside | None = None
    sql: str
    macros: str = ""

    def is_more(self, column: str) -> bool:
        """Whether a delivered column is one of those that stand together."""
        return column not in self.columns and any(fnmatchcase(column.lower(), pattern) for pattern in self.more)

    def spec_of(self, kind: str, names: Iterable[str] | None = None) -> DatasetSpec:
        """What a reader has to know of the feed's files of a format, in place of a dataset's contract.

        ``names`` are a file's columns, where it names them itself; only those that the feed knows count.
        """
        table = self.formats.get(kind, Table())
        headerless = bool(table.columns) and names is None
        if headerless:
            known = [*table.columns]
        else:
            # Some databases write all names in capitals.
            of_file = [name for name in names or () if self.is_more(name) or name.lower() in self.columns]
            known = list(dict.fromkeys([*self.columns, *of_file]))
        return texts_spec(self.name, known, CsvDialect(headerless=headerless, quoted=table.quoted))


def texts_spec(name: str, columns: Iterable[str], csv: CsvDialect | None = None) -> DatasetSpec:
    """What a reader has to know of files whose columns are these, and texts."""
    return DatasetSpec(
        name=name,
        version="",
        message=f"feed {name}",
        description="",
        owner="",
        source="",
        key=(),
        redelivery=Redelivery.KEEP_BOTH,
        fields=tuple(FieldSpec(name=column, type="string", description="") for column in columns),
        csv=csv or CsvDialect(),
    )


@cache
def load_feeds(folder: Path = FOLDER) -> dict[str, Feed]:
    """The feeds by name, those left out that are not declared as they have to be (:func:`feed_faults`)."""
    return {path.stem: feed for path, feed in _loaded(folder) if isinstance(feed, Feed)}


@cache
def feed_faults(folder: Path = FOLDER) -> dict[str, str]:
    """What is wrong with the other feeds, by name: their files are left alone, and all others land."""
    return {path.stem: fault for path, fault in _loaded(folder) if isinstance(fault, str)}


@cache
def _loaded(folder: Path) -> tuple[tuple[Path, Feed | str], ...]:
    loaded: list[tuple[Path, Feed | str]] = []
    for path in sorted(folder.glob("*.yml")):
        try:
            loaded.append((path, _load(path)))
        except TidemarkError as error:
            loaded.append((path, str(error)))
    return tuple(loaded)


def _load(path: Path) -> Feed:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        macros = (path.parent / "macros" / f"{of}.sql" for of in (SHARED, path.stem))
        found = {
            "name": path.stem,
            "sql": path.with_suffix(".sql").read_text(encoding="utf-8"),
            "macros": "".join(each.read_text(encoding="utf-8") for each in macros if each.exists()),
        }
        feed = Feed.model_validate({**found, **read})
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise TidemarkError(f"{path}: the feed cannot be read: {_in_words(error)}") from error
    specs = load_specs()
    if feed.dataset not in specs:
        raise TidemarkError(f"{path}: the contract has no dataset {feed.dataset} ({', '.join(sorted(specs))})")
    if feed.name in specs:
        raise TidemarkError(f"{path}: the contract has a dataset {feed.name}; give the feed another name")
    return feed


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return " ".join(str(error).split())


def dataset_of(folder: str) -> DatasetSpec | None:
    """What rows below ``<source>/<folder>/`` become: the folder is named after the dataset, or after a feed of it."""
    feed = load_feeds().get(folder)
    return load_specs().get(feed.dataset if feed else folder)


def feed_of(name: str) -> Feed | None:
    """The feed that a file of the inbox is of, by its name there; None where it has the shape of its dataset."""
    _, _, below = name.partition("/")
    return load_feeds().get(below.partition("/")[0]) if "/" in below else None


def feed_beside(name: str) -> Feed | None:
    """The feed beside whose rows those of a file stand, by its name in the inbox; None for all other files."""
    _, _, below = name.partition("/")
    folder = below.partition("/")[0] if "/" in below else ""
    return next((feed for feed in load_feeds().values() if feed.beside and feed.beside.folder == folder), None)
