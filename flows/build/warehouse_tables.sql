-- The tables that a build reads or writes besides its models, made where they are missing before dbt begins
-- (flows/build/warehouse.py):
--
-- landed.landings      one row per delivered file, retry of one, and removal of rows, entered from the receipts
--                      in the lake (flows/build/landings.py)
-- landed.landed_files  one row per file in which a batch landed; in a dataset laid out by day, with that day; and one
--                      per removal, day and batch of which it took rows away, with their number below zero; and one
--                      per batch of consents and day of events that it changes, without rows
-- landed.layout        one row: which layout of the lake all this is of, and the zone of its days
-- landed.views         one row per dataset laid out by day: the query of its view landed.<dataset>
-- ops.warehouse        one row: which warehouse this is, and the format of these tables
-- ops.model_progress   one row per model that keeps rows: the last landing it has seen, and by which logic
-- ops.changes          one row per model and day, or model that is not partitioned by day: when it last changed, as a
--                      number that only grows
-- ops.test_progress    one row per data test: the last change and landing there were when it passed, as which
--                      project (a test that was edited has passed nothing)
-- ops.failed_or_skipped  one row per model and seed that failed or was skipped when it was last to be built, and
--                      since when: what the warehouse holds of it is older, of another logic, or nothing
-- ops.dbt_runs         one row per run of dbt that may change the warehouse; 'running' where it was killed
-- ops.dbt_results      one row per node and run: what was built or tested, and how it went
-- ops.backfill_chunks  one row per backfill and chunk of its days: whether it is done
create schema if not exists landed;
create schema if not exists ops;
create table if not exists landed.landings (
    batch_id bigint not null,
    dataset string not null,
    source string,
    file string not null,
    sha256 string not null,
    bytes bigint not null,
    format string,
    status string not null,
    reason string,
    rows_read bigint not null,
    rows_landed bigint not null,
    rows_rejected bigint not null,
    unknown_keys bigint not null,
    rejects_path string,
    supersedes_batch_id bigint,
    contract string,
    delivered_at timestamp,
    landed_at timestamp not null,
    retries_batch_id bigint
);
alter table landed.landings add column if not exists rows_removed bigint default 0;
alter table landed.landings add column if not exists rows_ignored bigint default 0;
alter table landed.landings add column if not exists rows_withheld bigint default 0;
create table if not exists landed.landed_files (
    batch_id bigint not null,
    dataset string not null,
    event_date date,
    path string not null,
    rows_landed bigint not null,
    bytes bigint not null
);
create table if not exists landed.layout (
    number bigint not null,
    timezone string not null
);
create table if not exists landed.views (
    dataset string not null,
    definition string not null
);
create table if not exists ops.model_progress (
    model string not null,
    batch_id bigint not null,
    datasets string[] not null,
    logic string not null,
    whole_change bigint not null,
    marked_at timestamp not null
);
create sequence if not exists ops.change_number;
create table if not exists ops.changes (
    model string not null,
    day date,
    change bigint not null
);
create table if not exists ops.test_progress (
    test string not null,
    project string not null,
    change bigint not null,
    batch_id bigint not null
);
-- A rebuilt warehouse counts its changes from the start: its numbers mean nothing beside another's. The format grows
-- when these tables change (FORMAT in flows/build/warehouse.py).
create table if not exists ops.warehouse as
select
    uuid() as warehouse_id,
    3 as format;
-- Its name before. What it said is not needed: a new version of Tidemark begins with a whole build.
drop table if exists ops.unmade;
create table if not exists ops.failed_or_skipped (
    node string not null,
    since timestamp not null
);
create table if not exists ops.dbt_runs (
    run_id string not null,
    command string not null,
    is_whole boolean not null,
    project string not null,
    started_at timestamp not null,
    finished_at timestamp,
    status string not null
);
create table if not exists ops.backfill_chunks (
    backfill_id bigint not null,
    selection string not null,
    first_day date not null,
    last_day date not null,
    started_at timestamp,
    finished_at timestamp,
    status string not null
);
create table if not exists ops.dbt_results (
    run_id string not null,
    node_id string not null,
    resource_type string not null,
    node_name string not null,
    status string not null,
    failures bigint,
    message string,
    started_at timestamp,
    finished_at timestamp,
    execution_seconds double not null,
    recorded_at timestamp not null
);
