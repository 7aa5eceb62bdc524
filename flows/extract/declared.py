"""What is extracted from where: one YAML file a source in ``extracts/``, checked against the contract."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError

SUFFIX = ".yml"
UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}
# A source that is declared once a day loses little when a page of it is made again, and holds little in one file.
PAGE_ROWS = 1_000_000


def _overlap(given: Any) -> Any:
    found = re.fullmatch(r"(\d+)\s*(s|min|h|d)", given) if isinstance(given, str) else None
    if found:
        return timedelta(**{UNITS[found[2]]: int(found[1])})
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    raise ValueError(
        "write a length of time such as '15 min' (s, min, h, d), or a whole number for a cursor of numbers"
    )


Overlap = Annotated[timedelta | int, BeforeValidator(_overlap)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Strict):
    """A column of the source: its type there, and the field of the contract that it becomes."""

    type: str
    to: str


def _with_short_ones(given: Any) -> Any:
    """The columns, those whose type alone is given written out."""
    if not isinstance(given, dict):
        return given
    return {name: {"type": said, "to": name} if isinstance(said, str) else said for name, said in given.items()}


class Connection(_Strict):
    """How a source is reached: which kind it is, and the environment variable that holds its URL with the password."""

    kind: Literal["postgres"]
    url_from: str = Field(pattern=r"[A-Z][A-Z0-9_]*")


class Table(_Strict):
    """A table or view of a database, and what of it becomes rows of a dataset.

    ``columns`` are by their names in the source; a type alone stands for a column whose field has the same name.
    ``ignored`` columns are known and not wanted. Rows come by ``cursor``, a column that grows with each change, in
    pages of ``page_rows`` at least, and each run begins so much before the last one's end as ``overlap`` says, since
    what was written before may be committed later. Without a cursor each run takes all rows.
    """

    table: str = Field(pattern=r"[^.\s]+\.[^.\s]+")
    columns: Annotated[dict[str, Column], BeforeValidator(_with_short_ones)]
    ignored: tuple[str, ...] = ()
    cursor: str | None = None
    overlap: Overlap | None = None
    page_rows: int = Field(PAGE_ROWS, ge=1)


class Source(_Strict):
    """A file of ``extracts/``: the datasets that come from one source, when, and for whom."""

    connection: Connection
    schedule: str | None = None
    owner: str | None = None
    extracts: dict[str, Table] = Field(min_length=1)


@dataclass(frozen=True)
class DeclaredSource:
    """A source with its name, which is that of its file and of its folder in the inbox."""

    name: str
    source: Source


@dataclass(frozen=True)
class Declared:
    """All that is declared: the sources whose files are good, and by file what is wrong with the others."""

    sources: tuple[DeclaredSource, ...]
    faults: Mapping[Path, str]

    def one(self, name: str) -> DeclaredSource:
        """The source of this name. Raises :class:`TidemarkError` where there is none, or its file is not good."""
        for declared in self.sources:
            if declared.name == name:
                return declared
        for path, fault in self.faults.items():
            if path.stem == name:
                raise TidemarkError(f"{path}: {fault}")
        names = sorted(declared.name for declared in self.sources)
        close = get_close_matches(name, names, 1)
        raise TidemarkError(
            f"no source {name!r} is declared in extracts/ ({', '.join(names) or 'none is'})"
            + (f"; did you mean {close[0]!r}?" if close else "")
        )


def load_declared(folder: Path) -> Declared:
    """Read all declarations. What is wrong with one is said where it is asked for, and stops no other."""
    specs = load_specs()
    sources, faults = [], {}
    for path in sorted((*folder.glob(f"*{SUFFIX}"), *folder.glob("*.yaml"))):
        try:
            sources.append(DeclaredSource(path.stem, _read(path, specs)))
        except ValueError as error:
            faults[path] = str(error)
    return Declared(tuple(sources), faults)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Takes no name twice in a mapping: of two the last would count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {', '.join(map(str, twice))} stands there twice")
        return made


def _read(path: Path, specs: Mapping[str, DatasetSpec]) -> Source:
    """A file's declaration. Raises ``ValueError`` with everything that is wrong with it."""
    if path.suffix != SUFFIX or not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem):
        raise ValueError(f"its name is that of a folder of the inbox: small letters, digits and _, and then {SUFFIX}")
    try:
        source = Source.model_validate(yaml.load(path.read_text(encoding="utf-8"), _Loader))
    except ValidationError as error:
        raise ValueError("; ".join(_in_words(one) for one in error.errors())) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot be read ({' '.join(str(error).split())})") from error
    faults = [fault for dataset, table in source.extracts.items() for fault in _faults(dataset, table, specs)]
    if faults:
        raise ValueError("; ".join(faults))
    return source


def _in_words(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    said = error["msg"].removeprefix("Value error, ")
    return (
        f"{where}: {said[:1].lower()}{said[1:]}" if where else "it is no mapping of connection, schedule and extracts"
    )


def _faults(dataset: str, table: Table, specs: Mapping[str, DatasetSpec]) -> Iterator[str]:
    spec = specs.get(dataset)
    if spec is None:
        yield f"extracts.{dataset}: the contract has no dataset of this name ({', '.join(sorted(specs))})"
        return
    fields = {field.name: field for field in spec.fields if field.payload is None}
    to = [column.to for column in table.columns.values()]
    for name, column in table.columns.items():
        if column.to not in fields:
            close = get_close_matches(column.to, fields, 1)
            yield (
                f"extracts.{dataset}.columns.{name}: {column.to!r} is no field of {spec.message}"
                + (f"; did you mean {close[0]!r}?" if close else "; add it to the contract, or to `ignored`")
            )
        if to.count(column.to) > 1:
            yield f"extracts.{dataset}.columns.{name}: {column.to!r} is the field of another column, too"
        if name in table.ignored:
            yield f"extracts.{dataset}.ignored: {name!r} is among the columns, too"
    if spec.payloads:
        yield f"extracts.{dataset}: a row of it carries one of {', '.join(spec.payloads)}, which columns cannot"
    if spec.require_one_of and not {*spec.require_one_of} & {*to}:
        yield f"extracts.{dataset}.columns: one has to become {' or '.join(spec.require_one_of)}"
    missing = [name for name, field in fields.items() if field.required and name not in to]
    if missing:
        yield f"extracts.{dataset}.columns: no column becomes {', '.join(missing)}, without which no row lands"
    if (table.cursor is None) != (table.overlap is None):
        yield (
            f"extracts.{dataset}.overlap: say with `cursor`, and only with it, how much later than it a row "
            "may be committed, such as 15 min; 0 where that cannot be"
        )
    if table.cursor is not None and table.cursor not in table.columns:
        yield f"extracts.{dataset}.cursor: {table.cursor!r} is not among the columns"
