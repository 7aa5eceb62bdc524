"""Staging models: raw with flags that are never NULL, copies and all.

Nothing here is decided: which of several deliveries counts, and what a value means, is for the next layer.
"""

from dataclasses import dataclass
from pathlib import Path

from flows.contract.generate.documents import column_yaml, sql_document, yaml_document
from flows.contract.spec import Column, DatasetSpec, FieldSpec

FOLDER = Path("models/staging")


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
    """The columns in the order people read them: which thing, which kind, which day, then as in raw."""
    key = {f.column for f in spec.fields if f.payload is None and f.name in spec.key}
    first = [*key, "event_type", "event_date"]
    columns = sorted(spec.columns(), key=lambda c: first.index(c.name) if c.name in first else len(first))
    return [_staged(spec, column) for column in columns]


def _staged(spec: DatasetSpec, column: Column) -> Staged:
    fields = [f for f in spec.fields if f.lands and f.column == column.name]
    values = tuple(dict.fromkeys(value for f in fields if not f.truncate for value in f.accepted_values))
    described = column.model_copy(update={"description": _description(column, fields, values)})
    # Rows landed before the contract had the column read NULL in it.
    if column.holds or any(f.flag and f.flag.column == column.name for f in spec.fields):
        return Staged(described, f"coalesce({column.name}, false) as {column.name}")
    return Staged(described, column.name)


def _description(column: Column, fields: list[FieldSpec], values: tuple[str, ...]) -> str:
    payloads = [f.payload for f in fields if f.payload]
    return " ".join(
        [
            column.description,
            *(["UTC."] if column.type == "timestamp" else []),
            *([f"One of {', '.join(values)}."] if values else []),
            *([f"In {_enumerated(payloads)}; NULL in other events."] if payloads else []),
        ]
    )


def _enumerated(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def model_sql(spec: DatasetSpec) -> bytes:
    """The model."""
    staged = staged_columns(spec)
    comments = [_purpose(spec)]
    if spec.texts:
        comments.append(
            "Free text, in which people may be named, is in no table: "
            f"{', '.join(field.name for field in spec.texts)}. It stands redacted and encrypted in the text store."
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
