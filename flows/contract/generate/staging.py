"""Staging models: raw with lists spelled out as columns and flags that are never NULL, copies and all.

Nothing here is decided: which of several deliveries counts, and what a value means, is for the next layer.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from flows.contract.generate.documents import column_yaml, sql_document, yaml_document
from flows.contract.generate.raw import raw_columns
from flows.contract.spec import Column, DatasetSpec, FieldSpec, Treatment

FOLDER = Path("models/staging")
LINEAGE = ("_batch_id", "_line")


@dataclass(frozen=True)
class Staged:
    """A column of staging, and the SQL that makes it of the raw one."""

    column: Column
    sql: str


def model_name(spec: DatasetSpec) -> str:
    """The name of the dataset's staging model."""
    return f"stg_{spec.source}__{spec.name}"


def path_of(spec: DatasetSpec, suffix: str) -> Path:
    """Where the dataset's staging model stands."""
    return FOLDER / spec.source / f"{model_name(spec)}.{suffix}"


def staged_columns(spec: DatasetSpec) -> list[Staged]:
    """The columns in the order people read them: which thing, which kind, which day, then as in raw.

    Raises ``ValueError`` where two would have one name, naming both.
    """
    key = {f.column for f in spec.fields if f.payload is None and f.name in spec.key}
    first = [*key, "event_type", "event_date"]
    columns = sorted(raw_columns(spec), key=lambda c: first.index(c.name) if c.name in first else len(first))
    staged = [each for column in columns for each in _staged(spec, column)]
    made: dict[str, str] = {}
    for each in staged:
        if (other := made.setdefault(each.column.name, each.sql)) != each.sql:
            raise ValueError(
                f"{spec.message}: {other} and {each.sql} would share the staging column {each.column.name}; rename one"
            )
    return staged


def _staged(spec: DatasetSpec, column: Column) -> list[Staged]:
    fields = [f for f in spec.fields if f.column == column.name and f.treatment is not Treatment.DROP]
    values = tuple(dict.fromkeys(value for f in fields for value in f.accepted_values))
    if column.type == "string[]" and values:
        return [_has(spec, column, value) for value in values]
    described = column.model_copy(update={"description": _description(column, fields, values)})
    if any(f.flag and f.flag.column == column.name for f in spec.fields):
        return [Staged(described, f"coalesce({column.name}, false) as {column.name}")]
    return [Staged(described, column.name)]


def _has(spec: DatasetSpec, column: Column, value: str) -> Staged:
    """Whether a list holds one of its accepted values: an absent list holds none."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.:/-]*", value):
        raise ValueError(
            f"{spec.message}.{column.name}: the accepted value {value!r} is to give the staging column "
            f"has_..._{column.name} its name; write it with letters of a to z, digits, spaces and _ . : / - only"
        )
    name = f"has_{re.sub(r'[^a-z0-9]+', '_', value.lower())}_{column.name}"
    has = Column(
        name=name,
        type="boolean",
        description=f"Whether {value} is among {column.description[0].lower()}{column.description[1:]}",
        privacy=column.privacy,
    )
    return Staged(has, f"coalesce({{{{ list_has('{column.name}', '{value}') }}}}, false) as {name}")


def _description(column: Column, fields: list[FieldSpec], values: tuple[str, ...]) -> str:
    payloads = [f.payload for f in fields if f.payload]
    return " ".join(
        [
            column.description,
            *(["UTC."] if column.type == "timestamp" else []),
            *([f"One of {', '.join(values)}."] if values and column.type != "string[]" else []),
            *([f"In {_enumerated(payloads)}; NULL in other events."] if payloads else []),
        ]
    )


def _enumerated(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def model_sql(spec: DatasetSpec) -> bytes:
    """The model."""
    staged = staged_columns(spec)
    guarded = [each.column.name for each in staged if each.column.privacy == "free_text"]
    comments = [_purpose(spec)]
    if guarded:
        comments.append(
            f"Free text, in which people may be named: {', '.join(guarded)}. "
            "It goes no further than models made to guard it."
        )
    select = ",\n".join(f"    {each.sql}" for each in staged)
    return sql_document(
        comments,
        f"""with landed as (
    select * from {{{{ ref('raw_{spec.name}') }}}}
)

select
{select}
from landed
""",
    )


def model_yaml(spec: DatasetSpec) -> bytes:
    """Its description. Its rows are those of raw, whose key and rules are tested there."""
    model = {
        "name": model_name(spec),
        "description": _purpose(spec),
        "config": {"meta": {"owner": spec.owner, "contract": spec.message}},
        "columns": [column_yaml(each.column) for each in staged_columns(spec)],
    }
    return yaml_document({"models": [model]})


def _purpose(spec: DatasetSpec) -> str:
    return (
        f"{spec.description} All that landed is still here: which deliveries count, and which of several rows, "
        "the next layer decides."
    )
