"""The tables of a warehouse in which days of consent are looked for."""

import duckdb

from tests.support.lake import make_warehouse_tables

TABLES = """
    create schema intermediate;
    create table intermediate.int_consents__days_used (
        event_date date, device_key uuid, user_key uuid,
        has_analytics_consent boolean, has_personalisation_consent boolean, has_advertising_consent boolean
    );
    create table intermediate.int_consents__persons_settled (
        device_key uuid, user_key uuid,
        analytics_from timestamp, personalisation_from timestamp, advertising_from timestamp
    );
    create schema raw;
    create table raw.raw_consents (
        device_key uuid, user_key uuid, purpose varchar, is_granted boolean, valid_from timestamp, stated_in varchar,
        _batch_id bigint, _line bigint
    );
"""


def make_consent_tables(db: duckdb.DuckDBPyConnection, seen: int) -> None:
    """The warehouse's own tables and those of consents, whose model of days has seen batches up to one."""
    make_warehouse_tables(db)
    db.execute(TABLES)
    db.execute(
        "insert into ops.model_progress "
        "values ('int_consents__days_used', ?, ['events'], '', 1, timestamp '2026-01-20')",
        [seen],
    )
