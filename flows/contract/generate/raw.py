"""Raw models: what landed, as it landed, with the tests that hold for every row; and their sources."""

from pathlib import Path

from flows.contract.generate.documents import column_yaml, sql_document, yaml_document
from flows.contract.spec import Column, DatasetSpec

FOLDER = Path("models/raw")
SOURCES = FOLDER / "_landed__sources.yml"


def path_of(spec: DatasetSpec, suffix: str) -> Path:
    """Where the dataset's raw model stands."""
    return FOLDER / f"raw_{spec.name}.{suffix}"


def raw_columns(spec: DatasetSpec) -> list[Column]:
    """The landed columns, and the day where the dataset has one."""
    columns = list(spec.columns())
    if spec.day_of:
        day = Column(
            name="event_date",
            type="date",
            description=f"The day of {spec.day_of} in the organisation's time zone.",
            privacy="none",
            required=True,
        )
        columns.insert(len(columns) - 2, day)
    return columns


def model_sql(spec: DatasetSpec) -> bytes:
    """The model."""
    expressions = [
        f"{{{{ local_date('{spec.day_of}') }}}} as event_date" if c.name == "event_date" else c.name
        for c in raw_columns(spec)
    ]
    select = ",\n".join(f"    {e}" for e in expressions)
    return sql_document(
        [spec.description, "Appended from each new batch, as it landed."],
        f"""{{{{ config(materialized='incremental', incremental_strategy='append') }}}}

with landed as (
    select * from {{{{ landed(source('landed', '{spec.name}')) }}}}
)

select
{select}
from landed
""",
    )


def model_yaml(spec: DatasetSpec) -> bytes:
    """Its description and tests: each row is valid, and each batch is there whole, once."""
    columns = raw_columns(spec)
    name = f"raw_{spec.name}"
    required = [column.name for column in columns if column.required]
    arguments: dict[str, object] = {"key": ["_batch_id", "_line"], "not_null": required}
    if rules := _accepted_values(columns):
        arguments["rules"] = rules
    valid_rows = {"name": f"{name}_has_valid_rows", "arguments": arguments}
    return yaml_document(
        {
            "models": [
                {
                    "name": name,
                    "description": f"{spec.description} Appended from each new batch, as it landed.",
                    "config": {"meta": {"owner": spec.owner, "contract": f"{spec.message}"}},
                    "data_tests": [
                        {"valid_rows": valid_rows},
                        {"conserved": {"name": f"{name}_is_conserved", "arguments": {"dataset": spec.name}}},
                    ],
                    "columns": [column_yaml(c) for c in columns],
                }
            ]
        }
    )


def _accepted_values(columns: list[Column]) -> dict[str, str]:
    """What the contract accepts, as conditions by name, for the columns where it lists values."""
    rules = {}
    for column in columns:
        if column.accepted_values:
            values = ", ".join(f"'{value}'" for value in column.accepted_values)
            condition = f"{column.name} in ({values})" + ("" if column.required else f" or {column.name} is null")
            rules[f"{column.name} is one that the contract accepts"] = condition
    return rules


def sources_yaml(specs: list[DatasetSpec]) -> bytes:
    """The landed zone as dbt's source, a table a dataset."""
    tables = []
    for spec in specs:
        tables.append(
            {
                "name": spec.name,
                "description": f"{spec.description} Parquet, one file a batch, below lake/landed/{spec.name}/.",
                "config": {
                    "meta": {"owner": spec.owner, "contract": spec.message},
                    "loaded_at_query": (
                        "select max(landed_at) from landed.landings "
                        f"where dataset = '{spec.name}' and status = 'landed'"
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
