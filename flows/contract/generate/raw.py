"""Raw models: what landed, as it landed, with the tests that hold for every row; and their sources."""

from collections.abc import Iterable
from pathlib import Path

from flows.contract.generate.documents import column_yaml, sql_document, yaml_document
from flows.contract.spec import Column, DatasetSpec

FOLDER = Path("models/raw")
SOURCES = FOLDER / "_landed__sources.yml"


def path_of(spec: DatasetSpec, suffix: str) -> Path:
    """Where the dataset's raw model stands."""
    return FOLDER / f"raw_{spec.name}.{suffix}"


def model_sql(spec: DatasetSpec) -> bytes:
    """The model: a view of the lake of a dataset laid out by day, else a table to which each batch is appended."""
    select = ",\n".join(f"    {column.name}" for column in spec.columns())
    source = f"source('landed', '{spec.name}')"
    config = "materialized='view', meta={'day': 'event_date'}"
    if not spec.is_by_day:
        source = f"landed({source})"
        config = "materialized='incremental', incremental_strategy='append'"
    return sql_document(
        [spec.description, *_kept_as(spec)],
        f"""{{{{ config({config}) }}}}

with landed as (
    select * from {{{{ {source} }}}}
)

select
{select}
from landed
""",
    )


def model_yaml(spec: DatasetSpec) -> bytes:
    """Its description and tests: each row is valid, and each batch is there whole, once."""
    columns = spec.columns()
    name = f"raw_{spec.name}"
    required = [column.name for column in columns if column.required]
    arguments: dict[str, object] = {"key": ["_batch_id", "_line"], "not_null": required}
    if rules := _accepted_values(columns):
        arguments["rules"] = rules
    valid_rows = {"name": f"{name}_has_valid_rows", "arguments": arguments}
    conserved = "conserved_by_day" if spec.is_by_day else "conserved"
    return yaml_document(
        {
            "models": [
                {
                    "name": name,
                    "description": " ".join([spec.description, *_kept_as(spec)]),
                    "config": {"meta": {"owner": spec.owner, "contract": f"{spec.message}"}},
                    "data_tests": [
                        {"valid_rows": valid_rows},
                        {conserved: {"name": f"{name}_is_conserved", "arguments": {"dataset": spec.name}}},
                    ],
                    "columns": [column_yaml(c) for c in columns],
                }
            ]
        }
    )


def _kept_as(spec: DatasetSpec) -> list[str]:
    """How the model holds the rows, for people."""
    if not spec.is_by_day:
        return ["Appended from each new batch, as it landed."]
    return [
        "A view of the lake itself: the rows stand there once, a folder a day, and are read where they are. It shows "
        "exactly the batches that the last build knew of."
    ]


def _accepted_values(columns: Iterable[Column]) -> dict[str, str]:
    """What the contract accepts, as conditions by name, for the columns where it lists values."""
    rules = {}
    for column in columns:
        if column.accepted_values:
            values = ", ".join(f"'{value}'" for value in column.accepted_values)
            condition = f"{column.name} in ({values})" + ("" if column.required else f" or {column.name} is null")
            rules[f"{column.name} is one that the contract accepts"] = condition
    return rules


def _laid_out(spec: DatasetSpec) -> str:
    return "a folder a day and one file in it a batch" if spec.is_by_day else "one file a batch"


def sources_yaml(specs: list[DatasetSpec]) -> bytes:
    """The landed zone as dbt's source, a table a dataset."""
    tables = []
    for spec in specs:
        tables.append(
            {
                "name": spec.name,
                "description": f"{spec.description} Parquet, {_laid_out(spec)}, below lake/landed/{spec.name}/.",
                "config": {
                    "meta": {"owner": spec.owner, "contract": spec.message},
                    "loaded_at_query": (
                        "select max(landed_at) from landed.landings "
                        f"where dataset = '{spec.name}' and status = 'landed' and sha256 <> ''"
                    ),
                    "freshness": {"warn_after": {"count": 36, "period": "hour"}},
                },
                "columns": [column_yaml(c) for c in spec.columns()],
            }
        )
    return yaml_document(
        {
            "sources": [
                {
                    "name": "landed",
                    "schema": "landed",
                    "description": "The landed zone: extracts verified and conformed to the contract.",
                    "tables": tables,
                }
            ]
        }
    )
