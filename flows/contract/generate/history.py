"""History models: the states of each thing of a dataset, of current deliveries, and the periods between changes.

A dataset asks for them by ``history`` in its option. Their logic is the same for every dataset, so it is written once,
here; the key, the time of a state and the attributes are in the contract.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from flows.contract.generate import deletions, staging
from flows.contract.generate.documents import column_yaml, sql_document, yaml_document
from flows.contract.generate.staging import staged_columns
from flows.contract.spec import LINEAGE, Column, DatasetSpec, History

FOLDER = Path("models/intermediate")
OWNER = "data-platform"

TOUCHED = """{{{{ config(
    materialized='incremental',
    incremental_strategy='append',
    meta={{'datasets': [{datasets}]}}
) }}}}

with {dataset} as (
    select
        {columns},
        _batch_id
    from {{{{ ref('{staging}') }}}}
),

deliveries as (
    select * from {{{{ ref('int_lake__deliveries') }}}}
),

delivered as (
    select
        _batch_id,
        {columns}
    from {dataset}
    where {{{{ in_new_batches() }}}}
),

superseded as (
    select
        deliveries.superseded_by_batch_id as _batch_id,
        {of_superseded}
    from {dataset}
    inner join deliveries
        on {dataset}._batch_id = deliveries.batch_id
    where
        deliveries.superseded_by_batch_id is not null
        and {{{{ in_new_batches('deliveries.superseded_by_batch_id') }}}}
),

{of_lists}touched as (
    select * from delivered
    union
    select * from superseded{or_listed}
)

select
    _batch_id,
    {selected}
from touched
"""

DEDUPLICATED = """{{{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='{key}',
    meta={{'touched_keys': '{touched}', 'datasets': ['{dataset}']}}
) }}}}

with {dataset} as (
    select * from {{{{ ref('{staging}') }}}}
    where {{{{ in_keys_to_replace('{key}', ref('{touched}')) }}}}
),

deliveries as (
    select * from {{{{ ref('int_lake__deliveries') }}}}
),

current_rows as (
    select
        {dataset}.*,
        deliveries.delivery_batch_id
    from {dataset}
    inner join deliveries
        on {dataset}._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

newest as (
    select *
    from current_rows
    qualify row_number() over (
        partition by {state}
        order by
            delivery_batch_id desc nulls last,
            _line desc nulls last
    ) = 1
)

select
    {columns}
from newest
"""

VERSIONED = """{{{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='{key}',
    meta={{'touched_keys': '{touched}'}}
) }}}}

with states as (
    select * from {{{{ ref('{deduplicated}') }}}}
    where {{{{ in_keys_to_replace('{key}', ref('{touched}')) }}}}
),

compared as (
    select
        *,
        {lagged},
        row_number() over history = 1 as is_first
    from states
    window history as (partition by {key} order by {updated_at} asc nulls last)
),

-- The first state is a version even where every attribute is NULL.
changed as (
    select *
    from compared
    where
        is_first
        {differs}
),

bounded as (
    select
        *,
        lead({updated_at}) over history as valid_to,
        row_number() over history as version_number
    from changed
    window history as (partition by {key} order by {updated_at} asc nulls last)
)

select
    {key},
    {columns},
    {updated_at} as valid_from,
    valid_to,
    valid_to is null as is_current,
    cast(version_number as integer) as version_number
from bounded
"""


def models(spec: DatasetSpec, keys: DatasetSpec | None = None) -> dict[Path, bytes]:
    """The dataset's history models and their descriptions by path; none where the contract asks for none.

    ``keys`` is the dataset of lists of its keys, if there is one: then there is a model of what was deleted.
    """
    if spec.history is None:
        return {}
    history = spec.history
    return (
        _touched(spec, history, keys)
        | _deduplicated(spec, history)
        | (_versioned(spec, history) if history.versions else {})
        | (_deleted(spec, history, keys) if keys else {})
    )


def _touched(spec: DatasetSpec, history: History, keys: DatasetSpec | None) -> dict[Path, bytes]:
    key, thing = _key(spec), _thing(spec)
    day = [column for column in spec.columns() if column.name == "event_date"]
    row = f"batch, {thing} that it touches and day that this was on" if day else f"batch and {thing} that it touches"
    purpose = f"One row per {row}: by delivering rows of it, or by superseding a delivery that did."
    if keys:
        purpose = (
            purpose.replace(", or by", ", by")[:-1] + f", or by listing keys of {spec.name} otherwise than before."
        )
    days = ", and which days these were ever on" if day else ""
    more = f"The models of {spec.name} find in it which of them to rebuild{days}."
    columns = [
        Column(name="_batch_id", type="bigint", description="The batch.", privacy="none"),
        key.model_copy(update={"description": f"The {thing} it touches."}),
        *day,
    ]
    names = [column.name for column in columns[1:]]
    sql = TOUCHED.format(
        dataset=spec.name,
        staging=staging.model_name(spec),
        columns=_listed(names, 8),
        of_superseded=_listed((f"{spec.name}.{name}" for name in names), 8),
        selected=_listed(names, 4),
        datasets=_quoted(spec, keys),
        **deletions.touched_parts(spec.name, key.name, names, keys),
    )
    key_of_row = [column.name for column in columns]
    return _documents(spec, history, "touched", [purpose, more], sql, {"key": key_of_row}, columns)


def _deduplicated(spec: DatasetSpec, history: History) -> dict[Path, bytes]:
    key, thing, updated_at = _key(spec), _thing(spec), history.updated_at
    columns = _kept(spec)
    state = [key.name, *([updated_at] if updated_at else [])]
    purpose = (
        f"One row per {' and '.join([thing, *state[1:]])}: of the rows delivered for "
        f"{'that state' if updated_at else 'it'} the last one of the newest delivery."
    )
    more = "Rows of a delivery that a later one superseded do not count, whatever they say."
    sql = DEDUPLICATED.format(
        dataset=spec.name,
        key=key.name,
        staging=staging.model_name(spec),
        touched=_name(spec, history, "touched"),
        state=", ".join(state),
        columns=_listed(column.name for column in columns),
    )
    required = [column.name for column in columns if column.required and column.name not in LINEAGE]
    return _documents(
        spec, history, "deduplicated", [purpose, more], sql, {"key": state, "not_null": required}, columns
    )


def _versioned(spec: DatasetSpec, history: History) -> dict[Path, bytes]:
    key, thing, updated_at = _key(spec), _thing(spec), history.updated_at
    attributes = [c for c in _kept(spec) if c.name not in (key.name, updated_at, *LINEAGE)]
    purpose = f"One row per {thing} and period in which nothing about it changed."
    more = (
        "Consecutive states that say the same are one version, from the first of them on; a state that comes back "
        "later is another version."
    )
    sql = VERSIONED.format(
        key=key.name,
        touched=_name(spec, history, "touched"),
        deduplicated=_name(spec, history, "deduplicated"),
        updated_at=updated_at,
        lagged=",\n        ".join(f"lag({c.name}) over history as previous_{c.name}" for c in attributes),
        differs="\n        ".join(f"or {c.name} is distinct from previous_{c.name}" for c in attributes),
        columns=_listed(column.name for column in attributes),
    )
    columns = [key, *attributes, *_period_columns(thing, str(updated_at))]
    test = {
        "key": [key.name, "version_number"],
        "not_null": [key.name],
        "rules": {"the period is not empty": "valid_from < coalesce(valid_to, timestamp '9999-12-31')"},
    }
    return _documents(spec, history, "versioned", [purpose, more], sql, test, columns)


def _period_columns(thing: str, updated_at: str) -> list[Column]:
    described = {
        "valid_from": ("timestamp", f"When the version began: its first {updated_at}. UTC."),
        "valid_to": (
            "timestamp",
            "When the next version began, no longer part of the period; NULL for the current version. UTC.",
        ),
        "is_current": ("boolean", f"Whether it is the newest version known of the {thing}."),
        "version_number": ("integer", f"The version's place in the {thing}'s history, from 1."),
    }
    return [Column(name=n, type=kind, description=text, privacy="none") for n, (kind, text) in described.items()]


def _deleted(spec: DatasetSpec, history: History, keys: DatasetSpec) -> dict[Path, bytes]:
    key, thing = _key(spec), _thing(spec)
    purpose = f"One row per {thing} that was delivered, and that none of its sources has any more."
    more = (
        f"A source has it no more where its newest list in {keys.name} lacks it, and nothing of it came since. A "
        "source that delivers no lists is taken to have it."
    )
    sql = deletions.DELETED.format(
        dataset=spec.name,
        key=key.name,
        keys=keys.name,
        staging=staging.model_name(spec),
        staging_of_keys=staging.model_name(keys),
        touched=_name(spec, history, "touched"),
        datasets=_quoted(spec, keys),
    )
    column = key.model_copy(update={"description": f"The {thing} that was deleted."})
    return _documents(spec, history, "deleted", [purpose, more], sql, {"key": [key.name]}, [column])


def _documents(
    spec: DatasetSpec,
    history: History,
    step: str,
    comments: list[str],
    sql: str,
    test: Mapping[str, object],
    columns: list[Column],
) -> dict[Path, bytes]:
    name, description = _name(spec, history, step), " ".join(comments)
    model = {
        "name": name,
        "description": description,
        "config": {"meta": {"owner": OWNER}},
        "data_tests": [{"valid_rows": {"name": f"{name}_has_valid_rows", "arguments": dict(test)}}],
        "columns": [column_yaml(column) for column in columns],
    }
    path = FOLDER / history.domain / name
    return {
        path.with_suffix(".sql"): sql_document([description], sql),
        path.with_suffix(".yml"): yaml_document({"models": [model]}),
    }


def _name(spec: DatasetSpec, history: History, step: str) -> str:
    return f"int_{history.domain}__{spec.name}_{step}"


def _quoted(spec: DatasetSpec, keys: DatasetSpec | None) -> str:
    return ", ".join(f"'{each.name}'" for each in (spec, keys) if each)


def _kept(spec: DatasetSpec) -> list[Column]:
    return [each.column for each in staged_columns(spec)]


def _key(spec: DatasetSpec) -> Column:
    (name,) = [field.column for field in spec.fields if field.name in spec.key]
    return next(column for column in _kept(spec) if column.name == name)


def _thing(spec: DatasetSpec) -> str:
    return re.sub(r"_(id|key)$", "", spec.key[0]).replace("_", " ")


def _listed(names: Iterable[str], indent: int = 4) -> str:
    return f",\n{' ' * indent}".join(names)
